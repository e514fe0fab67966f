//! What a reader of lists sees.

mod pages;
mod positions;

use serde_json::{Value, json};

use crate::{
    answers::{items, next, walk},
    served::{Served, VOUCHER},
    shown::MOST_FOUND,
};

const HOLDER: &str = "00000000-0000-0000-0000-0000000000c1";

/// Ten more of everything: equal times, values, titles and names in pairs, so that ids break ties.
async fn filled(test: &str, settings: &[(&str, &str)]) -> Served {
    let served = Served::new(test, settings).await;
    for sql in [
        "INSERT INTO vouchers (id, partition, version, status, holder_id, currency, issued_at, \
         uses, worth_minor, parts)
         SELECT ('0000000a-0000-0000-0000-0000000001' || to_char(n, 'FM00'))::uuid, 0, 1, 'issued',
                ('00000000-0000-0000-0000-0000000000c' || n % 2)::uuid, 'USD',
                '2026-11-01T00:00:00Z'::timestamptz + n / 2 * interval '1 hour', 1, 1000 - n / 2 * \
         100, '[]'
         FROM generate_series(0, 9) n",
        "INSERT INTO books (id, partition, version, status, title, shelf, price_minor, currency, \
         publisher, subject)
         SELECT ('0000000b-0000-0000-0000-0000000001' || to_char(n, 'FM00'))::uuid, 0, 1, CASE n \
         WHEN 9 THEN 'withdrawn' ELSE 'active' END,
                'Apple ' || n / 2, 'COOKING', 100 + n / 2, 'USD', 'Private', 'FRESH FRUITS'
         FROM generate_series(0, 9) n",
        "INSERT INTO rooms (id, partition, version, name, wing, seats, open, keeper_id, since)
         SELECT ('0000000d-0000-0000-0000-0000000001' || to_char(n, 'FM00'))::uuid, 0, 1,
                'room-' || n / 2, CASE n % 2 WHEN 0 THEN 'east' ELSE 'west' END, 100 - n / 2 * 10,
                n % 3 = 0, CASE WHEN n < 6 THEN '00000000-0000-0000-0000-0000000000c1'::uuid END,
                '2026-11-01T00:00:00Z'::timestamptz + n / 5 * interval '1 hour'
         FROM generate_series(0, 9) n",
    ] {
        sqlx::query(sql).execute(&served.owner).await.expect(sql);
    }
    served
}

/// By a field, then by the id; the other way round with `-`.
fn sort(rows: &mut [Value], by: &str) {
    let name = by.trim_start_matches('-');
    rows.sort_by_key(|row| {
        let text = |name: &str| row[name].as_str().map(str::to_owned);
        (row[name].as_bool(), row[name].as_i64(), text(name), text("id"))
    });
    if by.starts_with('-') {
        rows.reverse();
    }
}

