-- What is available is written as the event left it, like the other columns: a row of stock_levels is what its projection says.
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';

ALTER TABLE stock_levels ALTER COLUMN available DROP EXPRESSION;
