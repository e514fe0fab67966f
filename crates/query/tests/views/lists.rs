//! What a reader of lists sees, over HTTP.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::served::{Answer, ORDER, Served};

const CUSTOMER: &str = "00000000-0000-0000-0000-0000000000c1";

/// Ten more of everything: equal times, totals, names and prices in pairs, so that ids break ties.
async fn filled(test: &str, settings: &[(&str, &str)]) -> Served {
    let served = Served::new(test, settings).await;
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

fn items(answer: &Answer) -> &Vec<Value> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body["items"].as_array().expect("items")
}

/// The target of `Link: <...>; rel="next"`.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link");
    if link.is_empty() {
        return None;
    }
    Some(
        link.strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
            .expect("a link")
            .to_owned(),
    )
}

/// All items, page by page.
async fn walk(served: &Served, path: &str) -> (Vec<Value>, usize) {
    let (mut all, mut pages, mut path) = (Vec::new(), 0, Some(path.to_owned()));
    while let Some(at) = path {
        let answer = served.get(&at, &[]).await;
        all.extend(items(&answer).clone());
        path = next(&answer);
        pages += 1;
        assert!(pages < 100);
    }
    (all, pages)
}

#[tokio::test]
async fn every_sort_shows_every_row_once_whatever_the_page_size() {
    let served = filled("lists_sorts", &[]).await;
    for (path, rows, sorts) in [
        ("/v1/orders", 11, &["-placed_at", "placed_at", "-total_minor"][..]),
        ("/v1/products", 11, &["name", "unit_price_minor", "-unit_price_minor"]),
        ("/v1/stock", 10, &["id"]),
    ] {
        let first = served.get(&format!("{path}?limit=200"), &[]).await;
        assert_eq!((items(&first).len(), next(&first)), (rows, None));
        for sort in sorts {
            let parameter = if *sort == "id" { String::new() } else { format!("sort={sort}&") };
            let (all, _) = walk(&served, &format!("{path}?{parameter}limit=200")).await;
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
                    walk(&served, &format!("{path}?{parameter}limit={limit}")).await;
                assert_eq!(
                    (&paged, pages),
                    (&all, rows.div_ceil(limit)),
                    "{path} by {sort}, {limit} a page"
                );
            }
        }
    }
}

#[tokio::test]
async fn filters_say_which_rows() {
    let served = filled("lists_filters", &[]).await;
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
        assert_eq!(items(&served.get(&path, &[]).await).len(), rows, "{path}");
    }
}

#[tokio::test]
async fn rows_have_their_fields_and_only_those_that_are_wanted() {
    let served = filled("lists_fields", &[]).await;
    let answer = served.get("/v1/orders?status=cancelled", &[]).await;
    let row = json!({
        "id": ORDER, "version": 2, "status": "cancelled", "customer_id": CUSTOMER,
        "currency": "USD", "placed_at": "2026-11-22T21:34:24.123456Z", "units": 2,
        "total_minor": 300, "reason": "changed my mind",
    });
    assert_eq!(answer.body, json!({"items": [row]}));
    assert_eq!(answer.header("cache-control"), "private, max-age=0, must-revalidate");
    assert_eq!(answer.header("content-type"), "application/json");
    let answer = served.get("/v1/orders?status=cancelled&fields=total_minor,id,carrier", &[]).await;
    assert_eq!(answer.body, json!({"items": [{"id": ORDER, "total_minor": 300}]}));
    let stock = served.get("/v1/stock?available_below=1", &[]).await;
    let id = "0000000b-0000-0000-0000-000000000100";
    let level = json!({"id": id, "version": 1, "on_hand": 2, "reserved": 2, "available": 0});
    assert_eq!(stock.body, json!({"items": [level]}));
    assert_eq!(served.get(&format!("/v1/stock/{id}"), &[]).await.body, level);
    let products = served.get("/v1/products?limit=1", &[]).await;
    assert_eq!(
        products.header("cdn-cache-control"),
        "max-age=5, stale-while-revalidate=30, stale-if-error=300"
    );
}

