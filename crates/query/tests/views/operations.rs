//! What became of a command, over HTTP: from its acceptance to its outcome, whichever of the two is
//! projected first.

use std::time::Duration;

use axum::http::StatusCode;
use highwater_runtime::identity::DeploymentKeys;
use serde_json::{Value, json};
use sqlx::{PgConnection, types::chrono::DateTime};
use uuid::Uuid;

use crate::{
    answers::Answer,
    positions::{has_the_place, refused},
    served::Served,
};

const COMMAND: &str = "0000000c-0000-0000-0000-000000000001";
const AGGREGATE: &str = "0000000a-0000-0000-0000-000000000007";
const PATIENCE: Duration = Duration::from_secs(60);

/// What `operations` writes of a command in the command queue of voucher/3.
async fn accept(served: &Served, command: &str, actor: Uuid, end: i64) {
    let row = "INSERT INTO operations (command_id, category, partition, aggregate_id, actor, \
               next_offset, accepted_at, deadline)
               VALUES ($1::uuid, 'voucher', 3, $2::uuid, $3, $4, $5, $5 + interval '1 hour')";
    let at = DateTime::from_timestamp_millis(1_795_383_264_123).expect("a time");
    let row = sqlx::query(row).bind(command).bind(AGGREGATE).bind(actor).bind(end).bind(at);
    row.execute(&served.owner).await.expect("a row");
    reach(served, "operations", 3, end).await;
}

/// What `snapshots` writes of its outcome, which is an event or a reason.
async fn decide(
    served: &Served,
    command: &str,
    actor: Option<Uuid>,
    verdict: &str,
    reason: Option<Value>,
) {
    let mut tx = served.owner.begin().await.expect("a transaction");
    record(&mut tx, command, actor, verdict, reason).await;
    let decided: i64 = sqlx::query_scalar("SELECT count(*) FROM outcomes")
        .fetch_one(&mut *tx)
        .await
        .expect("a number");
    sqlx::query(REACH)
        .bind("snapshots")
        .bind(3)
        .bind(42 + decided)
        .execute(&mut *tx)
        .await
        .expect("a checkpoint");
    sqlx::query("SELECT pg_notify('highwater_checkpoints', '')")
        .execute(&mut *tx)
        .await
        .expect("a notification");
    tx.commit().await.expect("committed");
}

async fn record(
    tx: &mut PgConnection,
    command: &str,
    actor: Option<Uuid>,
    verdict: &str,
    reason: Option<Value>,
) {
    let events =
        (verdict == "accepted").then(|| json!([{"type": "voucher.redeemed", "version": 2}]));
    let row = "INSERT INTO outcomes (command_id, category, partition, aggregate_id, \
               fingerprint_key, fingerprint, verdict, version, next_offset, events, reason, actor)
               VALUES ($1::uuid, 'voucher', 3, $2::uuid, 1, '', $3, 2, 43, $4, $5, $6)";
    let row = sqlx::query(row)
        .bind(command)
        .bind(AGGREGATE)
        .bind(verdict)
        .bind(events)
        .bind(reason)
        .bind(actor);
    row.execute(tx).await.expect("a row");
}

const REACH: &str = "INSERT INTO checkpoints (projection, generation, category, partition, \
                     next_offset, epoch, next_seq, drained, sealed)
                     VALUES ($1, 1, 'voucher', $2, $3, 0, 0, 0, false)
                     ON CONFLICT (projection, generation, category, partition) DO UPDATE SET \
                     next_offset = excluded.next_offset";

async fn reach(served: &Served, projection: &str, partition: i32, offset: i64) {
    let mut tx = served.owner.begin().await.expect("a transaction");
    sqlx::query(REACH)
        .bind(projection)
        .bind(partition)
        .bind(offset)
        .execute(&mut *tx)
        .await
        .expect("a checkpoint");
    sqlx::query("SELECT pg_notify('highwater_checkpoints', '')")
        .execute(&mut *tx)
        .await
        .expect("a notification");
    tx.commit().await.expect("committed");
}

async fn ask(served: &Served, query: &str) -> Answer {
    served.get(&format!("/v1/operations/{COMMAND}{query}"), &[]).await
}

fn succeeded() -> Value {
    let result = json!({
        "id": AGGREGATE, "version": 2, "position": "voucher/3@43",
        "events": [{"type": "voucher.redeemed", "version": 2}],
    });
    json!({"id": COMMAND, "state": "succeeded", "result": result})
}

