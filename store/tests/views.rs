//! What a reader sees of the store's views, over HTTP. What holds for all views (positions,
//! conditions, what is kept in memory, a database that is away): crates/query/tests/views.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "../../crates/query/tests/support/answers.rs"]
mod answers;
#[path = "views/lists.rs"]
mod lists;
#[path = "../../crates/tables/tests/support/postgres.rs"]
mod postgres;
#[path = "views/served.rs"]
mod served;

use answers::position;
use axum::http::StatusCode;
use highwater as library;
use serde_json::json;
use served::{ORDER, PRODUCT, Served};

#[tokio::test]
async fn an_order_has_its_fields_its_version_and_its_position() {
    let served = Served::new("an_order").await;
    let answer = served.get(&format!("/v1/orders/{ORDER}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.body,
        json!({
            "id": ORDER, "version": 2, "status": "cancelled",
            "customer_id": "00000000-0000-0000-0000-0000000000c1", "currency": "USD",
            "placed_at": "2026-11-22T21:34:24.123456Z", "units": 2, "total_minor": 300,
            "lines": [{
                "product_id": PRODUCT, "department": "GROCERY", "quantity": 2,
                "unit_price_minor": 150,
            }],
            "reason": "changed my mind",
        })
    );
    assert_eq!(answer.header("etag"), "\"g1-v2\"");
    assert_eq!(answer.header("highwater-position"), position("order", ORDER, 42));
    assert_eq!(answer.header("cache-control"), "private, max-age=0, must-revalidate");
    assert_eq!(answer.header("highwater-stale"), "");
}

#[tokio::test]
async fn a_product_may_be_kept_by_shared_caches() {
    let served = Served::new("a_product").await;
    let answer = served.get(&format!("/v1/products/{PRODUCT}")).await;
    let expected = json!({
        "id": PRODUCT, "version": 1, "status": "active", "name": "Milk", "department": "GROCERY",
        "unit_price_minor": 150, "currency": "USD", "brand": "Farm",
    });
    assert_eq!((answer.status, &answer.body), (StatusCode::OK, &expected));
    for name in ["cache-control", "cdn-cache-control"] {
        assert_eq!(answer.header(name), "max-age=5, stale-while-revalidate=30, stale-if-error=300");
    }
    assert_eq!(answer.header("vary"), "highwater-min-position");
}
