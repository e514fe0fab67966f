-- What the tests of views show.
CREATE TABLE vouchers (
    id uuid PRIMARY KEY,
    partition integer NOT NULL,
    version bigint NOT NULL,
    status text NOT NULL,
    holder_id uuid NOT NULL,
    currency text NOT NULL,
    issued_at timestamptz NOT NULL,
    uses bigint NOT NULL,
    worth_minor bigint NOT NULL,
    parts jsonb NOT NULL,
    note text,
    seller text
);

CREATE TABLE books (
    id uuid PRIMARY KEY,
    partition integer NOT NULL,
    version bigint NOT NULL,
    status text NOT NULL,
    title text NOT NULL,
    shelf text NOT NULL,
    price_minor bigint NOT NULL,
    currency text NOT NULL,
    publisher text,
    subject text,
    search tsvector NOT NULL
        GENERATED ALWAYS AS (to_tsvector('english', title || ' ' || coalesce(publisher, '') || ' ' || coalesce(subject, ''))) STORED
);

CREATE TABLE rooms (
    id uuid PRIMARY KEY,
    partition integer NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    wing text NOT NULL,
    seats bigint NOT NULL,
    open boolean NOT NULL,
    keeper_id uuid,
    since timestamptz NOT NULL
);