#[tokio::test]
async fn a_command_is_pending_from_its_acceptance_to_its_outcome() {
    let served = Served::new("operation_pending", &[]).await;
    // The command queue is not read so far.
    let early = ask(&served, "?accepted=voucher/3@1042").await;
    assert_eq!(early.status, StatusCode::OK);
    assert_eq!(
        early.body,
        json!({"id": COMMAND, "state": "pending", "accepted": "voucher/3@1042"})
    );
    assert_eq!((early.header("retry-after"), early.header("etag")), ("1", ""));
    reach(&served, "operations", 3, 1_041).await;
    assert_eq!(ask(&served, "?accepted=voucher/3@1042").await.body["state"], "pending");

    accept(&served, COMMAND, Uuid::nil(), 1_042).await;
    for query in ["", "?accepted=voucher/3@1042", "?accepted=voucher/3@1"] {
        let pending = ask(&served, query).await;
        let expected = json!({
            "id": COMMAND, "state": "pending", "accepted": "voucher/3@1042",
            "accepted_at": "2026-11-22T21:34:24.123000Z",
            "expires_at": "2026-11-22T22:34:24.123000Z",
        });
        assert_eq!((pending.status, &pending.body), (StatusCode::OK, &expected), "{query}");
        assert_eq!(
            (pending.header("retry-after"), pending.header("highwater-position")),
            ("1", "")
        );
    }

    decide(&served, COMMAND, Some(Uuid::nil()), "accepted", None).await;
    let done = ask(&served, "?accepted=voucher/3@1042").await;
    assert_eq!((done.status, &done.body), (StatusCode::OK, &succeeded()));
    assert_eq!(
        (done.header("highwater-position"), done.header("retry-after")),
        ("voucher/3@43", "")
    );
    assert_eq!(done.header("cache-control"), "private, max-age=0, must-revalidate");
    let known = served
        .get(&format!("/v1/operations/{COMMAND}"), &[("if-none-match", done.header("etag"))])
        .await;
    assert_eq!(
        (known.status, known.header("highwater-position")),
        (StatusCode::NOT_MODIFIED, "voucher/3@43")
    );
}

#[tokio::test]
async fn an_outcome_that_is_projected_first_is_answered_and_stays_the_same() {
    let served = Served::new("operation_first", &[]).await;
    decide(&served, COMMAND, Some(Uuid::nil()), "accepted", None).await;
    let first = ask(&served, "?accepted=voucher/3@1042").await;
    accept(&served, COMMAND, Uuid::nil(), 1_042).await;
    let then = ask(&served, "").await;
    assert_eq!((&first.body, &then.body), (&succeeded(), &succeeded()));
    assert_eq!(first.header("etag"), then.header("etag"));
    assert!(!first.header("etag").is_empty());
}

#[tokio::test]
async fn what_was_not_done_says_so_as_the_command_does() {
    let served = Served::new("operation_rejected", &[]).await;
    let reasons = [
        (
            json!({"code": "voucher.used-up", "detail": "too few", "uses": 2}),
            "rejected",
            409,
            "Conflict",
        ),
        (
            json!({"code": "version.mismatch", "detail": "it is 3", "status": 412, "version": 3}),
            "rejected",
            412,
            "Precondition Failed",
        ),
        (
            json!({"code": "voucher.not-found", "detail": "none", "status": 404}),
            "rejected",
            404,
            "Not Found",
        ),
        (json!({"code": "operation.expired", "detail": "too late"}), "expired", 409, "Conflict"),
        // Whatever was recorded, no caller is told of an error of the server's.
        (json!({"code": "odd", "detail": "odd", "status": 200}), "rejected", 409, "Conflict"),
        (json!({"code": "odd", "detail": "odd", "status": 503}), "rejected", 409, "Conflict"),
    ];
    for (number, (reason, state, status, title)) in reasons.into_iter().enumerate() {
        let command = format!("0000000c-0000-0000-0000-0000000000a{number}");
        decide(&served, &command, None, "rejected", Some(reason.clone())).await;
        let answer = served.get(&format!("/v1/operations/{command}"), &[]).await;
        let mut problem = reason;
        problem["type"] =
            format!("urn:highwater:problem:{}", problem["code"].as_str().expect("a code")).into();
        problem["title"] = title.into();
        problem["status"] = status.into();
        problem["errors"] = json!([]);
        let expected = json!({"id": command, "state": state, "problem": problem});
        assert_eq!((answer.status, &answer.body), (StatusCode::OK, &expected));
        assert_eq!(
            (answer.header("highwater-position"), answer.header("retry-after")),
            ("voucher/3@43", "")
        );
    }
    decide(
        &served,
        COMMAND,
        None,
        "unchanged",
        Some(json!({"code": "nothing-to-do", "detail": "nothing"})),
    )
    .await;
    let unchanged = ask(&served, "").await;
    assert_eq!(
        (&unchanged.body["state"], &unchanged.body["result"]["events"]),
        (&json!("succeeded"), &json!([]))
    );
}

