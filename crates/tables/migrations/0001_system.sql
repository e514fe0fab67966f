-- What every store needs: who this database is, how far each projection is, what each command came to.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- The version of each set of tables. A service compares it with the one it was built for before it serves:
-- older here: run `highwater migrate`; newer here: upgrade the service. Each set of migrations writes its own row.
CREATE TABLE schema_version (
    component text PRIMARY KEY,
    version integer NOT NULL CHECK (version > 0)
);

-- Made once: two databases never share a consumer group, and an owner loads only from the database that it knows.
CREATE TABLE database_identity (
    id uuid NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
INSERT INTO database_identity (id) VALUES (gen_random_uuid());

-- How far a projection is on one partition of one category: a position of the fold, witness included.
-- Rewritten with every transaction, so pages keep room for updates in place.
CREATE TABLE checkpoints (
    projection text NOT NULL,
    generation integer NOT NULL CHECK (generation > 0),
    category text NOT NULL,
    partition integer NOT NULL CHECK (partition >= 0),
    identity uuid,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    epoch bigint NOT NULL CHECK (epoch >= 0),
    writer uuid,
    next_seq bigint NOT NULL CHECK (next_seq >= 0),
    drained bigint NOT NULL CHECK (drained >= 0),
    sealed boolean NOT NULL,
    last_time_us bigint,
    witness_offset bigint,
    witness_epoch bigint,
    witness_writer uuid,
    -- NULL with a witness: the witness is a fence.
    witness_seq bigint,
    PRIMARY KEY (projection, generation, category, partition)
) WITH (fillfactor = 50);

-- The state of every aggregate at the checkpoint of projection `snapshots` of its partition.
CREATE TABLE snapshots (
    category text NOT NULL,
    aggregate_id uuid NOT NULL,
    partition integer NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    -- The form of `state`; a reader that expects another one folds again.
    format smallint NOT NULL,
    state bytea,
    -- Why this release cannot read the aggregate; then there is no state.
    unreadable text,
    PRIMARY KEY (category, aggregate_id),
    CHECK ((state IS NULL) <> (unreadable IS NULL))
);
-- Answers, whenever a partition is taken up, whether some states are of an older form.
CREATE INDEX snapshots_by_format ON snapshots (category, partition, format);

-- What each command came to, at the checkpoint of projection `snapshots` of its partition.
CREATE TABLE outcomes (
    command_id uuid PRIMARY KEY,
    category text NOT NULL,
    partition integer NOT NULL,
    aggregate_id uuid NOT NULL,
    fingerprint_key integer NOT NULL,
    fingerprint bytea NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('accepted', 'unchanged', 'rejected')),
    -- The version after the command; 0 where the aggregate did not exist.
    version bigint NOT NULL CHECK (version >= 0),
    -- The offset after the last record of the outcome: what Highwater-Position says.
    next_offset bigint NOT NULL,
    -- [{"type", "version"}] of an accepted one.
    events jsonb,
    -- {"code", "detail", ...} of the others, as it was recorded.
    reason jsonb
);

-- Everything but the projectors connects and takes this role: it can read and nothing else.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'highwater_reader') THEN
        CREATE ROLE highwater_reader NOLOGIN;
    END IF;
EXCEPTION
    -- Another database of the same cluster was faster.
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'role highwater_reader is missing and % may not create roles', current_user
            USING HINT = 'as an administrator: CREATE ROLE highwater_reader NOLOGIN; GRANT highwater_reader TO the user of the services';
END
$$;

DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'highwater_reader', 'MEMBER') THEN
        EXECUTE format('GRANT highwater_reader TO %I', current_user);
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION '% is no member of role highwater_reader', current_user
            USING HINT = 'as an administrator: GRANT highwater_reader TO the user of the services';
END
$$;

GRANT USAGE ON SCHEMA public TO highwater_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO highwater_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO highwater_reader;

INSERT INTO schema_version (component, version) VALUES ('system', 1);
