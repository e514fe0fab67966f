-- The tables of the store's projections. Each row is the fold of one aggregate's events at the checkpoint of its projection.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

CREATE TABLE orders (
    id uuid PRIMARY KEY,
    partition integer NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    status text NOT NULL CHECK (status IN ('placed', 'confirmed', 'shipped', 'delivered', 'returned', 'cancelled')),
    customer_id uuid NOT NULL,
    currency text NOT NULL,
    placed_at timestamptz NOT NULL,
    units bigint NOT NULL,
    total_minor bigint NOT NULL,
    -- [{"product_id", "department", "quantity", "unit_price_minor"}]
    lines jsonb NOT NULL,
    -- Of the cancellation or the return.
    reason text,
    carrier text
);

CREATE TABLE catalog (
    id uuid PRIMARY KEY,
    partition integer NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    status text NOT NULL CHECK (status IN ('active', 'discontinued')),
    name text NOT NULL,
    department text NOT NULL,
    unit_price_minor bigint NOT NULL,
    currency text NOT NULL,
    brand text,
    category text,
    description text,
    package_size text
);

INSERT INTO schema_version (component, version) VALUES ('store', 1);
