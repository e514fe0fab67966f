//! An aggregate whose event could not be applied says so.

use axum::http::StatusCode;

use crate::served::{Served, VOUCHER};

const UNKNOWN: &str = "0000000a-0000-0000-0000-00000000dead";

async fn park(served: &Served, id: &str) {
    let sql = "INSERT INTO parked_aggregates (projection, generation, category, partition,
                   aggregate_id, schema, version, from_offset, fingerprint, error, attempts,
                   parked_at, tried_at)
               SELECT projection, generation, category, partition, $1, 'voucher.redeemed.v1', 2, 1,
                   '0123456789ab', 'an error', 1, now(), now()
               FROM checkpoints WHERE projection = 'vouchers'";
    let id = uuid::Uuid::try_parse(id).expect("an id");
    sqlx::query(sql).bind(id).execute(&served.owner).await.expect("it is parked");
}

#[tokio::test]
async fn a_list_says_that_something_of_its_collection_is_parked() {
    let served = Served::new("parked_list", &[]).await;
    assert_eq!(served.get("/v1/vouchers", &[]).await.header("highwater-parked"), "");
    park(&served, UNKNOWN).await;
    let page = served.get("/v1/vouchers", &[]).await;
    assert_eq!((page.status, page.header("highwater-parked")), (StatusCode::OK, "true"));
    assert_ne!(page.header("cache-control"), "no-store", "{:?}", page.headers);
    let etag = page.header("etag").to_owned();
    let known = served.get("/v1/vouchers", &[("if-none-match", &etag)]).await;
    assert_eq!(
        (known.status, known.header("highwater-parked")),
        (StatusCode::NOT_MODIFIED, "true")
    );
    // A projection of another name reads the same events.
    let sql = "UPDATE parked_aggregates SET projection = 'worth_daily'";
    sqlx::query(sql).execute(&served.owner).await.expect("it is another's");
    assert_eq!(served.get("/v1/vouchers", &[]).await.header("highwater-parked"), "");
}

#[tokio::test]
async fn a_resource_that_lacks_an_event_says_so_and_is_not_kept() {
    let served = Served::new("parked", &[]).await;
    let path = format!("/v1/vouchers/{UNKNOWN}");
    assert_eq!(served.get(&path, &[]).await.header("highwater-parked"), "");
    for id in [VOUCHER, UNKNOWN] {
        park(&served, id).await;
    }
    let found = served.get(&format!("/v1/vouchers/{VOUCHER}"), &[]).await;
    assert_eq!(found.status, StatusCode::OK);
    assert_eq!(found.header("highwater-parked"), "true");
    assert!(found.header("cache-control").contains("no-store"), "{:?}", found.headers);
    let etag = found.header("etag").to_owned();
    let known = served.get(&format!("/v1/vouchers/{VOUCHER}"), &[("if-none-match", &etag)]).await;
    assert_eq!(
        (known.status, known.header("highwater-parked")),
        (StatusCode::NOT_MODIFIED, "true")
    );

    // What was read before is told by the notification of the transaction that parks it.
    served.project("SELECT pg_notify('highwater_changes', '*')", 100, true).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let missing = served.get(&path, &[]).await;
        assert_eq!(missing.problem(), (404, "voucher.not-found"));
        if missing.header("highwater-parked") == "true" {
            let detail = missing.body["detail"].as_str().unwrap_or_default();
            assert!(detail.ends_with("could not be applied, and are parked"), "{detail}");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{:?}", missing.headers);
    }
}
