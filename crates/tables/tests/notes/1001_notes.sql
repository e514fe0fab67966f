-- The table of an application.
CREATE TABLE notes (id uuid PRIMARY KEY);

INSERT INTO schema_version (component, version) VALUES ('notes', 1);
