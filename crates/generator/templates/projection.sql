CREATE TABLE {{table}} (
    id uuid PRIMARY KEY,
    partition integer NOT NULL,
    version bigint NOT NULL,
    events bigint NOT NULL,
    last_at timestamptz NOT NULL
);
