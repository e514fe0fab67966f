-- Which command and aggregate ids a partition has seen: Bloom filters, so that an owner knows without a look-up what is new.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '600s';

CREATE TABLE seen_filters (
    category text NOT NULL,
    partition integer NOT NULL,
    -- Each segment holds twice the ids of the one before, up to a bound; only the last one still grows.
    segment integer NOT NULL CHECK (segment >= 0),
    -- Distinct ids in this segment, as far as the filter could tell.
    ids bigint NOT NULL CHECK (ids >= 0),
    -- Every id of an outcome below this offset is in this segment or in an earlier one.
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    bits bytea NOT NULL,
    PRIMARY KEY (category, partition, segment)
);
-- Bits do not compress.
ALTER TABLE seen_filters ALTER COLUMN bits SET STORAGE EXTERNAL;

-- What came after a filter was written.
CREATE INDEX outcomes_by_position ON outcomes (category, partition, next_offset);

UPDATE schema_version SET version = 2 WHERE component = 'system';
