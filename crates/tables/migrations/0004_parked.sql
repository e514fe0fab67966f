-- What a projection could not go on with: the aggregate waits, with all that follows of it, and the
-- rest of its partition goes on.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE parked_aggregates (
    projection text NOT NULL,
    generation integer NOT NULL CHECK (generation > 0),
    category text NOT NULL,
    partition integer NOT NULL CHECK (partition >= 0),
    aggregate_id uuid NOT NULL,
    -- The first event that could not be applied: its schema, and the version that it makes.
    schema text NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    -- The same for everything that fails alike: of projection, schema and error.
    fingerprint text NOT NULL,
    -- A code and a place; no data of the event.
    error text NOT NULL,
    -- How often it was applied without success.
    attempts integer NOT NULL CHECK (attempts > 0),
    parked_at timestamptz NOT NULL,
    tried_at timestamptz NOT NULL,
    -- Given up: what follows of it is not applied and not kept either.
    discarded_at timestamptz,
    PRIMARY KEY (projection, generation, category, partition, aggregate_id)
);

-- The commits that wait, in the sequence of their offsets. Their records are in the log.
CREATE TABLE parked_commits (
    projection text NOT NULL,
    generation integer NOT NULL,
    category text NOT NULL,
    partition integer NOT NULL,
    aggregate_id uuid NOT NULL,
    first_offset bigint NOT NULL CHECK (first_offset >= 0),
    end_offset bigint NOT NULL CHECK (end_offset > first_offset),
    -- Of the records between these offsets the first ones of this writer with these sequences.
    epoch bigint NOT NULL CHECK (epoch > 0),
    writer uuid NOT NULL,
    last_seq bigint NOT NULL CHECK (last_seq >= 0),
    events integer NOT NULL CHECK (events > 0),
    PRIMARY KEY (projection, generation, category, partition, aggregate_id, first_offset),
    FOREIGN KEY (projection, generation, category, partition, aggregate_id)
        REFERENCES parked_aggregates ON DELETE CASCADE
);

UPDATE schema_version SET version = 4 WHERE component = 'system';
