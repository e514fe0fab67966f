//! The lists that the store writes itself: filters, sorts, and what they show.

use serde_json::{Value, json};

use crate::{
    answers::{items, next, walk},
    served::{ORDER, Served},
};

const CUSTOMER: &str = "00000000-0000-0000-0000-0000000000c1";

/// Ten more of everything: equal times, totals, names and prices in pairs, so that ids break ties.
async fn filled(test: &str) -> Served {
    let served = Served::new(test).await;
    for sql in [
        "INSERT INTO orders (id, partition, version, status, customer_id, currency, placed_at, \
         units, total_minor, lines)
         SELECT ('0000000a-0000-0000-0000-0000000001' || to_char(n, 'FM00'))::uuid, 0, 1, 'placed',
                ('00000000-0000-0000-0000-0000000000c' || n % 2)::uuid, 'USD',
                '2026-11-01T00:00:00Z'::timestamptz + n / 2 * interval '1 hour', 1, 1000 - n / 2 * \
                100, '[]'
         FROM generate_series(0, 9) n",
        "INSERT INTO catalog (id, partition, version, status, name, department, unit_price_minor, \
         currency, brand, category)
         SELECT ('0000000b-0000-0000-0000-0000000001' || to_char(n, 'FM00'))::uuid, 0, 1, CASE n \
         WHEN 9 THEN 'discontinued' ELSE 'active' END,
                'Apple ' || n / 2, 'PRODUCE', 100 + n / 2, 'USD', 'Private', 'FRESH FRUITS'
         FROM generate_series(0, 9) n",
        "INSERT INTO stock_levels (id, partition, version, on_hand, reserved, available)
         SELECT ('0000000b-0000-0000-0000-0000000001' || to_char(n, 'FM00'))::uuid, 0, 1, n + 2, \
                2, n FROM generate_series(0, 9) n",
        "INSERT INTO sales_daily VALUES
         ('2026-11-01', '', 0, 2, 5, 7, 700), ('2026-11-01', '', 3, 1, 1, 9007199254740991, \
         9007199254740991),
         ('2026-11-01', 'DELI', 0, 2, 3, 4, 400), ('2026-11-01', 'SEAFOOD', 0, 1, 2, 3, 300),
         ('2026-11-01', 'SEAFOOD', 3, 1, 1, 9007199254740991, 9007199254740991),
         ('2026-11-02', '', 0, 1, 1, 1, 50), ('2026-11-02', '', 1, -1, -1, -1, -50),
         ('2026-11-02', 'DELI', 0, 1, 1, 1, 50), ('2026-11-02', 'DELI', 1, -1, -1, -1, -50),
         ('2026-11-03', '', 0, 1, 1, 1, 25), ('2026-11-03', 'DELI', 0, 1, 1, 1, 25)",
    ] {
        sqlx::query(sql).execute(&served.owner).await.expect(sql);
    }
    served
}

#[tokio::test]
async fn every_sort_shows_every_row_once_whatever_the_page_size() {
    let served = filled("lists_sorts").await;
    for (path, rows, sorts) in [
        ("/v1/orders", 11, &["-placed_at", "placed_at", "-total_minor"][..]),
        ("/v1/products", 11, &["name", "unit_price_minor", "-unit_price_minor"]),
        ("/v1/stock", 10, &["id"]),
    ] {
        let first = served.get(&format!("{path}?limit=200")).await;
        assert_eq!((items(&first).len(), next(&first)), (rows, None));
        for sort in sorts {
            let parameter = if *sort == "id" { String::new() } else { format!("sort={sort}&") };
            let (all, _) = walk(&served.router, &format!("{path}?{parameter}limit=200")).await;
            let name = sort.trim_start_matches('-');
            let key = |row: &Value| {
                (
                    row[name].as_i64(),
                    row[name].as_str().map(str::to_owned),
                    row["id"].as_str().map(str::to_owned),
                )
            };
            let mut expected = all.clone();
            expected.sort_by_key(key);
            if sort.starts_with('-') {
                expected.reverse();
            }
            assert_eq!(all, expected, "{path} by {sort}");
            for limit in [1, 2, 3, rows, rows - 1] {
                let (paged, pages) =
                    walk(&served.router, &format!("{path}?{parameter}limit={limit}")).await;
                assert_eq!(
                    (&paged, pages),
                    (&all, rows.div_ceil(limit)),
                    "{path} by {sort}, {limit} a page"
                );
            }
        }
    }
}

