-- {{Article}} {{words}} as it stands now, and what its list is filtered and sorted by. Texts are sorted
-- by bytes: the same sequence on every server, whatever its locale.
CREATE TABLE {{table}} (
    id uuid PRIMARY KEY,
    partition integer NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    archived boolean NOT NULL
);
CREATE INDEX ON {{table}} (name COLLATE "C", id);
CREATE INDEX ON {{table}} (archived, name COLLATE "C", id);
