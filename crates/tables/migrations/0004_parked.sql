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
    -- Where the commit of that event begins: everything of the aggregate below it is applied, and
    -- nothing from there on is.
    from_offset bigint NOT NULL CHECK (from_offset >= 0),
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
        REFERENCES parked_aggregates ON DELETE CASCADE ON UPDATE CASCADE
);

-- Which generation of a projection's tables is shown. No row: the first one, with none beside it.
-- The checkpoints of what is live have generation 1 whatever its number, so that projectors of every
-- release move the same ones; those of the tables beside them have 2.
CREATE TABLE generations (
    projection text PRIMARY KEY,
    -- Counts whatever changed rows without their version: switches, rollbacks, repairs. A tag that
    -- carries it is never given for two contents.
    live integer NOT NULL DEFAULT 1 CHECK (live > 0),
    -- What lies beside the live tables, in a schema of its own: one that is made, or the one before.
    beside text CHECK (beside IN ('next', 'previous')),
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- Which runner projects a partition, from its beginning until it ends in good order, and what it is
-- about to apply. A row of a runner that is gone says that it did not end in good order.
CREATE TABLE projection_runs (
    projection text NOT NULL,
    generation integer NOT NULL CHECK (generation > 0),
    category text NOT NULL,
    partition integer NOT NULL CHECK (partition >= 0),
    runner uuid NOT NULL,
    -- The commits between these offsets were about to be applied, and so many runners ended over
    -- it. Noted only after an end that was in no good order.
    first_offset bigint CHECK (first_offset >= 0),
    end_offset bigint CHECK (end_offset > first_offset),
    deaths integer NOT NULL CHECK (deaths >= 0),
    PRIMARY KEY (projection, generation, category, partition),
    CHECK ((first_offset IS NULL) = (end_offset IS NULL))
);

UPDATE schema_version SET version = 4 WHERE component = 'system';