#[tokio::test]
async fn sales_are_added_up_over_partitions() {
    let served = filled("lists_sales", &[]).await;
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
        let (both, _) = walk(&served, &format!("/v1/sales?limit={limit}")).await;
        assert_eq!(
            both,
            [deli.clone(), fish.clone(), late.clone()],
            "what was cancelled leaves no row"
        );
        let (days, _) = walk(&served, &format!("/v1/sales?group=day&limit={limit}")).await;
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
            &served,
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
        let found = served.get(&format!("/v1/sales?{query}"), &[]).await;
        assert_eq!(items(&found).iter().collect::<Vec<_>>(), rows, "{query}");
    }
    let one = served
        .get("/v1/sales?group=department&department=DELI&from=2026-11-03&to=2026-11-30", &[])
        .await;
    assert_eq!(
        one.body,
        json!({"items": [
            {"department": "DELI", "orders": 1, "lines": 1, "units": 1, "total_minor": 25},
        ]})
    );
    let none = served.get("/v1/sales?group=department&from=2026-11-02&to=2026-11-02", &[]).await;
    assert_eq!(none.body, json!({"items": []}));
    assert_eq!(items(&served.get("/v1/sales?group=day&department=DELI", &[]).await).len(), 2);
}

#[tokio::test]
async fn what_is_not_known_is_refused_with_what_is() {
    let served = filled("lists_refused", &[]).await;
    for (path, parameter, says) in [
        (
            "/v1/orders?colour=red",
            "colour",
            "customer_id, status, placed_from, placed_to, sort, limit, cursor, fields",
        ),
        ("/v1/orders?offset=5", "offset", "cursor"),
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
        ("/v1/orders?limit=0", "limit", "from 1 to 200"),
        ("/v1/orders?limit=201", "limit", "from 1 to 200"),
        ("/v1/orders?limit=99999999999999999999", "limit", "from 1 to 200"),
        ("/v1/orders?status=placed&status=placed", "status", "twice"),
        ("/v1/orders?cursor=AAAA", "cursor", "begin again"),
        ("/v1/orders?cursor=%FF", "cursor", "begin again"),
        ("/v1/products?q=%00", "q", "NUL"),
        ("/v1/products?department=", "department", "not empty"),
        ("/v1/products?status=placed", "status", "active, discontinued"),
        ("/v1/stock?sort=id", "sort", "available_below, limit, cursor, fields"),
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
        let answer = served.get(path, &[]).await;
        assert_eq!(answer.problem(), (400, "parameter.invalid"), "{path}");
        assert_eq!(answer.body["errors"][0]["parameter"], parameter, "{path}");
        let detail = answer.body["detail"].as_str().expect("a text");
        assert!(detail.contains(says), "{path}: {detail}");
    }
    let long = format!("/v1/products?q={}", "a".repeat(201));
    assert_eq!(served.get(&long, &[]).await.problem(), (400, "parameter.invalid"));
}