/// What a statement compares its rows with stands behind the filters.
#[tokio::test]
async fn what_is_filtered_is_continued_from_page_to_page_too() {
    let served = filled("lists_continued").await;
    let window = "placed_from=2026-11-01T01:00:00Z&placed_to=2026-11-22T00:00:00Z";
    for (path, rows) in [
        (format!("/v1/orders?customer_id={CUSTOMER}"), 6),
        (format!("/v1/orders?customer_id={CUSTOMER}&sort=placed_at"), 6),
        ("/v1/orders?status=placed".to_owned(), 10),
        ("/v1/orders?status=placed&sort=placed_at".to_owned(), 10),
        (format!("/v1/orders?status=placed&{window}"), 8),
        (format!("/v1/orders?sort=placed_at&{window}"), 8),
        ("/v1/products?department=PRODUCE".to_owned(), 10),
        ("/v1/products?status=active".to_owned(), 10),
        ("/v1/products?q=apples&department=PRODUCE&sort=name".to_owned(), 10),
        ("/v1/products?q=apples&department=PRODUCE&sort=unit_price_minor".to_owned(), 10),
        ("/v1/products?q=apples&status=active&sort=-unit_price_minor".to_owned(), 9),
        ("/v1/stock?available_below=7".to_owned(), 7),
    ] {
        let whole = items(&served.get(&path).await).clone();
        assert_eq!(whole.len(), rows, "{path}");
        for limit in [1, 2, 3] {
            let (paged, pages) = walk(&served.router, &format!("{path}&limit={limit}")).await;
            assert_eq!((&paged, pages), (&whole, rows.div_ceil(limit)), "{path}, {limit} a page");
        }
    }
}

#[tokio::test]
async fn filters_say_which_rows() {
    let served = filled("lists_filters").await;
    for (path, rows) in [
        (format!("/v1/orders?customer_id={CUSTOMER}"), 6),
        (format!("/v1/orders?customer_id={}", CUSTOMER.to_uppercase()), 6),
        ("/v1/orders?status=cancelled".to_owned(), 1),
        ("/v1/orders?status=shipped".to_owned(), 0),
        // From is included, to is not.
        (
            "/v1/orders?placed_from=2026-11-01T01:00:00Z&placed_to=2026-11-01T03:00:00Z".to_owned(),
            4,
        ),
        (
            format!(
                "/v1/orders?placed_from=2026-11-01T01:00:00Z&placed_to=2026-11-01T03:00:00Z\
                 &customer_id={CUSTOMER}"
            ),
            2,
        ),
        ("/v1/products?department=PRODUCE".to_owned(), 10),
        ("/v1/products?status=discontinued".to_owned(), 1),
        ("/v1/products?q=apples".to_owned(), 10),
        ("/v1/products?q=fruit+private".to_owned(), 10),
        ("/v1/products?q=FARM".to_owned(), 1),
        ("/v1/products?q=apple+farm".to_owned(), 0),
        ("/v1/products?q=%27%3B--+%26%7C%21%28%3A*".to_owned(), 0),
        ("/v1/stock?available_below=3".to_owned(), 3),
        ("/v1/stock?available_below=0".to_owned(), 0),
    ] {
        assert_eq!(items(&served.get(&path).await).len(), rows, "{path}");
    }
}