#[tokio::test]
async fn every_sort_shows_every_row_once_whatever_the_page_size() {
    let served = filled("lists_sorts", &[]).await;
    for (path, rows, sorts) in [
        ("/v1/vouchers", 11, &["-issued_at", "issued_at", "-worth_minor"][..]),
        ("/v1/books", 11, &["title", "price_minor", "-price_minor"]),
        ("/v1/rooms", 10, &["name", "-name", "seats", "-since", "open"]),
        ("/v1/days", 2, &["day"]),
    ] {
        let first = served.get(&format!("{path}?limit=200"), &[]).await;
        assert_eq!((items(&first).len(), next(&first)), (rows, None));
        let mut expected = items(&first).clone();
        sort(&mut expected, sorts[0]);
        assert_eq!(items(&first), &expected, "{path} as it is sorted unless one says how");
        for by in sorts {
            let parameter = if *by == "day" { String::new() } else { format!("sort={by}&") };
            let (all, _) = walk(&served.router, &format!("{path}?{parameter}limit=200")).await;
            sort(&mut expected, by);
            assert_eq!(all, expected, "{path} by {by}");
            for limit in [1, 2, 3, rows, rows - 1] {
                let (paged, pages) =
                    walk(&served.router, &format!("{path}?{parameter}limit={limit}")).await;
                assert_eq!(
                    (&paged, pages),
                    (&all, rows.div_ceil(limit)),
                    "{path} by {by}, {limit} a page"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_list_that_follows_from_columns_has_every_filter_in_every_sort() {
    let served = filled("lists_columns", &[]).await;
    let all = items(&served.get("/v1/rooms?limit=200", &[]).await).clone();
    for (name, value) in [
        ("name", "room-1"),
        ("wing", "west"),
        ("seats", "80"),
        ("open", "true"),
        ("open", "false"),
        ("keeper_id", HOLDER),
        ("since", "2026-11-01T01:00:00.000000Z"),
    ] {
        let is_meant = |row: &&Value| row[name].to_string().trim_matches('"') == value;
        let mut expected: Vec<Value> = all.iter().filter(is_meant).cloned().collect();
        assert!((2..10).contains(&expected.len()), "{name}={value}: {}", expected.len());
        for by in ["name", "-name", "seats", "-since", "open"] {
            sort(&mut expected, by);
            for limit in [1, 3, 200] {
                let path = format!("/v1/rooms?{name}={value}&sort={by}&limit={limit}");
                let (paged, pages) = walk(&served.router, &path).await;
                assert_eq!((&paged, pages), (&expected, expected.len().div_ceil(limit)), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn rows_are_found_by_their_ids_in_one_page_each_once() {
    let served = filled("lists_by_ids", &[]).await;
    let all = items(&served.get("/v1/rooms?limit=200", &[]).await).clone();
    let id = |at: usize| all[at]["id"].as_str().expect("an id");
    let absent = "0000000d-0000-0000-0000-00000000ffff";
    let path = format!("/v1/rooms?id={},{absent},{}&id={}&id={}", id(7), id(2), id(7), id(0));
    let answer = served.get(&path, &[]).await;
    let mut expected = vec![all[0].clone(), all[2].clone(), all[7].clone()];
    expected.sort_by_key(|row| row["id"].to_string());
    assert_eq!(*items(&answer), expected);
    assert_eq!(next(&answer), None);
    assert_eq!(served.get(&path, &[("if-none-match", answer.header("etag"))]).await.status, 304);
    let narrow = served.get(&format!("/v1/rooms?id={}&fields=seats", id(2)), &[]).await;
    assert_eq!(*items(&narrow), [json!({"seats": all[2]["seats"]})]);
    let most = (0..100).map(|n| format!("id=0000000d-0000-0000-0000-0000000{n:05}"));
    let most = format!("/v1/rooms?{}", most.collect::<Vec<_>>().join("&"));
    assert_eq!(items(&served.get(&most, &[]).await).len(), 0);
    for (path, parameter, says) in [
        (format!("{most}&id={absent}"), "id", "at most 100"),
        ("/v1/rooms?id=5".to_owned(), "id", "hyphenated UUIDs"),
        (format!("/v1/rooms?id={absent},"), "id", "hyphenated UUIDs"),
        (format!("/v1/rooms?id={absent}&wing=east"), "wing", "only `fields`"),
        (format!("/v1/rooms?id={absent}&sort=name"), "sort", "only `fields`"),
        (format!("/v1/rooms?id={absent}&limit=5"), "limit", "only `fields`"),
        (format!("/v1/days?id={absent}"), "id", "known are: from, limit, cursor, fields"),
    ] {
        let answer = served.get(&path, &[]).await;
        assert_eq!(answer.problem(), (400, "parameter.invalid"), "{path}");
        assert_eq!(answer.body["errors"][0]["parameter"], parameter, "{path}");
        let detail = answer.body["detail"].as_str().expect("a text");
        assert!(detail.contains(says), "{path}: {detail}");
    }
}

#[tokio::test]
async fn filters_say_which_rows() {
    let served = filled("lists_filters", &[]).await;
    let hours = "issued_from=2026-11-01T01:00:00.000000Z&issued_to=2026-11-01T03:00:00.000000Z";
    for (path, rows) in [
        (format!("/v1/vouchers?holder_id={HOLDER}"), 6),
        (format!("/v1/vouchers?holder_id={}", HOLDER.to_uppercase()), 6),
        ("/v1/vouchers?status=cancelled".to_owned(), 1),
        ("/v1/vouchers?status=redeemed".to_owned(), 0),
        // From is included, to is not.
        (format!("/v1/vouchers?{hours}"), 4),
        (format!("/v1/vouchers?{hours}&holder_id={HOLDER}"), 2),
        ("/v1/books?shelf=COOKING".to_owned(), 10),
        ("/v1/books?status=withdrawn".to_owned(), 1),
        ("/v1/books?q=apples".to_owned(), 10),
        ("/v1/books?q=fruit+private".to_owned(), 10),
        ("/v1/books?q=TIBER".to_owned(), 1),
        ("/v1/books?q=apple+tiber".to_owned(), 0),
        ("/v1/books?q=%27%3B--+%26%7C%21%28%3A*".to_owned(), 0),
        ("/v1/days?from=2026-11-02".to_owned(), 1),
        ("/v1/days?from=2026-12-01".to_owned(), 0),
    ] {
        assert_eq!(items(&served.get(&path, &[]).await).len(), rows, "{path}");
    }
}

#[tokio::test]
async fn rows_have_their_fields_and_only_those_that_are_wanted() {
    let served = filled("lists_fields", &[]).await;
    let answer = served.get("/v1/vouchers?status=cancelled", &[]).await;
    let row = json!({
        "id": VOUCHER, "version": 2, "status": "cancelled", "holder_id": HOLDER,
        "currency": "USD", "issued_at": "2026-11-22T21:34:24.123456Z", "uses": 2,
        "worth_minor": 300, "note": "changed my mind",
    });
    assert_eq!(answer.body, json!({"items": [row]}));
    assert_eq!(answer.header("cache-control"), "private, max-age=0, must-revalidate");
    assert_eq!(answer.header("content-type"), "application/json");
    let wanted = "/v1/vouchers?status=cancelled&fields=worth_minor,id,seller";
    let answer = served.get(wanted, &[]).await;
    assert_eq!(answer.body, json!({"items": [{"id": VOUCHER, "worth_minor": 300}]}));
    let rooms = served.get("/v1/rooms?open=true&limit=1", &[]).await;
    let id = "0000000d-0000-0000-0000-000000000100";
    let room = json!({
        "id": id, "version": 1, "name": "room-0", "wing": "east", "seats": 100, "open": true,
        "keeper_id": HOLDER, "since": "2026-11-01T00:00:00.000000Z",
    });
    assert_eq!(rooms.body, json!({"items": [room]}));
    assert_eq!(served.get(&format!("/v1/rooms/{id}"), &[]).await.body, room);
    let books = served.get("/v1/books?limit=1", &[]).await;
    assert_eq!(
        books.header("cdn-cache-control"),
        "max-age=5, stale-while-revalidate=30, stale-if-error=300"
    );
    // Of no aggregate.
    let (days, _) = walk(&served.router, "/v1/days?limit=1").await;
    let first = json!({"day": "2026-11-01", "vouchers": 10, "worth_minor": 8_000});
    let last = json!({"day": "2026-11-22", "vouchers": 1, "worth_minor": 300});
    assert_eq!(days, [first, last]);
}

#[tokio::test]
async fn what_is_not_known_is_refused_with_what_is() {
    let served = filled("lists_refused", &[]).await;
    for (path, parameter, says) in [
        (
            "/v1/vouchers?colour=red",
            "colour",
            "holder_id, status, issued_from, issued_to, sort, limit, cursor, fields",
        ),
        ("/v1/vouchers?offset=5", "offset", "cursor"),
        ("/v1/vouchers?sort=uses", "sort", "-issued_at, issued_at, -worth_minor"),
        ("/v1/vouchers?status=lost", "status", "issued, given, redeemed, expired, cancelled"),
        ("/v1/vouchers?fields=id,parts", "fields", "worth_minor"),
        ("/v1/vouchers?holder_id=5", "holder_id", "UUID"),
        ("/v1/vouchers?issued_from=2026-11-22", "issued_from", "RFC 3339"),
        ("/v1/vouchers?issued_to=2026-02-30T00:00:00.000000Z", "issued_to", "RFC 3339"),
        ("/v1/vouchers?limit=0", "limit", "from 1 to 200"),
        ("/v1/vouchers?limit=201", "limit", "from 1 to 200"),
        ("/v1/vouchers?limit=010", "limit", "as 7 and not as 07"),
        ("/v1/vouchers?limit=%2B10", "limit", "as 7 and not as 07"),
        ("/v1/vouchers?limit=99999999999999999999", "limit", "from 1 to 200"),
        ("/v1/vouchers?status=issued&status=issued", "status", "twice"),
        ("/v1/vouchers?cursor=AAAA", "cursor", "begin again"),
        ("/v1/vouchers?cursor=%FF", "cursor", "begin again"),
        ("/v1/books?q=%00", "q", "NUL"),
        ("/v1/books?shelf=", "shelf", "not empty"),
        ("/v1/books?status=issued", "status", "active, withdrawn"),
        ("/v1/days?sort=day", "sort", "from, limit, cursor, fields"),
        ("/v1/days?from=2026-11-011", "from", "at most 10 characters"),
        ("/v1/rooms?wing=north", "wing", "one of: east, west"),
        ("/v1/rooms?seats=ten", "seats", "an integer from"),
        ("/v1/rooms?open=yes", "open", "one of: true, false"),
        ("/v1/rooms?keeper_id=5", "keeper_id", "UUID"),
        ("/v1/rooms?since=2026-11-22", "since", "RFC 3339"),
        ("/v1/rooms?sort=wing", "sort", "one of: name, -name, seats, -since, open"),
        (
            "/v1/rooms?open=true&wing=east",
            "open",
            "one filter at a time is served; these are: name, wing, seats, open, keeper_id, since",
        ),
        (
            "/v1/vouchers?sort=-worth_minor&issued_to=2016-01-01T00:00:00.000000Z",
            "sort",
            "no index serves issued_to by -worth_minor; served are",
        ),
        (
            "/v1/vouchers?status=issued&holder_id=00000000-0000-0000-0000-0000000000c1",
            "status",
            "holder_id, issued_from, issued_to by",
        ),
        ("/v1/books?shelf=A&sort=price_minor", "sort", "no filter by price_minor or -price_minor"),
        ("/v1/books?shelf=A&status=active", "status", "q, shelf, status"),
    ] {
        let answer = served.get(path, &[]).await;
        assert_eq!(answer.problem(), (400, "parameter.invalid"), "{path}");
        assert_eq!(answer.body["errors"][0]["parameter"], parameter, "{path}");
        let detail = answer.body["detail"].as_str().expect("a text");
        assert!(detail.contains(says), "{path}: {detail}");
    }
    for filter in ["books?q", "rooms?name"] {
        let long = format!("/v1/{filter}={}", "a".repeat(201));
        assert_eq!(served.get(&long, &[]).await.problem(), (400, "parameter.invalid"), "{filter}");
    }
}

#[tokio::test]
async fn a_search_that_finds_too_many_is_refused() {
    let served = filled("lists_crowd", &[]).await;
    let pears = "INSERT INTO books (id, partition, version, status, title, shelf, price_minor, \
                 currency)
                 SELECT md5('pear' || n)::uuid, 0, 1, 'active', 'Pear ' || n, 'COOKING', 100, \
                 'USD' FROM generate_series($1, $2) n";
    let one_more = MOST_FOUND + 1;
    for (first, last, refused) in [(1, MOST_FOUND, false), (one_more, one_more, true)] {
        sqlx::query(pears).bind(first).bind(last).execute(&served.owner).await.expect("pears");
        let found = served.get("/v1/books?q=pear&limit=1", &[]).await;
        if refused {
            assert_eq!(
                (found.problem(), &found.body["errors"][0]["parameter"]),
                ((400, "parameter.invalid"), &json!("q"))
            );
            let detail = found.body["detail"].as_str().expect("a text");
            assert!(detail.contains("more than 50 rows"), "{detail}");
        } else {
            assert_eq!(items(&found).len(), 1);
        }
    }
}

#[tokio::test]
async fn text_is_found_as_it_was_written_and_in_no_other_normalization() {
    let served = Served::new("lists_unicode", &[]).await;
    let (composed, decomposed) = ("caf%C3%A9", "cafe%CC%81");
    let rows = "INSERT INTO books (id, partition, version, status, title, shelf, price_minor, \
                currency) VALUES
                ('0000000b-0000-0000-0000-0000000000c1', 0, 1, 'active', U&'caf\\00e9', \
                U&'caf\\00e9', 100, 'USD'),
                ('0000000b-0000-0000-0000-0000000000c2', 0, 1, 'active', U&'cafe\\0301', \
                U&'cafe\\0301', 100, 'USD')";
    sqlx::query(rows).execute(&served.owner).await.expect("two books");
    for filter in ["shelf", "q"] {
        for (text, id) in [(composed, "c1"), (decomposed, "c2")] {
            let found = served.get(&format!("/v1/books?{filter}={text}"), &[]).await;
            let ids: Vec<_> =
                items(&found).iter().map(|row| row["id"].as_str().expect("an id")).collect();
            assert_eq!(ids, [format!("0000000b-0000-0000-0000-0000000000{id}")], "{filter}={text}");
        }
    }
}