#[tokio::test]
async fn a_search_that_finds_too_many_is_refused() {
    let served = filled("lists_crowd", &[]).await;
    let pears = "INSERT INTO catalog (id, partition, version, status, name, department, \
                 unit_price_minor, currency)
                 SELECT md5('pear' || n)::uuid, 0, 1, 'active', 'Pear ' || n, 'PRODUCE', 100, \
                 'USD' FROM generate_series($1, $2) n";
    for (first, last, refused) in [(1, 5_000, false), (5_001, 5_001, true)] {
        sqlx::query(pears).bind(first).bind(last).execute(&served.owner).await.expect("pears");
        let found = served.get("/v1/products?q=pear&limit=1", &[]).await;
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

#[tokio::test]
async fn a_cursor_belongs_to_its_list_its_filters_and_its_sort() {
    let served = filled("lists_cursor", &[]).await;
    let first = served.get("/v1/orders?status=placed&sort=placed_at&limit=2", &[]).await;
    let next = next(&first).expect("another page");
    let cursor =
        next.split("cursor=").nth(1).and_then(|rest| rest.split('&').next()).expect("a cursor");
    assert_eq!(items(&served.get(&next, &[]).await).len(), 2);
    // Page size and fields may change.
    let changed =
        format!("/v1/orders?cursor={cursor}&sort=placed_at&status=placed&limit=7&fields=id");
    assert_eq!(items(&served.get(&changed, &[]).await).len(), 7);
    for other in [
        format!("/v1/orders?status=placed&sort=-placed_at&cursor={cursor}"),
        format!("/v1/orders?sort=placed_at&cursor={cursor}"),
        format!("/v1/orders?status=shipped&sort=placed_at&cursor={cursor}"),
        format!("/v1/products?cursor={cursor}"),
        format!("/v1/orders?status=placed&sort=placed_at&cursor=A{cursor}"),
    ] {
        assert_eq!(served.get(&other, &[]).await.problem(), (400, "parameter.invalid"), "{other}");
    }
}

#[tokio::test]
async fn a_page_is_continued_while_rows_come_and_go() {
    let served = filled("lists_moving", &[]).await;
    let first = served.get("/v1/orders?sort=placed_at&limit=4", &[]).await;
    let next = next(&first).expect("another page");
    // The last row of the page is gone, and one came before it.
    let last = items(&first)[3]["id"].as_str().expect("an id").to_owned();
    sqlx::query("DELETE FROM orders WHERE id = $1::uuid")
        .bind(last)
        .execute(&served.owner)
        .await
        .expect("deleted");
    sqlx::query("UPDATE orders SET placed_at = '2020-01-01' WHERE status = 'cancelled'")
        .execute(&served.owner)
        .await
        .expect("moved");
    let second = served.get(&next, &[]).await;
    let ids: Vec<_> = items(&second)
        .iter()
        .map(|row| row["id"].as_str().expect("an id")[34..].to_owned())
        .collect();
    assert_eq!(ids, ["04", "05", "06", "07"]);
}

#[tokio::test]
async fn instances_with_the_same_secret_continue_each_others_pages() {
    let one = filled("lists_secret_a", &[("CURSOR_SECRET", "shared by all")]).await;
    let two = filled("lists_secret_b", &[("CURSOR_SECRET", "shared by all")]).await;
    let other = filled("lists_secret_c", &[("CURSOR_SECRET", "of its own")]).await;
    let next = next(&one.get("/v1/orders?limit=2", &[]).await).expect("another page");
    assert_eq!(two.get(&next, &[]).await.body, one.get(&next, &[]).await.body);
    assert_eq!(other.get(&next, &[]).await.problem(), (400, "parameter.invalid"));
}

#[tokio::test]
async fn a_list_says_what_it_was_read_at_and_waits_for_more() {
    let served = filled("lists_position", &[]).await;
    let answer = served.get("/v1/orders", &[]).await;
    let position = answer.header("highwater-position").to_owned();
    assert_eq!(position, "order/0@42:42:42:42:42:42:42:42");
    assert_eq!(
        served.get("/v1/products", &[]).await.header("highwater-position"),
        "product/0@0:0:0:0:0:0:0:0"
    );
    // What it says can be asked for again, at once and of a single one, too.
    for path in ["/v1/orders".to_owned(), format!("/v1/orders/{ORDER}")] {
        let again = served
            .get(&path, &[("highwater-min-position", &position), ("prefer", "wait=20")])
            .await;
        assert_eq!((again.status, again.header("preference-applied")), (StatusCode::OK, "wait=20"));
    }

    let wanted = [("highwater-min-position", "order/5@43"), ("prefer", "wait=0")];
    let late = served.get("/v1/orders", &wanted).await;
    assert_eq!(
        (late.problem(), late.header("highwater-position")),
        ((504, "position.not-reached"), position.as_str())
    );
    let stale = served.get("/v1/orders", &[wanted[0], ("prefer", "wait=0, stale")]).await;
    assert_eq!(
        (stale.header("highwater-stale"), stale.header("cache-control")),
        ("true", "no-store")
    );
    assert_eq!(
        served.get("/v1/orders", &[("highwater-min-position", "product/0@1")]).await.problem(),
        (400, "header.invalid")
    );
    assert_eq!(
        served.get("/v1/orders", &[("highwater-min-position", "order/7@1:1")]).await.problem(),
        (400, "header.invalid")
    );

    let patient = [wanted[0], ("prefer", "wait=20")];
    let mut waiting = Box::pin(served.get("/v1/orders?status=confirmed", &patient));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err(),
        "answered before the position was reached"
    );
    served
        .project(
            "UPDATE orders SET status = 'confirmed', version = 2 WHERE status = 'placed'",
            43,
            true,
        )
        .await;
    let answer = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("woken");
    assert_eq!(items(&answer).len(), 10);
    assert_eq!(answer.header("highwater-position"), "order/0@43:43:43:43:43:43:43:43");
}

#[tokio::test]
async fn a_page_that_the_reader_has_already_is_not_sent_again() {
    let served = filled("lists_conditional", &[]).await;
    for path in
        ["/v1/orders?limit=3", "/v1/products?q=apple", "/v1/stock?limit=2", "/v1/sales?group=day"]
    {
        let first = served.get(path, &[]).await;
        let etag = first.header("etag").to_owned();
        assert!(etag.starts_with("\"c") && etag.len() == 35, "{path}: {etag}");
        let again = served.get(path, &[("if-none-match", &etag)]).await;
        assert_eq!(
            (again.status, &again.body, again.header("etag")),
            (StatusCode::NOT_MODIFIED, &Value::Null, etag.as_str()),
            "{path}"
        );
        assert_eq!(
            (again.header("link").is_empty(), again.header("highwater-position")),
            (next(&first).is_none(), first.header("highwater-position"))
        );
        let other = served.get(path, &[("if-none-match", "\"c00\"")]).await;
        assert_eq!((other.status, &other.body), (StatusCode::OK, &first.body), "{path}");
    }
    // Fields and changes make another page of it.
    let before = served.get("/v1/orders?limit=3", &[]).await;
    let etag = before.header("etag").to_owned();
    assert_eq!(
        served.get("/v1/orders?limit=3&fields=id", &[("if-none-match", &etag)]).await.status,
        StatusCode::OK
    );
    sqlx::query("UPDATE orders SET version = version + 1")
        .execute(&served.owner)
        .await
        .expect("a change");
    assert_eq!(
        served.get("/v1/orders?limit=3", &[("if-none-match", &etag)]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_row_that_moves_while_the_pages_are_read_is_seen_twice_or_not_at_all_and_no_other_is() {
    let served = filled("lists_moving", &[]).await;
    let ids = |rows: &[Value]| {
        rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let path = "/v1/products?q=apples&department=PRODUCE&sort=unit_price_minor&fields=id&limit=4";
    let before = ids(&walk(&served, path).await.0);
    let first = served.get(path, &[]).await;
    assert_eq!(ids(items(&first)), before[..4]);
    // The cheapest one becomes the dearest, and the other way round.
    let changed = "UPDATE catalog SET unit_price_minor = CASE right(id::text, 1) WHEN '0' THEN \
                   1000 ELSE 1 END
                   WHERE department = 'PRODUCE' AND right(id::text, 1) IN ('0', '9')";
    served.project(changed, 43, false).await;
    let rest = ids(&walk(&served, &next(&first).expect("a second page")).await.0);
    let (twice, unseen) = (&before[0], &before[9]);
    assert!(rest.contains(twice) && !rest.contains(unseen), "{rest:?}");
    assert_eq!(rest[..5], before[4..9], "every other row once");
    assert_eq!(rest.len(), 6);
}

#[tokio::test]
async fn text_is_found_as_it_was_written_and_in_no_other_normalization() {
    let served = Served::new("lists_unicode", &[]).await;
    let (composed, decomposed) = ("caf%C3%A9", "cafe%CC%81");
    let rows = "INSERT INTO catalog (id, partition, version, status, name, department, \
                unit_price_minor, currency) VALUES
                ('0000000b-0000-0000-0000-0000000000c1', 0, 1, 'active', U&'caf\\00e9', \
                U&'caf\\00e9', 100, 'USD'),
                ('0000000b-0000-0000-0000-0000000000c2', 0, 1, 'active', U&'cafe\\0301', \
                U&'cafe\\0301', 100, 'USD')";
    sqlx::query(rows).execute(&served.owner).await.expect("two products");
    for filter in ["department", "q"] {
        for (text, id) in [(composed, "c1"), (decomposed, "c2")] {
            let found = served.get(&format!("/v1/products?{filter}={text}"), &[]).await;
            let ids: Vec<_> =
                items(&found).iter().map(|row| row["id"].as_str().expect("an id")).collect();
            assert_eq!(ids, [format!("0000000b-0000-0000-0000-0000000000{id}")], "{filter}={text}");
        }
    }
}

#[tokio::test]
async fn a_page_that_says_something_else_fails_its_condition() {
    let served = filled("lists_if_match", &[]).await;
    let path = "/v1/products?limit=3";
    let etag = served.get(path, &[]).await.header("etag").to_owned();
    assert_eq!(served.get(path, &[("if-match", &etag)]).await.status, StatusCode::OK);
    served.project("UPDATE catalog SET unit_price_minor = unit_price_minor + 1", 43, false).await;
    let changed = served.get(path, &[("if-match", &etag)]).await;
    assert_eq!(changed.problem(), (412, "etag.mismatch"));
    assert_eq!(
        served.get(path, &[("if-match", changed.header("etag"))]).await.status,
        StatusCode::OK,
        "it says which it is"
    );
}

/// Whoever asks with that position would otherwise be shown less than it had been told.
#[tokio::test]
async fn what_is_projected_while_a_list_is_read_is_not_named_unless_it_is_shown() {
    // Nobody else reads checkpoints meanwhile.
    let served = filled("lists_position", &[("POSITION_POLL_MS", "60000")]).await;
    let path = "/v1/orders?limit=200";
    let before = served.get(path, &[]).await;
    let mut asked = Box::pin(served.get(path, &[]));

    let mut rows = served.owner.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *rows)
        .await
        .expect("locked");
    tokio::select! {
        _ = &mut asked => unreachable!("the rows are locked"),
        () = waits_for(&served, "orders") => {}
    }
    let mut projecting = served.owner.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE checkpoints IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *projecting)
        .await
        .expect("locked");
    rows.rollback().await.expect("released");
    let answered = tokio::select! {
        answer = &mut asked => Some(answer),
        () = waits_for(&served, "checkpoints") => None,
    };
    sqlx::query("DELETE FROM orders").execute(&mut *projecting).await.expect("a change");
    sqlx::query("UPDATE checkpoints SET next_offset = next_offset + 1")
        .execute(&mut *projecting)
        .await
        .expect("checkpoints");
    projecting.commit().await.expect("committed");

    let answer = match answered {
        Some(answer) => answer,
        None => asked.await,
    };
    assert_eq!(items(&answer), items(&before));
    assert_eq!(answer.header("highwater-position"), before.header("highwater-position"));
    let after = served.get(path, &[]).await;
    assert!(
        items(&after).is_empty()
            && after.header("highwater-position") != before.header("highwater-position")
    );
}

/// Until somebody waits for a lock on the table.
async fn waits_for(served: &Served, table: &str) {
    let waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = $1::regclass";
    let waited = async {
        while !sqlx::query_scalar::<_, bool>(waits)
            .bind(table)
            .fetch_one(&served.owner)
            .await
            .expect("locks")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited)
        .await
        .expect("somebody waits for the table");
}

/// Unlike the position that was heard of, the rows say what the database has now.
#[tokio::test]
async fn what_the_database_has_lost_since_is_not_shown_as_what_was_waited_for() {
    let served = filled("lists_fell_back", &[("POSITION_POLL_MS", "60000")]).await;
    let id = "0000000a-0000-0000-0000-000000000105";
    // Who asks for other partitions than the row's waits, so the checkpoints are read.
    let own = served.position("order", ORDER, 42);
    let others: Vec<_> = (0..8)
        .map(|partition| format!("order/{partition}@42"))
        .filter(|position| *position != own)
        .collect();
    let wanted = [("highwater-min-position", others[0].as_str()), ("prefer", "wait=20")];
    assert_eq!(served.get(&format!("/v1/orders/{ORDER}"), &wanted).await.status, StatusCode::OK);
    sqlx::query("UPDATE checkpoints SET next_offset = 7")
        .execute(&served.owner)
        .await
        .expect("checkpoints");
    // Nobody has said so: what was heard last is that everything below 42 is there.
    let answer = served.get("/v1/orders", &wanted).await;
    assert_eq!(
        (answer.problem(), answer.header("highwater-position")),
        ((504, "position.not-reached"), "order/0@7:7:7:7:7:7:7:7")
    );
    let own = served.position("order", id, 42);
    let answer = served
        .get(&format!("/v1/orders/{id}"), &[("highwater-min-position", &own), wanted[1]])
        .await;
    assert_eq!(
        (answer.problem(), answer.header("highwater-position")),
        ((504, "position.not-reached"), &*served.position("order", id, 7))
    );
}