#[tokio::test]
async fn rows_have_their_fields_and_only_those_that_are_wanted() {
    let served = filled("lists_fields").await;
    let answer = served.get("/v1/orders?status=cancelled").await;
    let row = json!({
        "id": ORDER, "version": 2, "status": "cancelled", "customer_id": CUSTOMER,
        "currency": "USD", "placed_at": "2026-11-22T21:34:24.123456Z", "units": 2,
        "total_minor": 300, "reason": "changed my mind",
    });
    assert_eq!(answer.body, json!({"items": [row]}));
    assert_eq!(answer.header("cache-control"), "private, max-age=0, must-revalidate");
    assert_eq!(answer.header("content-type"), "application/json");
    let answer = served.get("/v1/orders?status=cancelled&fields=total_minor,id,carrier").await;
    assert_eq!(answer.body, json!({"items": [{"id": ORDER, "total_minor": 300}]}));
    let stock = served.get("/v1/stock?available_below=1").await;
    let id = "0000000b-0000-0000-0000-000000000100";
    let level = json!({"id": id, "version": 1, "on_hand": 2, "reserved": 2, "available": 0});
    assert_eq!(stock.body, json!({"items": [level]}));
    assert_eq!(served.get(&format!("/v1/stock/{id}")).await.body, level);
    let products = served.get("/v1/products?limit=1").await;
    assert_eq!(
        products.header("cdn-cache-control"),
        "max-age=5, stale-while-revalidate=30, stale-if-error=300"
    );
    // What is projected of orders says nothing of the rest, nor of what is made of orders beside.
    for (list, position) in [
        ("orders", "order/0@42:42:42:42:42:42:42:42"),
        ("products", "product/0@0:0:0:0:0:0:0:0"),
        ("stock", "stock/0@0:0:0:0:0:0:0:0"),
        ("sales", "order/0@0:0:0:0:0:0:0:0"),
    ] {
        let answer = served.get(&format!("/v1/{list}")).await;
        assert_eq!(answer.header("highwater-position"), position, "{list}");
    }
}

#[tokio::test]
async fn sales_are_added_up_over_partitions() {
    let served = filled("lists_sales").await;
    let most: i64 = 9_007_199_254_740_991;
    let deli = json!({
        "day": "2026-11-01", "department": "DELI", "orders": 2, "lines": 3, "units": 4,
        "total_minor": 400,
    });
    let fish = json!({
        "day": "2026-11-01", "department": "SEAFOOD", "orders": 2, "lines": 3, "units": most + 3,
        "total_minor": most + 300,
    });
    let late = json!({
        "day": "2026-11-03", "department": "DELI", "orders": 1, "lines": 1, "units": 1,
        "total_minor": 25,
    });
    for limit in [1, 200] {
        let (both, _) = walk(&served.router, &format!("/v1/sales?limit={limit}")).await;
        assert_eq!(
            both,
            [deli.clone(), fish.clone(), late.clone()],
            "what was cancelled leaves no row"
        );
        let (days, _) = walk(&served.router, &format!("/v1/sales?group=day&limit={limit}")).await;
        let day = |day: &str, orders: i64, lines: i64, units: i64, total: i64| {
            json!({
                "day": day, "orders": orders, "lines": lines, "units": units, "total_minor": total,
            })
        };
        assert_eq!(
            days,
            [day("2026-11-01", 3, 6, most + 7, most + 700), day("2026-11-03", 1, 1, 1, 25)]
        );
        let (departments, _) = walk(
            &served.router,
            &format!("/v1/sales?group=department&from=2026-11-01&to=2026-11-30&limit={limit}"),
        )
        .await;
        let department = |name: &str, orders: i64, lines: i64, units: i64, total: i64| {
            json!({
                "department": name, "orders": orders, "lines": lines, "units": units,
                "total_minor": total,
            })
        };
        assert_eq!(
            departments,
            [department("DELI", 3, 4, 5, 425), department("SEAFOOD", 2, 3, most + 3, most + 300)]
        );
    }
    for (query, rows) in [
        ("from=2026-11-01&to=2026-11-01", vec![&deli, &fish]),
        ("from=2026-11-02", vec![&late]),
        ("to=2026-11-02&department=DELI", vec![&deli]),
        ("department=NONE", vec![]),
    ] {
        let found = served.get(&format!("/v1/sales?{query}")).await;
        assert_eq!(items(&found).iter().collect::<Vec<_>>(), rows, "{query}");
    }
    let one = served
        .get("/v1/sales?group=department&department=DELI&from=2026-11-03&to=2026-11-30")
        .await;
    assert_eq!(
        one.body,
        json!({"items": [
            {"department": "DELI", "orders": 1, "lines": 1, "units": 1, "total_minor": 25},
        ]})
    );
    let none = served.get("/v1/sales?group=department&from=2026-11-02&to=2026-11-02").await;
    assert_eq!(none.body, json!({"items": []}));
    assert_eq!(items(&served.get("/v1/sales?group=day&department=DELI").await).len(), 2);
}

