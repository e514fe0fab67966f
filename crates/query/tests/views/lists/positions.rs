//! A list at the position that its reader asks for.

use std::time::Duration;

use axum::http::StatusCode;

use super::{filled, items};
use crate::answers::position;
use crate::served::{Served, VOUCHER};

#[tokio::test]
async fn a_list_says_what_it_was_read_at_and_waits_for_more() {
    let served = filled("lists_position", &[]).await;
    let answer = served.get("/v1/vouchers", &[]).await;
    let position = answer.header("highwater-position").to_owned();
    assert_eq!(position, "voucher/0@42:42:42:42:42:42:42:42");
    assert_eq!(
        served.get("/v1/books", &[]).await.header("highwater-position"),
        "book/0@0:0:0:0:0:0:0:0"
    );
    // What it says can be asked for again, at once and of a single one, too.
    for path in ["/v1/vouchers".to_owned(), format!("/v1/vouchers/{VOUCHER}")] {
        let again = served
            .get(&path, &[("highwater-min-position", &position), ("prefer", "wait=20")])
            .await;
        assert_eq!((again.status, again.header("preference-applied")), (StatusCode::OK, "wait=20"));
    }

    let wanted = [("highwater-min-position", "voucher/5@43"), ("prefer", "wait=0")];
    let late = served.get("/v1/vouchers", &wanted).await;
    assert_eq!(
        (late.problem(), late.header("highwater-position")),
        ((504, "position.not-reached"), position.as_str())
    );
    let stale = served.get("/v1/vouchers", &[wanted[0], ("prefer", "wait=0, stale")]).await;
    assert_eq!(
        (stale.header("highwater-stale"), stale.header("cache-control")),
        ("true", "no-store")
    );
    assert_eq!(
        served.get("/v1/vouchers", &[("highwater-min-position", "book/0@1")]).await.problem(),
        (400, "header.invalid")
    );
    assert_eq!(
        served.get("/v1/vouchers", &[("highwater-min-position", "voucher/7@1:1")]).await.problem(),
        (400, "header.invalid")
    );

    let patient = [wanted[0], ("prefer", "wait=20")];
    let mut waiting = Box::pin(served.get("/v1/vouchers?status=given", &patient));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err(),
        "answered before the position was reached"
    );
    served
        .project(
            "UPDATE vouchers SET status = 'given', version = 2 WHERE status = 'issued'",
            43,
            true,
        )
        .await;
    let answer = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("woken");
    assert_eq!(items(&answer).len(), 10);
    assert_eq!(answer.header("highwater-position"), "voucher/0@43:43:43:43:43:43:43:43");
}

/// A caller that asks with that position would otherwise be shown less than it had been told.
#[tokio::test]
async fn what_is_projected_while_a_list_is_read_is_not_named_unless_it_is_shown() {
    // Nothing else reads checkpoints meanwhile.
    let served = filled("lists_position", &[("POSITION_POLL_MS", "60000")]).await;
    let path = "/v1/vouchers?limit=200";
    let before = served.get(path, &[]).await;
    let mut asked = Box::pin(served.get(path, &[]));

    let mut rows = served.owner.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE vouchers IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *rows)
        .await
        .expect("locked");
    tokio::select! {
        _ = &mut asked => unreachable!("the rows are locked"),
        () = waits_for(&served, "vouchers") => {}
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
    sqlx::query("DELETE FROM vouchers").execute(&mut *projecting).await.expect("a change");
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

/// Until a session waits for a lock on the table.
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
        .expect("a session waits for the table");
}

/// Unlike the position that was heard of, the rows say what the database has now.
#[tokio::test]
async fn what_the_database_has_lost_since_is_not_shown_as_what_was_waited_for() {
    let served = filled("lists_fell_back", &[("POSITION_POLL_MS", "60000")]).await;
    let id = "0000000a-0000-0000-0000-000000000105";
    // A request for other partitions than the row's waits, so the checkpoints are read.
    let own = position("voucher", VOUCHER, 42);
    let others: Vec<_> = (0..8)
        .map(|partition| format!("voucher/{partition}@42"))
        .filter(|position| *position != own)
        .collect();
    let wanted = [("highwater-min-position", others[0].as_str()), ("prefer", "wait=20")];
    assert_eq!(
        served.get(&format!("/v1/vouchers/{VOUCHER}"), &wanted).await.status,
        StatusCode::OK
    );
    sqlx::query("UPDATE checkpoints SET next_offset = 7")
        .execute(&served.owner)
        .await
        .expect("checkpoints");
    // Nothing has said so: what was heard last is that everything below 42 is there.
    let answer = served.get("/v1/vouchers", &wanted).await;
    assert_eq!(
        (answer.problem(), answer.header("highwater-position")),
        ((504, "position.not-reached"), "voucher/0@7:7:7:7:7:7:7:7")
    );
    let own = position("voucher", id, 42);
    let answer = served
        .get(&format!("/v1/vouchers/{id}"), &[("highwater-min-position", &own), wanted[1]])
        .await;
    assert_eq!(
        (answer.problem(), answer.header("highwater-position")),
        ((504, "position.not-reached"), &*position("voucher", id, 7))
    );
}
