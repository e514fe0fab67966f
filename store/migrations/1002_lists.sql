-- Sums and stock, and what the lists filter and sort by. Statements of the lists are in query-api; a test holds their plans against
-- these indexes.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

-- What was sold by UTC day of placed_at: each placed order added, each cancelled one taken back on the same day. One row for each
-- partition of category `order`, so that partitions never wait for each other; readers add them up.
CREATE TABLE sales_daily (
    day date NOT NULL,
    -- '' is the day as a whole, in which each order counts once; in a department's row it counts if one of its lines is there.
    -- Sorted by bytes: the same sequence on every server, whatever its locale.
    department text COLLATE "C" NOT NULL,
    partition integer NOT NULL,
    orders bigint NOT NULL,
    lines bigint NOT NULL,
    -- One order may hold up to 2^53 - 1 of each: no number of orders overflows these.
    units numeric NOT NULL,
    total_minor numeric NOT NULL,
    PRIMARY KEY (day, department, partition)
);
CREATE INDEX sales_daily_by_department ON sales_daily (department, day, partition);

-- The id is that of the product.
CREATE TABLE stock_levels (
    id uuid PRIMARY KEY,
    partition integer NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    on_hand bigint NOT NULL,
    reserved bigint NOT NULL,
    available bigint NOT NULL GENERATED ALWAYS AS (on_hand - reserved) STORED
);
CREATE INDEX stock_levels_by_available ON stock_levels (available, id);

CREATE INDEX orders_by_placed_at ON orders (placed_at, id);
CREATE INDEX orders_by_total ON orders (total_minor, id);
CREATE INDEX orders_by_customer ON orders (customer_id, placed_at, id);
CREATE INDEX orders_by_status ON orders (status, placed_at, id);

-- What `q` searches.
ALTER TABLE catalog ADD COLUMN search tsvector NOT NULL
    GENERATED ALWAYS AS (to_tsvector('english', name || ' ' || coalesce(brand, '') || ' ' || coalesce(category, ''))) STORED;
CREATE INDEX catalog_by_search ON catalog USING gin (search);
-- By bytes, too.
CREATE INDEX catalog_by_name ON catalog (name COLLATE "C", id);
CREATE INDEX catalog_by_price ON catalog (unit_price_minor, id);
CREATE INDEX catalog_by_department ON catalog (department, name COLLATE "C", id);
CREATE INDEX catalog_by_status ON catalog (status, name COLLATE "C", id);

UPDATE schema_version SET version = 2 WHERE component = 'store';
