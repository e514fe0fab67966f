//! Single resources come from memory until a projector's commit changes them, over HTTP and a real
//! database.

use std::time::Duration;

use axum::http::StatusCode;

use crate::answers::{Answer, position};
use crate::served::{BOOK, Served, VOUCHER};

const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until the answer is as wanted.
async fn until(served: &Served, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let asking = async {
        loop {
            let answer = served.get(path, &[]).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("in time")
}

async fn until_hit(served: &Served, path: &str) -> Answer {
    until(served, path, |answer| answer.header("cache-status") == "query-api; hit").await
}

/// What a projector does: rows, checkpoint and notification together.
async fn change(served: &Served, sql: &'static str, offset: i64, payload: Option<String>) {
    let mut tx = served.owner.begin().await.expect("a transaction");
    sqlx::query(sql).execute(&mut *tx).await.expect("a change");
    sqlx::query("UPDATE checkpoints SET next_offset = $1")
        .bind(offset)
        .execute(&mut *tx)
        .await
        .expect("checkpoints");
    if let Some(payload) = payload {
        sqlx::query("SELECT pg_notify('highwater_changes', $1)")
            .bind(payload)
            .execute(&mut *tx)
            .await
            .expect("a notification");
    }
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn what_was_read_is_kept_until_its_change_is_heard_of() {
    let served = Served::new("cache_change", &[]).await;
    let path = format!("/v1/vouchers/{VOUCHER}");
    let kept = until_hit(&served, &path).await;
    assert_eq!((kept.body["version"].as_i64(), kept.header("etag")), (Some(2), "\"g1-v2\""));
    assert_eq!(kept.header("highwater-position"), position("voucher", VOUCHER, 42));

    let place = position("voucher", VOUCHER, 43);
    let changed = format!("snapshots,vouchers={place}:{}", &VOUCHER[24..]);
    change(&served, "UPDATE vouchers SET version = 3", 43, Some(changed)).await;
    let renewed = until(&served, &path, |answer| answer.body["version"] == 3).await;
    assert_eq!(renewed.header("highwater-position"), place);
    assert_eq!(until_hit(&served, &path).await.body["version"], 3);
    // A caller that has it already is answered from memory, too.
    let known = served.get(&path, &[("if-none-match", "\"g1-v3\"")]).await;
    assert_eq!(
        (known.status, known.header("cache-status")),
        (StatusCode::NOT_MODIFIED, "query-api; hit")
    );
}

#[tokio::test]
async fn one_that_did_not_exist_appears_when_it_is_made() {
    let served = Served::new("cache_created", &[]).await;
    let path = "/v1/books/0000000b-0000-0000-0000-00000000000f";
    let missing = until_hit(&served, path).await;
    assert_eq!(missing.problem(), (404, "book.not-found"));
    let sql = "INSERT INTO books (id, partition, version, status, title, shelf, price_minor, \
               currency)
               VALUES ('0000000b-0000-0000-0000-00000000000f', 0, 1, 'active', 'Carthage', \
               'HISTORY', 1, 'USD')";
    let place = position("book", "0000000b-0000-0000-0000-00000000000f", 1);
    change(&served, sql, 43, Some(format!("books={place}:*"))).await;
    until(&served, path, |answer| answer.status == StatusCode::OK).await;
}

#[tokio::test]
async fn a_lost_connection_drops_everything() {
    let served = Served::new("cache_lost", &[]).await;
    let path = format!("/v1/books/{BOOK}");
    until_hit(&served, &path).await;
    change(&served, "UPDATE books SET version = 7", 43, None).await;
    assert_eq!(served.get(&path, &[]).await.body["version"], 1, "nothing was said of the change");
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND query LIKE 'LISTEN%highwater_changes%'";
    let ended = sqlx::query(ended).fetch_all(&served.owner).await.expect("ended");
    assert_eq!(ended.len(), 1);
    until(&served, &path, |answer| answer.body["version"] == 7).await;
    // And it listens again.
    until_hit(&served, &path).await;
}

#[tokio::test]
async fn who_asks_for_a_newer_position_is_not_answered_from_memory() {
    let served = Served::new("cache_position", &[]).await;
    let path = format!("/v1/vouchers/{VOUCHER}");
    until_hit(&served, &path).await;
    change(&served, "UPDATE vouchers SET version = 3", 43, None).await;
    let wanted = position("voucher", VOUCHER, 43);
    let renewed =
        served.get(&path, &[("highwater-min-position", &wanted), ("prefer", "wait=20")]).await;
    assert_eq!(
        (renewed.body["version"].as_i64(), renewed.header("cache-status")),
        (Some(3), "query-api; fwd=request")
    );
    // It is what is kept from now on.
    let kept = served.get(&path, &[("highwater-min-position", &wanted)]).await;
    assert_eq!(
        (kept.body["version"].as_i64(), kept.header("cache-status")),
        (Some(3), "query-api; hit")
    );
}

#[tokio::test]
async fn a_resource_has_only_the_fields_that_are_wanted() {
    let served = Served::new("cache_fields", &[]).await;
    let path = format!("/v1/vouchers/{VOUCHER}?fields=uses,id");
    let answer = served.get(&path, &[]).await;
    assert_eq!(answer.body, serde_json::json!({"id": VOUCHER, "uses": 2}));
    assert_eq!(answer.header("etag"), "\"g1-v2-id.uses\"");
    assert_eq!(
        served.get(&path, &[("if-none-match", "\"g1-v2-id.uses\"")]).await.status,
        StatusCode::NOT_MODIFIED
    );
    assert_eq!(served.get(&path, &[("if-none-match", "\"g1-v2\"")]).await.status, StatusCode::OK);
    for (query, says) in [("fields=colour", "worth_minor"), ("colour=red", "fields")] {
        let refused = served.get(&format!("/v1/vouchers/{VOUCHER}?{query}"), &[]).await;
        assert_eq!(refused.problem(), (400, "parameter.invalid"));
        assert!(
            refused.body["detail"].as_str().is_some_and(|detail| detail.contains(says)),
            "{}",
            refused.body
        );
    }
}

#[tokio::test]
async fn a_position_that_was_reached_before_the_database_fell_back_is_not_reached() {
    let served = Served::new("fell_back", &[("POSITION_POLL_MS", "60000")]).await;
    let path = format!("/v1/vouchers/{VOUCHER}");
    // Of other partitions: the row that is read says nothing of them.
    let own = position("voucher", VOUCHER, 42);
    let all: Vec<_> = (0..8)
        .map(|partition| format!("voucher/{partition}@42"))
        .filter(|position| *position != own)
        .collect();
    let wanted = all.join(",");
    let ask = async |prefer: &str| {
        served.get(&path, &[("highwater-min-position", wanted.as_str()), ("prefer", prefer)]).await
    };
    assert_eq!(ask("wait=20").await.status, StatusCode::OK);
    // As after a crash that lost what was not on the disk: an older state, and no connection of
    // before.
    let listening = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query \
                     LIKE 'LISTEN%'";
    let listening = async || {
        sqlx::query_scalar::<_, i32>(listening).fetch_all(&served.owner).await.expect("sessions")
    };
    let before = listening().await;
    assert_eq!(before.len(), 2);
    sqlx::query("UPDATE checkpoints SET next_offset = 7")
        .execute(&served.owner)
        .await
        .expect("checkpoints");
    sqlx::query("SELECT pg_terminate_backend(pid, 5000) FROM unnest($1::int[]) pid")
        .bind(&before)
        .execute(&served.owner)
        .await
        .expect("ended");
    let again = async {
        while listening().await.len() < before.len()
            || listening().await.iter().any(|pid| before.contains(pid))
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("it listens again");
    assert_eq!(ask("wait=0").await.problem(), (504, "position.not-reached"));
}
