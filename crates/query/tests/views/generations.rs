//! Tables that take the place of others: what is shown has another tag, also under the same
//! version, and pages do not go on in other tables.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use axum::http::StatusCode;
use highwater_tables::generations::{self, Beside};
use serde_json::Value;

use crate::served::{Served, VOUCHER};

const PATIENCE: Duration = Duration::from_secs(60);
const SWITCHES: usize = 20;

/// The same rows beside the live ones, but for what they note.
async fn make(served: &Served) {
    let mut tx = served.owner.begin().await.expect("a transaction");
    generations::make(&mut tx, "vouchers", &["vouchers"]).await.expect("made");
    sqlx::raw_sql(
        "INSERT INTO highwater_beside_vouchers.vouchers SELECT * FROM vouchers;
         UPDATE highwater_beside_vouchers.vouchers SET note = 'made anew';
         INSERT INTO checkpoints (projection, generation, category, partition, next_offset, epoch,
                                  next_seq, drained, sealed)
         SELECT projection, 2, category, partition, next_offset, epoch, next_seq, drained, sealed
         FROM checkpoints WHERE projection = 'vouchers'",
    )
    .execute(&mut *tx)
    .await
    .expect("filled");
    generations::index(&mut tx, "vouchers", &["vouchers"]).await.expect("indexed");
    tx.commit().await.expect("committed");
}

async fn switch(served: &Served, from: Beside) -> i32 {
    let mut tx = served.owner.begin().await.expect("a transaction");
    let number = generations::switch(&mut tx, "vouchers", &["vouchers"], from).await;
    tx.commit().await.expect("committed");
    number.expect("switched")
}

#[tokio::test]
async fn no_tag_is_given_for_two_contents_across_switches_and_rollbacks() {
    let served = Served::new("generations", &[]).await;
    make(&served).await;
    let path = format!("/v1/vouchers/{VOUCHER}");
    let ended = Cell::new(false);
    let switching = async {
        let mut tag = served.get(&path, &[]).await.header("etag").to_owned();
        for number in 0..SWITCHES {
            let from = if number.is_multiple_of(2) { Beside::Next } else { Beside::Previous };
            let live = switch(&served, from).await;
            let renewed = async {
                loop {
                    let answer = served.get(&path, &[("if-none-match", &tag)]).await;
                    if answer.status == StatusCode::OK {
                        return answer.header("etag").to_owned();
                    }
                    tokio::task::yield_now().await;
                }
            };
            let renewed = tokio::time::timeout(PATIENCE, renewed).await;
            tag = renewed.expect("a client that has the other content hears of this one");
            assert_eq!(tag, format!("\"g{live}-v2\""));
        }
        ended.set(true);
    };
    // A client that asks again and again with the tag that it has.
    let reading = async {
        let (mut known, mut tag) = (BTreeMap::<String, Value>::new(), String::from("\"none\""));
        while !ended.get() {
            let answer = served.get(&path, &[("if-none-match", &tag)]).await;
            let now = answer.header("etag").to_owned();
            match answer.status {
                StatusCode::OK => {
                    let before = known.entry(now.clone()).or_insert_with(|| answer.body.clone());
                    assert_eq!(*before, answer.body, "{now} is of two contents");
                    tag = now;
                }
                StatusCode::NOT_MODIFIED => assert_eq!(now, tag),
                other => panic!("{other}: {}", answer.body),
            }
            tokio::task::yield_now().await;
        }
        known
    };
    let ((), known) = tokio::join!(switching, reading);
    assert!(known.len() > 1, "{known:?}");
    // The version is the aggregate's, whichever tables are shown.
    let answer = served.get(&path, &[("if-match", "\"v2\"")]).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_page_does_not_go_on_in_other_tables() {
    let served = Served::new("generations_pages", &[]).await;
    let more = "INSERT INTO vouchers SELECT gen_random_uuid(), partition, version, status, \
                holder_id, currency, issued_at, uses, worth_minor, parts, note \
                FROM vouchers, generate_series(1, 5)";
    sqlx::query(more).execute(&served.owner).await.expect("more");
    make(&served).await;
    let next = |link: &str| {
        let (path, _) = link.trim_start_matches('<').split_once('>').expect("a link");
        path.to_owned()
    };
    let first = served.get("/v1/vouchers?limit=2", &[]).await;
    let second = next(first.header("link"));
    assert_eq!(served.get(&second, &[]).await.status, StatusCode::OK);
    switch(&served, Beside::Next).await;
    let refused = served.get(&second, &[]).await;
    assert_eq!(refused.problem(), (400, "parameter.invalid"));
    let detail = refused.body["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("made anew"), "{detail}");
    let second = next(served.get("/v1/vouchers?limit=2", &[]).await.header("link"));
    let third = served.get(&second, &[]).await;
    assert_eq!(third.status, StatusCode::OK, "{}", third.body);
    assert_eq!(served.get(&next(third.header("link")), &[]).await.status, StatusCode::OK);
}
