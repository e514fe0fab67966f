//! Pages: each is continued by its cursor, and known by its tag.

use axum::http::StatusCode;
use serde_json::Value;

use super::{filled, items, next, walk};

#[tokio::test]
async fn a_cursor_belongs_to_its_list_its_filters_and_its_sort() {
    let served = filled("lists_cursor", &[]).await;
    let first = served.get("/v1/vouchers?status=issued&sort=issued_at&limit=2", &[]).await;
    let next = next(&first).expect("another page");
    let cursor =
        next.split("cursor=").nth(1).and_then(|rest| rest.split('&').next()).expect("a cursor");
    assert_eq!(items(&served.get(&next, &[]).await).len(), 2);
    // Page size and fields may change.
    let changed =
        format!("/v1/vouchers?cursor={cursor}&sort=issued_at&status=issued&limit=7&fields=id");
    assert_eq!(items(&served.get(&changed, &[]).await).len(), 7);
    for other in [
        format!("/v1/vouchers?status=issued&sort=-issued_at&cursor={cursor}"),
        format!("/v1/vouchers?sort=issued_at&cursor={cursor}"),
        format!("/v1/vouchers?status=redeemed&sort=issued_at&cursor={cursor}"),
        format!("/v1/books?cursor={cursor}"),
        format!("/v1/vouchers?status=issued&sort=issued_at&cursor=A{cursor}"),
    ] {
        assert_eq!(served.get(&other, &[]).await.problem(), (400, "parameter.invalid"), "{other}");
    }
}

#[tokio::test]
async fn a_page_is_continued_while_rows_come_and_go() {
    let served = filled("lists_moving", &[]).await;
    let first = served.get("/v1/vouchers?sort=issued_at&limit=4", &[]).await;
    let next = next(&first).expect("another page");
    // The last row of the page is gone, and one came before it.
    let last = items(&first)[3]["id"].as_str().expect("an id").to_owned();
    sqlx::query("DELETE FROM vouchers WHERE id = $1::uuid")
        .bind(last)
        .execute(&served.owner)
        .await
        .expect("deleted");
    sqlx::query("UPDATE vouchers SET issued_at = '2020-01-01' WHERE status = 'cancelled'")
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
    let next = next(&one.get("/v1/vouchers?limit=2", &[]).await).expect("another page");
    assert_eq!(two.get(&next, &[]).await.body, one.get(&next, &[]).await.body);
    assert_eq!(other.get(&next, &[]).await.problem(), (400, "parameter.invalid"));
}

#[tokio::test]
async fn a_page_that_the_reader_has_already_is_not_sent_again() {
    let served = filled("lists_conditional", &[]).await;
    for path in ["/v1/vouchers?limit=3", "/v1/books?q=apple", "/v1/rooms?limit=2", "/v1/days"] {
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
    let before = served.get("/v1/vouchers?limit=3", &[]).await;
    let etag = before.header("etag").to_owned();
    assert_eq!(
        served.get("/v1/vouchers?limit=3&fields=id", &[("if-none-match", &etag)]).await.status,
        StatusCode::OK
    );
    sqlx::query("UPDATE vouchers SET version = version + 1")
        .execute(&served.owner)
        .await
        .expect("a change");
    assert_eq!(
        served.get("/v1/vouchers?limit=3", &[("if-none-match", &etag)]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_row_that_moves_while_the_pages_are_read_is_seen_twice_or_not_at_all_and_no_other_is() {
    let served = filled("lists_moving", &[]).await;
    let ids = |rows: &[Value]| {
        rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let path = "/v1/books?q=apples&shelf=COOKING&sort=price_minor&fields=id&limit=4";
    let before = ids(&walk(&served.router, path).await.0);
    let first = served.get(path, &[]).await;
    assert_eq!(ids(items(&first)), before[..4]);
    // The cheapest one becomes the dearest, and the other way round.
    let changed = "UPDATE books SET price_minor = CASE right(id::text, 1) WHEN '0' THEN \
                   1000 ELSE 1 END
                   WHERE shelf = 'COOKING' AND right(id::text, 1) IN ('0', '9')";
    served.project(changed, 43, false).await;
    let rest = ids(&walk(&served.router, &next(&first).expect("a second page")).await.0);
    let (twice, unseen) = (&before[0], &before[9]);
    assert!(rest.contains(twice) && !rest.contains(unseen), "{rest:?}");
    assert_eq!(rest[..5], before[4..9], "every other row once");
    assert_eq!(rest.len(), 6);
}

#[tokio::test]
async fn a_page_that_says_something_else_fails_its_condition() {
    let served = filled("lists_if_match", &[]).await;
    let path = "/v1/books?limit=3";
    let etag = served.get(path, &[]).await.header("etag").to_owned();
    assert_eq!(served.get(path, &[("if-match", &etag)]).await.status, StatusCode::OK);
    served.project("UPDATE books SET price_minor = price_minor + 1", 43, false).await;
    let changed = served.get(path, &[("if-match", &etag)]).await;
    assert_eq!(changed.problem(), (412, "etag.mismatch"));
    assert_eq!(
        served.get(path, &[("if-match", changed.header("etag"))]).await.status,
        StatusCode::OK,
        "it says which it is"
    );
}
