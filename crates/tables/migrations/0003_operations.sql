-- What the asynchronous lane has accepted, and who may ask what became of it.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- Every command that lies in a topic `commands`, at the checkpoint of projection `operations` of its partition, which counts that
-- topic's offsets. What a command came to is in `outcomes`, also for one that never was in the lane: both are read together.
CREATE TABLE operations (
    command_id uuid PRIMARY KEY,
    category text NOT NULL,
    partition integer NOT NULL,
    aggregate_id uuid NOT NULL,
    -- The pseudonym of whoever sent it.
    actor uuid NOT NULL,
    -- The offset in `commands` after its first record there.
    next_offset bigint NOT NULL CHECK (next_offset > 0),
    -- When the log appended that.
    accepted_at timestamptz NOT NULL,
    -- After this it is not decided any more. NULL: the record cannot be read, and is rejected.
    deadline timestamptz
);
-- Rows go when the log's own copy may be gone: see the projection.
CREATE INDEX operations_by_time ON operations (category, partition, accepted_at);

-- The pseudonym of whoever sent the command. NULL: it was written before this column was there.
ALTER TABLE outcomes ADD COLUMN actor uuid;

UPDATE schema_version SET version = 3 WHERE component = 'system';
