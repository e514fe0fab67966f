//! The plan of every statement that a list can make, on tables of 100,000 rows in which what is
//! rare lies where a plan that goes along another index finds it last: a page reads about as many
//! rows as it shows, or is refused.

#[path = "../../../crates/tables/tests/support/postgres.rs"]
mod postgres;

use axum::http::Uri;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, PgPool, Postgres, QueryBuilder, Row as _};

use super::{orders::Orders, products::Products, sales::Sales, stocks::Stocks};
use crate::documented::Row;
use highwater::query::list::{List, Page, Parameters, check_served};
use highwater::query::{database, settings::DatabaseSettings};
use highwater::tables::{migrations::migrate, postgres::Connections};

const ROWS: i64 = 100_000;

const FILL: [&str; 5] = [
    "INSERT INTO orders (id, partition, version, status, customer_id, currency, placed_at, units, \
     total_minor, lines)
     SELECT md5('o' || n)::uuid, n % 8, 1,
            CASE WHEN n > $1 * 97 / 100 THEN 'placed' WHEN n % 1000 = 0 THEN 'returned' WHEN n % \
            20 = 0 THEN 'cancelled' ELSE 'delivered' END,
            md5('c' || CASE WHEN n <= $1 / 3 THEN 0 ELSE n % 2500 END)::uuid, 'USD', \
            '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 minute', 2, \
            n * 7919 % 100000, '[]'
     FROM generate_series(1, $1) n",
    "INSERT INTO catalog (id, partition, version, status, name, department, unit_price_minor, \
     currency, brand, category)
     SELECT md5('p' || n)::uuid, n % 8, 1, \
            CASE WHEN n % 200 = 4 THEN 'discontinued' ELSE 'active' END,
            (ARRAY['APPLES', 'BREAD', 'CHEESE', 'MILK', 'SOAP'])[1 + n % 5] || ' ' || n, \
            'DEPARTMENT ' || n % 30, n * 7919 % 5000, 'USD',
            'BRAND ' || n % 300, 'CATEGORY ' || n % 100
     FROM generate_series(1, $1) n",
    "INSERT INTO stock_levels (id, partition, version, on_hand, reserved, available)
     SELECT md5('p' || n)::uuid, n % 8, 1, n % 500 + n % 3, n % 3, n % 500
     FROM generate_series(1, $1) n",
    "INSERT INTO sales_daily (day, department, partition, orders, lines, units, total_minor)
     SELECT '2020-01-01'::date + (n / 248)::int, CASE WHEN n % 31 = 0 THEN '' ELSE 'DEPARTMENT ' \
     || n % 31 END, n / 31 % 8, 1, 2, 3, 400
     FROM generate_series(0, $1 - 1) n",
    "ANALYZE",
];

/// Connections that may do everything, and those that lists have.
async fn filled() -> (PgPool, Connections) {
    let options = postgres::database("plans").await;
    let pool = PgPool::connect_with(options.clone()).await.expect("a connection");
    migrate(&pool, Some(&crate::app().tables())).await.expect("tables");
    for sql in FILL {
        let query = sqlx::query(sql);
        let query = if sql.contains("$1") { query.bind(ROWS) } else { query };
        query.execute(&pool).await.expect(sql);
    }
    let settings =
        DatabaseSettings { url: options.to_url_lossy().to_string(), ..DatabaseSettings::default() };
    (pool, database::pool(&settings).expect("a pool"))
}

