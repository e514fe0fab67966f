//! One resource: what it says, on which condition, and by which id it is found.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    answers::position,
    documented::Row,
    served::{BOOK, Served, VOUCHER},
};

#[tokio::test]
async fn a_resource_has_its_fields_its_version_and_its_position() {
    let served = Served::new("fields", &[]).await;
    let answer = served.get(&format!("/v1/vouchers/{VOUCHER}"), &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.body,
        json!({
            "id": VOUCHER, "version": 2, "status": "cancelled",
            "holder_id": "00000000-0000-0000-0000-0000000000c1", "currency": "USD",
            "issued_at": "2026-11-22T21:34:24.123456Z", "uses": 2, "worth_minor": 300,
            "parts": [{"book_id": BOOK, "shelf": "HISTORY", "uses": 2, "price_minor": 150}],
            "note": "changed my mind",
        })
    );
    assert_eq!(answer.header("etag"), "\"g1-v2\"");
    assert_eq!(answer.header("highwater-position"), position("voucher", VOUCHER, 42));
    assert_eq!(answer.header("cache-control"), "private, max-age=0, must-revalidate");
    assert_eq!(answer.header("highwater-stale"), "");
}

#[tokio::test]
async fn what_is_not_personal_may_be_kept_by_shared_caches() {
    let served = Served::new("public", &[]).await;
    let answer = served.get(&format!("/v1/books/{BOOK}"), &[]).await;
    let expected = json!({
        "id": BOOK, "version": 1, "status": "active", "title": "Rome", "shelf": "HISTORY",
        "price_minor": 150, "currency": "USD", "publisher": "Tiber",
    });
    assert_eq!((answer.status, &answer.body), (StatusCode::OK, &expected));
    for name in ["cache-control", "cdn-cache-control"] {
        assert_eq!(answer.header(name), "max-age=5, stale-while-revalidate=30, stale-if-error=300");
    }
    assert_eq!(answer.header("vary"), "highwater-min-position");
}

#[tokio::test]
async fn what_the_reader_has_already_is_not_sent_again() {
    let served = Served::new("conditional", &[]).await;
    let path = format!("/v1/vouchers/{VOUCHER}");
    for tags in ["\"g1-v2\"", "W/\"g1-v2\"", "\"g1-v1\", \"g1-v2\"", "*"] {
        let answer = served.get(&path, &[("if-none-match", tags)]).await;
        assert_eq!(
            (answer.status, answer.body, answer.headers.get("etag").map(|tag| tag.as_bytes())),
            (StatusCode::NOT_MODIFIED, Value::Null, Some(&b"\"g1-v2\""[..])),
            "{tags}"
        );
        assert_eq!(answer.headers["highwater-position"], position("voucher", VOUCHER, 42));
    }
    for tags in ["\"g1-v1\"", "\"v2\"", "\"g2-v2\""] {
        assert_eq!(
            served.get(&path, &[("if-none-match", tags)]).await.status,
            StatusCode::OK,
            "{tags}"
        );
    }
    assert_eq!(
        served.get(&path, &[("if-none-match", "g1-v2")]).await.problem(),
        (400, "header.invalid")
    );
}

#[tokio::test]
async fn a_query_of_another_version_than_asked_for_is_412() {
    let served = Served::new("if_match", &[]).await;
    let path = format!("/v1/vouchers/{VOUCHER}");
    for tags in ["\"g1-v2\"", "\"v2\"", "W/\"g1-v2--gzip\"", "\"g1-v1\", \"g1-v2\"", "*"] {
        assert_eq!(served.get(&path, &[("if-match", tags)]).await.status, StatusCode::OK, "{tags}");
    }
    for tags in ["\"g1-v1\"", "\"g2-v2\"", "\"v3\"", "\"anything\""] {
        let answer = served.get(&path, &[("if-match", tags), ("if-none-match", "*")]).await;
        assert_eq!(
            (answer.problem(), answer.header("etag")),
            ((412, "etag.mismatch"), "\"g1-v2\""),
            "{tags}"
        );
        assert_eq!(answer.headers["highwater-position"], position("voucher", VOUCHER, 42));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(
        served.get(&path, &[("if-match", "g1-v2")]).await.problem(),
        (400, "header.invalid")
    );
    // A condition is asked of what is there (RFC 9110, 13.2.1).
    let nothing = "/v1/vouchers/0000000a-0000-0000-0000-0000000000ff";
    assert_eq!(
        served.get(nothing, &[("if-match", "*")]).await.problem(),
        (404, "voucher.not-found")
    );
    Row {
        id: "S5c",
        situation: "GET with `If-Match` of another version; of the right one as a proxy made it: \
                    `W/\"g1-v2--gzip\"`",
        answer: "412 `etag.mismatch` with the current `ETag` (RFC 9110 13.1.1); 200",
        test: (file!(), "a_query_of_another_version_than_asked_for_is_412"),
    }
    .check();
}

#[tokio::test]
async fn ids_are_hyphenated_uuids_in_either_case() {
    let served = Served::new("ids", &[]).await;
    let upper = served.get(&format!("/v1/vouchers/{}", VOUCHER.to_uppercase()), &[]).await;
    assert_eq!((upper.status, &upper.body["id"]), (StatusCode::OK, &json!(VOUCHER)));
    for id in [
        "1",
        "0000000000000000000000000000000a",
        "{0000000a-0000-0000-0000-000000000001}",
        "%FF",
        "%00",
        "urn:uuid:0000000a-0000-0000-0000-000000000001",
    ] {
        for collection in ["vouchers", "books"] {
            assert_eq!(
                served.get(&format!("/v1/{collection}/{id}"), &[]).await.problem(),
                (400, "id.malformed"),
                "{id}"
            );
        }
    }
}

#[tokio::test]
async fn an_unknown_id_is_404_up_to_a_position() {
    let served = Served::new("unknown", &[]).await;
    let unknown = "0000000f-0000-0000-0000-00000000000f";
    let voucher = served.get(&format!("/v1/vouchers/{unknown}"), &[]).await;
    assert_eq!(voucher.problem(), (404, "voucher.not-found"));
    assert_eq!(voucher.header("highwater-position"), position("voucher", unknown, 42));
    let book = served.get(&format!("/v1/books/{unknown}"), &[]).await;
    assert_eq!(book.problem(), (404, "book.not-found"));
    // Nothing is projected of books so far.
    assert_eq!(book.header("highwater-position"), position("book", unknown, 0));
    assert_eq!(served.get("/v1/nothing", &[]).await.problem(), (404, "route.unknown"));
}