#[tokio::test]
async fn what_is_not_known_is_404_up_to_its_positions() {
    let served = Served::new("operation_unknown", &[]).await;
    reach(&served, "operations", 3, 1_042).await;
    reach(&served, "snapshots", 3, 17).await;
    let unknown = ask(&served, "?accepted=voucher/3@1042").await;
    assert_eq!(unknown.problem(), (404, "operation.unknown"));
    assert_eq!(
        unknown.body["positions"],
        json!({"commands": ["voucher/3@1042"], "events": ["voucher/3@17"]})
    );
    let detail = unknown.body["detail"].as_str().expect("a text");
    assert!(detail.contains("up to voucher/3@1042") && detail.contains("voucher/3@17"), "{detail}");
    assert!(detail.contains("the same Idempotency-Key is safe"), "{detail}");

    let nowhere = ask(&served, "").await;
    assert_eq!(nowhere.problem(), (404, "operation.unknown"));
    let detail = nowhere.body["detail"].as_str().expect("a text");
    assert!(
        detail.contains("`positions`") && detail.contains("the same Idempotency-Key is safe"),
        "{detail}"
    );
    let (commands, events) =
        (&nowhere.body["positions"]["commands"], &nowhere.body["positions"]["events"]);
    assert_eq!(commands[0], "voucher/0@0:0:0:1042:0:0:0:0");
    assert_eq!(
        (events[0].as_str(), events.as_array().map(Vec::len)),
        (Some("voucher/0@0:0:0:17:0:0:0:0"), Some(3))
    );
}

#[tokio::test]
async fn requests_that_cannot_be_answered_say_what_is_allowed() {
    let served = Served::new("operation_refused", &[]).await;
    for id in
        ["1", "0000000c000000000000000000000001", "%FF", "{0000000c-0000-0000-0000-000000000001}"]
    {
        assert_eq!(
            served.get(&format!("/v1/operations/{id}"), &[]).await.problem(),
            (400, "id.malformed"),
            "{id}"
        );
    }
    for (query, says) in [
        ("accepted=voucher", "category/partition@offset"),
        ("accepted=voucher/3@-1", "category/partition@offset"),
        ("accepted=voucher/3@99999999999999999999", "category/partition@offset"),
        ("accepted=", "not empty"),
        ("accepted=nothing/3@1", "voucher, book, room"),
        ("accepted=voucher/8@1", "0 to 7"),
        ("accepted=voucher/3@1&accepted=voucher/3@1", "twice"),
        ("position=voucher/3@1", "accepted"),
    ] {
        let refused = ask(&served, &format!("?{query}")).await;
        assert_eq!(refused.problem(), (400, "parameter.invalid"), "{query}");
        assert!(
            refused.body["detail"].as_str().is_some_and(|detail| detail.contains(says)),
            "{query}: {}",
            refused.body
        );
    }
    let refused =
        served.get(&format!("/v1/operations/{COMMAND}"), &[("if-none-match", "g1-v2")]).await;
    assert_eq!(refused.problem(), (400, "header.invalid"));
}

#[tokio::test]
async fn a_request_that_waits_is_woken_by_the_outcome_alone() {
    // Far below the interval at which checkpoints are read without a notification.
    let served = Served::new("operation_waits", &[("POSITION_POLL_MS", "60000")]).await;
    accept(&served, COMMAND, Uuid::nil(), 1_042).await;
    let path = format!("/v1/operations/{COMMAND}");
    let waiting = || Box::pin(served.get(&path, &[("prefer", "wait=25")]));
    let (mut one, mut other, mut leaves) = (waiting(), waiting(), waiting());
    assert!(
        tokio::time::timeout(Duration::from_millis(300), &mut one).await.is_err(),
        "answered before there was an outcome"
    );
    for waits in [&mut other, &mut leaves] {
        assert!(tokio::time::timeout(Duration::from_millis(50), waits).await.is_err());
    }
    // One of those that wait for the same goes; the others wait on.
    drop(leaves);
    // Another command's.
    decide(&served, "0000000c-0000-0000-0000-0000000000ff", None, "accepted", None).await;
    assert!(
        tokio::time::timeout(Duration::from_millis(300), &mut one).await.is_err(),
        "woken by another outcome"
    );
    decide(&served, COMMAND, None, "accepted", None).await;
    let both = async { tokio::join!(one, other) };
    let (one, other) = tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("woken by the notification");
    for answer in [one, other] {
        assert_eq!(
            (answer.body, answer.headers["preference-applied"].to_str().ok()),
            (succeeded(), Some("wait=25"))
        );
    }
    // One that comes afterwards does not wait.
    let late = tokio::time::timeout(PATIENCE, waiting()).await.expect("at once");
    assert_eq!(late.body, succeeded());
}