/// One list, and values of its filters: what is rare, what is frequent, what is not there.
struct PlanCase {
    table: &'static str,
    values: Vec<(&'static str, Vec<String>)>,
    /// Rows that may be read for each row of a page, and beyond that.
    a_row: i64,
    beyond: i64,
}

/// Every filter with each of its values or without it.
fn combinations(values: &[(&'static str, Vec<String>)]) -> Vec<Vec<String>> {
    values.iter().fold(vec![Vec::new()], |all, (name, values)| {
        let with = |before: &Vec<String>| -> Vec<Vec<String>> {
            let given = values
                .iter()
                .map(|value| before.iter().cloned().chain([format!("{name}={value}")]).collect());
            [before.clone()].into_iter().chain(given).collect()
        };
        all.iter().flat_map(with).collect()
    })
}

#[derive(Debug, Default)]
struct Looked {
    served: usize,
    refused: usize,
}

/// The first page of each, and the one after its last row.
async fn try_all<L: List>(connection: &mut PgConnection, tried: &PlanCase) -> Looked {
    let names: Vec<&str> = tried.values.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, L::FILTERS, "every filter is tried");
    let mut looked = Looked::default();
    for query in combinations(&tried.values).iter().map(|given| given.join("&")) {
        for (sort, limit) in sorts::<L>().iter().flat_map(|sort| [(*sort, 50), (*sort, 200)]) {
            match served::<L>(&query, sort, limit, connection).await {
                Some(list) => {
                    looked.served += 1;
                    check(&list, sort, limit, connection, tried, &query).await;
                }
                None => looked.refused += 1,
            }
        }
    }
    looked
}

fn sorts<L: List>() -> &'static [&'static str] {
    if L::SORTS.is_empty() { &[""] } else { L::SORTS }
}

/// `None`: the list refuses it.
async fn served<L: List>(
    query: &str,
    sort: &str,
    limit: i64,
    connection: &mut PgConnection,
) -> Option<L> {
    let uri: Uri =
        format!("/v1/list?{query}&limit={limit}").replace("?&", "?").parse().expect("a URI");
    let given = Parameters::of(&uri, &[L::FILTERS, &["limit"]].concat()).expect("known parameters");
    let list = L::filtered(&given).ok()?;
    check_served(L::SERVED, L::FILTERS, &given, sort).ok()?;
    let mut count = QueryBuilder::<Postgres>::new("");
    match list.crowd(&mut count) {
        Some((_, most)) => {
            let found: i64 =
                count.build_query_scalar().fetch_one(connection).await.expect("a number");
            assert!(found <= most + 1, "{query}: counted to {found}");
            (found <= most).then_some(list)
        }
        None => Some(list),
    }
}

async fn check<L: List>(
    list: &L,
    sort: &'static str,
    limit: i64,
    connection: &mut PgConnection,
    tried: &PlanCase,
    query: &str,
) {
    let mut page = Page { sort, limit, after: None };
    let mut sql = QueryBuilder::<Postgres>::new("");
    list.select(&page, &mut sql);
    let rows: Vec<L::Row> = sql.build_query_as().fetch_all(&mut *connection).await.expect("rows");
    explain(list, &page, connection, tried, query).await;
    // A key goes through a cursor and back.
    let Some(last) = rows.last() else { return };
    let key = serde_json::to_vec(&list.key(last, sort)).expect("JSON");
    page.after = Some(serde_json::from_slice(&key).expect("a key"));
    explain(list, &page, connection, tried, query).await;
}

/// For these values by what is read, and for any by its plan: a statement that is used again and
/// again is planned without its values.
async fn explain<L: List>(
    list: &L,
    page: &Page<L::Key>,
    connection: &mut PgConnection,
    tried: &PlanCase,
    query: &str,
) {
    let mut sql = QueryBuilder::<Postgres>::new("EXPLAIN (ANALYZE, FORMAT JSON) ");
    list.select(page, &mut sql);
    let said = format!("{}?{query} by {} after {}", tried.table, page.sort, page.after.is_some());
    let generic = generic_plan(sql.sql().as_str(), connection).await;
    assert!(
        !generic.contains("Seq Scan") && generic.contains(&format!(" {}", tried.table)),
        "{said}:\n{generic}"
    );
    let is_sum = tried.beyond > 0;
    assert!(
        is_sum || !(generic.contains("Sort") || generic.contains("Filter:")),
        "{said}:\n{generic}"
    );
    let plan: serde_json::Value =
        sql.build_query_scalar().fetch_one(connection).await.expect("a plan");
    let (read, most) = (rows_read(&plan[0]["Plan"]), page.rows() * tried.a_row + tried.beyond);
    assert!(read <= most, "{said}: {read} rows are read, {most} may be:\n{plan:#}");
}

/// Of the tables and indexes below a node of a plan, what was thrown away included.
fn rows_read(node: &serde_json::Value) -> i64 {
    let figure = |name: &str| node[name].as_f64().unwrap_or_default();
    let read = figure("Actual Rows")
        + figure("Rows Removed by Filter")
        + figure("Rows Removed by Index Recheck");
    let is_scan = node["Node Type"].as_str().is_some_and(|kind| {
        kind.ends_with("Scan")
            && !kind.contains("CTE")
            && !kind.contains("WorkTable")
            && !kind.contains("Subquery")
    });
    #[expect(clippy::cast_possible_truncation, reason = "a number of rows")]
    let here = if is_scan { (read * figure("Actual Loops")).ceil() as i64 } else { 0 };
    here + node["Plans"].as_array().into_iter().flatten().map(rows_read).sum::<i64>()
}

async fn generic_plan(explain: &str, connection: &mut PgConnection) -> String {
    let statement = explain.strip_prefix("EXPLAIN (ANALYZE, FORMAT JSON) ").expect("an EXPLAIN");
    let values = (1..)
        .take_while(|n| statement.contains(&format!("${n}")))
        .map(|_| "NULL")
        .collect::<Vec<_>>()
        .join(", ");
    let prepare =
        format!("SET plan_cache_mode = force_generic_plan; PREPARE listed AS {statement}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.expect("prepared");
    let rows = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE listed({values})")))
        .fetch_all(&mut *connection)
        .await
        .expect("a plan");
    sqlx::raw_sql("DEALLOCATE listed; RESET plan_cache_mode")
        .execute(connection)
        .await
        .expect("done");
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

async fn orders(connection: &mut PgConnection) -> PlanCase {
    let mut ids = Vec::new();
    // The one with a third of all orders, the oldest ones; one of many; one without orders.
    for name in ["c0", "c7", "nobody"] {
        let id: uuid::Uuid = sqlx::query_scalar("SELECT md5($1)::uuid")
            .bind(name)
            .fetch_one(&mut *connection)
            .await
            .expect("a row");
        ids.push(id.to_string());
    }
    let values = vec![
        ("customer_id", ids),
        ("status", texts(&["returned", "delivered", "placed", "confirmed"])),
        ("placed_from", texts(&["0000-01-01T00:00:00Z", "2026-02-01T00:00:00Z"])),
        (
            "placed_to",
            texts(&["2016-01-01T00:00:00Z", "2026-02-03T00:00:00Z", "9999-01-01T00:00:00Z"]),
        ),
    ];
    PlanCase { table: "orders", values, a_row: 1, beyond: 0 }
}

#[tokio::test]
async fn w2_no_list_reads_much_more_than_it_shows() {
    let (_owner, pool) = filled().await;
    let mut connection = pool.acquire().await.expect("a connection");
    let tried = orders(&mut connection).await;
    let orders = try_all::<Orders>(&mut connection, &tried).await;
    let values = vec![
        ("department", texts(&["DEPARTMENT%207", "DEPARTMENT%2029", "NONE"])),
        ("status", texts(&["active", "discontinued"])),
        ("q", texts(&["cheese", "brand%207", "apples%2010000", "nothing"])),
    ];
    // A search finds at most 5,000 rows in its index and looks at each.
    let searches = PlanCase { table: "catalog", values: values.clone(), a_row: 1, beyond: 10_002 };
    let products = try_all::<Products>(&mut connection, &searches).await;
    let without = vec![values[0].clone(), values[1].clone(), ("q", Vec::new())];
    try_all::<Products>(
        &mut connection,
        &PlanCase { table: "catalog", values: without, a_row: 1, beyond: 0 },
    )
    .await;
    // Where few are found, they may be sorted rather than read in their sequence.
    let values = vec![("available_below", texts(&["0", "1", "400", "100000"]))];
    let stocks = try_all::<Stocks>(
        &mut connection,
        &PlanCase { table: "stock_levels", values, a_row: 2, beyond: 0 },
    )
    .await;
    let values = vec![
        ("from", texts(&["2020-02-01", "2020-12-01"])),
        ("to", texts(&["2020-02-10", "2020-12-31"])),
        ("department", texts(&["DEPARTMENT%207", "NONE"])),
        ("group", texts(&["day", "department"])),
    ];
    // Eight partitions, and beside each department the row of the whole day; by department 20,000
    // days are added up.
    let sales = try_all::<Sales>(
        &mut connection,
        &PlanCase { table: "sales_daily", values, a_row: 20, beyond: 8 * 20_000 },
    )
    .await;
    assert!(orders.refused > 0 && products.refused > 0 && stocks.refused == 0 && sales.refused > 0);
    assert!(
        [&orders, &products, &stocks, &sales].iter().all(|looked| looked.served > 5),
        "{orders:?} {products:?} {stocks:?} {sales:?}"
    );
    Row {
        id: "W2",
        situation: "lists with every combination of filters and sort, on tables of 100,000 rows \
                    where what is rare is found last",
        answer: "a page reads at most twice as many rows as it shows (a search 5,000, sums by \
                 department 20,000 days), by an index, whatever the values and without knowing \
                 them; what no index serves is \
                 400 `parameter.invalid`, which says what is served",
        test: (file!(), "w2_no_list_reads_much_more_than_it_shows"),
    }
    .check();
}

/// The check above can fail.
#[tokio::test]
async fn a_missing_index_is_found() {
    let (owner, pool) = filled().await;
    for index in ["DROP INDEX orders_by_placed_at", "DROP INDEX orders_by_status"] {
        sqlx::query(index).execute(&owner).await.expect("dropped");
    }
    let mut connection = pool.acquire().await.expect("a connection");
    let checked = tokio::spawn(async move {
        let tried = PlanCase { values: vec![], ..orders(&mut connection).await };
        let list = served::<Orders>("status=returned", "placed_at", 50, &mut connection)
            .await
            .expect("served");
        check(&list, "placed_at", 50, &mut connection, &tried, "status=returned").await;
    });
    assert!(checked.await.is_err_and(|failed| failed.is_panic()));
}
