SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- Where the commit of the event that could not be applied begins: everything of the aggregate below
-- it is applied, and nothing from there on is.
ALTER TABLE parked_aggregates ADD COLUMN from_offset bigint CHECK (from_offset >= 0);

UPDATE parked_aggregates a SET from_offset = COALESCE(
    (SELECT min(c.first_offset) FROM parked_commits c
     WHERE (c.projection, c.generation, c.category, c.partition, c.aggregate_id)
           = (a.projection, a.generation, a.category, a.partition, a.aggregate_id)),
    0
);

ALTER TABLE parked_aggregates ALTER COLUMN from_offset SET NOT NULL;

-- What waits goes with its aggregate from one generation to another.
DO $$
DECLARE
    name text;
BEGIN
    SELECT conname INTO STRICT name FROM pg_constraint
    WHERE conrelid = 'parked_commits'::regclass AND contype = 'f';
    EXECUTE format('ALTER TABLE parked_commits DROP CONSTRAINT %I', name);
END
$$;

ALTER TABLE parked_commits ADD CONSTRAINT parked_commits_aggregate_fkey
    FOREIGN KEY (projection, generation, category, partition, aggregate_id)
    REFERENCES parked_aggregates ON DELETE CASCADE ON UPDATE CASCADE;

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
    -- The commits between these offsets were about to be applied. Noted only after an end that was
    -- in no good order.
    first_offset bigint CHECK (first_offset >= 0),
    end_offset bigint CHECK (end_offset > first_offset),
    -- The runner began to apply them, and did not say that it lived on.
    applying boolean NOT NULL,
    -- The runners before it that ended over them.
    dead uuid[] NOT NULL,
    PRIMARY KEY (projection, generation, category, partition),
    CHECK ((first_offset IS NULL) = (end_offset IS NULL)),
    CHECK (first_offset IS NOT NULL OR NOT applying)
);

UPDATE schema_version SET version = 5 WHERE component = 'system';
