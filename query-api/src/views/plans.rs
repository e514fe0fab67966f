//! The plan of every statement that a list can make, on tables of 100,000 rows: none may read its whole table.

#[path = "../../../projectors/tests/support/postgres.rs"]
mod postgres;

use std::path::Path;

use axum::http::Uri;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, QueryBuilder, Row, migrate::Migrator};

use super::{orders::Orders, products::Products, sales::Sales, stocks::Stocks};
use crate::list::{List, Page, Parameters};

const ROWS: i64 = 100_000;

const FILL: [&str; 5] = [
    "INSERT INTO orders (id, partition, version, status, customer_id, currency, placed_at, units, total_minor, lines)
     SELECT md5('o' || n)::uuid, n % 8, 1,
            CASE WHEN n % 1000 = 0 THEN 'returned' WHEN n % 20 = 0 THEN 'cancelled' WHEN n % 3 = 0 THEN 'placed' ELSE 'delivered' END,
            md5('c' || n % 2500)::uuid, 'USD', '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 minute', 2, n * 7919 % 100000, '[]'
     FROM generate_series(1, $1) n",
    "INSERT INTO catalog (id, partition, version, status, name, department, unit_price_minor, currency, brand, category)
     SELECT md5('p' || n)::uuid, n % 8, 1, CASE WHEN n % 200 = 0 THEN 'discontinued' ELSE 'active' END,
            (ARRAY['APPLES', 'BREAD', 'CHEESE', 'MILK', 'SOAP'])[1 + n % 5] || ' ' || n, 'DEPARTMENT ' || n % 30, n * 7919 % 5000, 'USD',
            'BRAND ' || n % 300, 'CATEGORY ' || n % 100
     FROM generate_series(1, $1) n",
    "INSERT INTO stock_levels (id, partition, version, on_hand, reserved)
     SELECT md5('p' || n)::uuid, n % 8, 1, n % 500 + n % 3, n % 3 FROM generate_series(1, $1) n",
    "INSERT INTO sales_daily (day, department, partition, orders, lines, units, total_minor)
     SELECT '2020-01-01'::date + (n / 248)::int, CASE WHEN n % 31 = 0 THEN '' ELSE 'DEPARTMENT ' || n % 31 END, n / 31 % 8, 1, 2, 3, 400
     FROM generate_series(0, $1 - 1) n",
    "ANALYZE",
];

async fn filled() -> PgPool {
    let pool = PgPool::connect_with(postgres::database("plans").await).await.expect("a connection");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../projectors/migrations");
    for folder in [folder.clone(), folder.join("store")] {
        let mut migrations = Migrator::new(folder).await.expect("migrations");
        migrations.set_ignore_missing(true).run(&pool).await.expect("tables");
    }
    for sql in FILL {
        let query = sqlx::query(sql);
        let query = if sql.contains("$1") { query.bind(ROWS) } else { query };
        query.execute(&pool).await.expect(sql);
    }
    pool
}

/// The first page of `query` under every sort, and the one after its last row.
async fn check<L: List>(connection: &mut PgConnection, table: &str, query: &str) {
    let uri: Uri = format!("/v1/list?{query}").parse().expect("a URI");
    let given = Parameters::of(&uri, L::FILTERS).expect("known parameters");
    let list = L::filtered(&given).expect("usable filters");
    let sorts = if L::SORTS.is_empty() { &[""] } else { L::SORTS };
    for (sort, limit) in sorts.iter().flat_map(|sort| [(sort, 50), (sort, 200)]) {
        let mut page = Page { sort, limit, after: None };
        let mut sql = QueryBuilder::<Postgres>::new("");
        list.select(&page, &mut sql);
        let rows: Vec<L::Row> = sql.build_query_as().fetch_all(&mut *connection).await.expect("rows");
        explain(&list, &page, connection, table, query).await;
        // A key goes through a cursor and back.
        let key = rows.last().map(|row| serde_json::to_vec(&list.key(row, sort)).expect("JSON"));
        assert!(key.is_some(), "{query} finds nothing");
        page.after = key.map(|key| serde_json::from_slice(&key).expect("a key"));
        explain(&list, &page, connection, table, query).await;
    }
}