#[tokio::test]
async fn a_request_that_waits_in_vain_hears_what_there_is() {
    let served = Served::new("operation_vain", &[("WAIT_LONGEST_MS", "150")]).await;
    let path = format!("/v1/operations/{COMMAND}");
    let unknown = served.get(&path, &[("prefer", "wait=25")]).await;
    assert_eq!(unknown.problem(), (404, "operation.unknown"));
    accept(&served, COMMAND, Uuid::nil(), 1_042).await;
    let pending = served.get(&path, &[("prefer", "wait=25")]).await;
    assert_eq!((&pending.body["state"], pending.header("retry-after")), (&json!("pending"), "1"));
    assert_eq!(served.get(&path, &[("prefer", "wait=0")]).await.body["state"], "pending");
}

#[tokio::test]
async fn without_notifications_the_outcome_is_found_by_looking_now_and_then() {
    let served = Served::new("operation_polls", &[("POSITION_POLL_MS", "50")]).await;
    let path = format!("/v1/operations/{COMMAND}");
    let mut waiting = Box::pin(served.get(&path, &[("prefer", "wait=25")]));
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err());
    decide(&served, COMMAND, None, "accepted", None).await;
    assert_eq!(tokio::time::timeout(PATIENCE, waiting).await.expect("in time").body, succeeded());
}

/// The checkpoints of the outcomes do not move again, so nothing but the next look at them can
/// help.
#[tokio::test]
async fn a_look_that_was_cut_off_is_taken_again() {
    let served = Served::new("operation_cut_off", &[("POSITION_POLL_MS", "50")]).await;
    let path = format!("/v1/operations/{COMMAND}");
    let mut waiting = Box::pin(served.get(&path, &[("prefer", "wait=25")]));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    let mut tx = served.owner.begin().await.expect("a transaction");
    record(&mut tx, COMMAND, None, "accepted", None).await;
    sqlx::query("LOCK TABLE outcomes").execute(&mut *tx).await.expect("locked");
    reach(&served, "snapshots", 3, 43).await;
    tokio::time::timeout(PATIENCE, served.sessions_that_wait(1)).await.expect("it looks");
    let cut_off = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'
                   AND application_name = 'highwater-query-api'";
    sqlx::query(cut_off).execute(&served.owner).await.expect("cut off");
    tx.commit().await.expect("committed");
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(15), waiting)
            .await
            .expect("before its deadline")
            .body,
        succeeded()
    );
}

#[tokio::test]
async fn only_so_many_may_wait_for_outcomes() {
    let served = Served::new("operation_full", &[("WAITING_LIMIT", "1")]).await;
    let path = format!("/v1/operations/{COMMAND}");
    {
        let mut waiting = std::pin::pin!(has_the_place(&served, &path, &[("prefer", "wait=25")]));
        tokio::select! {
            _ = refused(&served, &path, &[("prefer", "wait=0")]) => {}
            () = &mut waiting => unreachable!("it waits for ever"),
        }
        assert_eq!(
            served.get(&path, &[]).await.problem(),
            (404, "operation.unknown"),
            "a request that does not wait is answered"
        );
    }
    assert_eq!(
        served.get(&path, &[("prefer", "wait=0")]).await.problem(),
        (404, "operation.unknown")
    );
}

#[tokio::test]
async fn what_another_principal_sent_is_as_if_it_were_not_there() {
    let folder = std::env::temp_dir().join(format!("highwater-test-keys-{}", std::process::id()));
    let keys = DeploymentKeys::create_or_load(&folder).expect("keys");
    let settings = vec![("IDENTITY__KEYS".to_owned(), folder.display().to_string())];
    let served = Served::with("operation_principal", settings).await;
    std::fs::remove_file(&folder).expect("removed");
    let (mine, theirs) = (keys.actor_id("anonymous"), keys.actor_id("a process"));

    accept(&served, COMMAND, theirs, 1_042).await;
    let unknown = ask(&served, "?accepted=voucher/3@1042").await;
    assert_eq!(unknown.problem(), (404, "operation.unknown"));
    assert_eq!(
        unknown.body["positions"]["commands"],
        json!(["voucher/3@1042"]),
        "as far as it was read"
    );
    decide(&served, COMMAND, Some(theirs), "accepted", None).await;
    assert_eq!(ask(&served, "").await.problem(), (404, "operation.unknown"));
    let waited = served.get(&format!("/v1/operations/{COMMAND}"), &[("prefer", "wait=1")]).await;
    assert_eq!(waited.problem(), (404, "operation.unknown"));

    sqlx::query("UPDATE outcomes SET actor = $1")
        .bind(mine)
        .execute(&served.owner)
        .await
        .expect("changed");
    assert_eq!(ask(&served, "").await.body, succeeded());
}