#[tokio::test]
async fn what_is_not_known_is_refused_with_what_is() {
    let served = filled("lists_refused").await;
    for (path, parameter, says) in [
        (
            "/v1/orders?colour=red",
            "colour",
            "customer_id, status, placed_from, placed_to, id, sort, limit, cursor, fields",
        ),
        ("/v1/orders?sort=units", "sort", "-placed_at, placed_at, -total_minor"),
        (
            "/v1/orders?status=lost",
            "status",
            "placed, confirmed, shipped, delivered, returned, cancelled",
        ),
        ("/v1/orders?fields=id,lines", "fields", "total_minor"),
        ("/v1/orders?customer_id=5", "customer_id", "UUID"),
        ("/v1/orders?placed_from=2026-11-22", "placed_from", "RFC 3339"),
        ("/v1/orders?placed_to=2026-02-30T00:00:00Z", "placed_to", "RFC 3339"),
        ("/v1/products?status=placed", "status", "active, discontinued"),
        ("/v1/stock?sort=id", "sort", "available_below, id, limit, cursor, fields"),
        ("/v1/stock?available_below=-1", "available_below", "from 0"),
        ("/v1/sales?from=2026-11-1", "from", "a day"),
        ("/v1/sales?to=%2B12026-11-01", "to", "a day"),
        ("/v1/sales?group=week", "group", "day, department"),
        ("/v1/sales?group=department", "group", "needs from and to, at most 400 days"),
        (
            "/v1/sales?group=department&from=2026-01-01&to=2026-04-11&limit=200",
            "group",
            "at most 100 days",
        ),
        (
            "/v1/orders?sort=-total_minor&placed_to=2016-01-01T00:00:00Z",
            "sort",
            "no index serves placed_to by -total_minor; served are",
        ),
        (
            "/v1/orders?status=placed&customer_id=00000000-0000-0000-0000-0000000000c1",
            "status",
            "customer_id, placed_from, placed_to by",
        ),
        (
            "/v1/products?department=A&sort=unit_price_minor",
            "sort",
            "no filter by unit_price_minor or -unit_price_minor",
        ),
        ("/v1/products?department=A&status=active", "status", "q, department, status"),
    ] {
        let answer = served.get(path).await;
        assert_eq!(answer.problem(), (400, "parameter.invalid"), "{path}");
        assert_eq!(answer.body["errors"][0]["parameter"], parameter, "{path}");
        let detail = answer.body["detail"].as_str().expect("a text");
        assert!(detail.contains(says), "{path}: {detail}");
    }
    let long = format!("/v1/products?q={}", "a".repeat(201));
    assert_eq!(served.get(&long).await.problem(), (400, "parameter.invalid"));
}

#[tokio::test]
async fn a_search_that_finds_too_many_is_refused() {
    let served = filled("lists_crowd").await;
    let pears = "INSERT INTO catalog (id, partition, version, status, name, department, \
                 unit_price_minor, currency)
                 SELECT md5('pear' || n)::uuid, 0, 1, 'active', 'Pear ' || n, 'PRODUCE', 100, \
                 'USD' FROM generate_series($1, $2) n";
    for (first, last, refused) in [(1, 5_000, false), (5_001, 5_001, true)] {
        sqlx::query(pears).bind(first).bind(last).execute(&served.owner).await.expect("pears");
        let found = served.get("/v1/products?q=pear&limit=1").await;
        if refused {
            assert_eq!(
                (found.problem(), &found.body["errors"][0]["parameter"]),
                ((400, "parameter.invalid"), &json!("q"))
            );
        } else {
            assert_eq!(items(&found).len(), 1);
        }
    }
}