/// For these values, and for any: a statement that is used again and again is planned without its values.
async fn explain<L: List>(list: &L, page: &Page<L::Key>, connection: &mut PgConnection, table: &str, query: &str) {
    let mut sql = QueryBuilder::<Postgres>::new("EXPLAIN ");
    list.select(page, &mut sql);
    let generic = generic_plan(sql.sql().as_str(), connection).await;
    let plan: Vec<String> = sql.build_query_scalar().fetch_all(connection).await.expect("a plan");
    for plan in [plan.join("\n"), generic] {
        assert!(!plan.contains("Seq Scan"), "{table}?{query} by {} after {}:\n{plan}", page.sort, page.after.is_some());
        assert!(plan.contains(&format!(" {table}")), "{plan}");
    }
}

async fn generic_plan(explain: &str, connection: &mut PgConnection) -> String {
    let statement = explain.strip_prefix("EXPLAIN ").expect("an EXPLAIN");
    let values = (1..).take_while(|n| statement.contains(&format!("${n}"))).map(|_| "NULL").collect::<Vec<_>>().join(", ");
    let prepare = format!("SET plan_cache_mode = force_generic_plan; PREPARE listed AS {statement}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.expect("prepared");
    let rows = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE listed({values})"))).fetch_all(&mut *connection).await.expect("a plan");
    sqlx::raw_sql("DEALLOCATE listed; RESET plan_cache_mode").execute(connection).await.expect("done");
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn no_list_reads_its_whole_table() {
    let pool = filled().await;
    let mut connection = pool.acquire().await.expect("a connection");
    let (from, to) = ("placed_from=2026-02-01T00:00:00Z", "placed_to=2026-02-03T00:00:00Z");
    let known: uuid::Uuid = sqlx::query_scalar("SELECT md5('c7')::uuid").fetch_one(&mut *connection).await.expect("a row");
    let customer = format!("customer_id={known}");
    for query in [
        "".to_owned(),
        customer.clone(),
        "status=returned".to_owned(),
        "status=delivered".to_owned(),
        from.to_owned(),
        to.to_owned(),
        format!("{from}&{to}"),
        format!("status=placed&{from}&{to}"),
        format!("{customer}&status=placed"),
        format!("{customer}&{from}"),
    ] {
        check::<Orders>(&mut connection, "orders", &query).await;
    }
    for query in [
        "",
        "department=DEPARTMENT%207",
        "status=active",
        "status=discontinued",
        "q=cheese",
        "q=brand%207",
        "department=DEPARTMENT%2010&status=discontinued",
        "department=DEPARTMENT%207&q=cheese",
        "status=discontinued&q=apples",
    ] {
        check::<Products>(&mut connection, "catalog", query).await;
    }
    for query in ["", "available_below=1", "available_below=400"] {
        check::<Stocks>(&mut connection, "stock_levels", query).await;
    }
    let days = "from=2020-02-01&to=2020-02-10";
    for group in ["", "&group=day", "&group=department"] {
        for filters in ["", "from=2020-02-01", "to=2020-12-31", days, "department=DEPARTMENT%207"] {
            check::<Sales>(&mut connection, "sales_daily", format!("{filters}{group}").trim_start_matches('&')).await;
        }
        check::<Sales>(&mut connection, "sales_daily", &format!("{days}&department=DEPARTMENT%207{group}")).await;
    }
}

/// The check above can fail.
#[tokio::test]
async fn a_missing_index_is_found() {
    let pool = filled().await;
    let mut connection = pool.acquire().await.expect("a connection");
    for index in ["DROP INDEX orders_by_placed_at", "DROP INDEX orders_by_status"] {
        sqlx::query(index).execute(&mut *connection).await.expect("dropped");
    }
    let checked = tokio::spawn(async move { check::<Orders>(&mut connection, "orders", "status=returned").await });
    assert!(checked.await.is_err_and(|failed| failed.is_panic()));
}
