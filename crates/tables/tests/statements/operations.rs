use highwater_tables::{
    checkpoints::{OPERATIONS, ProjectionOffset, SNAPSHOTS},
    operations::{CommandRecords, Outcome, QueuedCommand, Row, forget, look_up, times, upsert},
    outcomes::{self, Verdict},
};
use serde_json::json;
use sqlx::types::chrono::{DateTime, Utc};

use super::{commit, id, key, project, run, tables};

fn seconds(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

fn row(command: u128, partition: i32, accepted_at: i64) -> Row {
    Row {
        command: id(command),
        category: "thing".to_owned(),
        partition,
        aggregate: id(1),
        actor: id(2),
        next_offset: 17,
        accepted_at: seconds(accepted_at),
        deadline: Some(seconds(accepted_at + 60)),
    }
}

#[tokio::test]
async fn what_was_accepted_is_known_until_it_is_forgotten() {
    let pool = tables("statements_accepted").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    let ids = [id(1), id(2), id(3), id(4)];
    let rows = [row(1, 0, 100), row(2, 0, 200), row(3, 1, 100)];
    upsert(connection, &rows).await.expect("written");
    upsert(connection, &[]).await.expect("nothing is nothing");
    // It begins anew.
    upsert(connection, &[row(1, 0, 150)]).await.expect("written");
    let mut found = times(connection, &ids).await.expect("times");
    found.sort();
    assert_eq!(found, [(id(1), seconds(150)), (id(2), seconds(200)), (id(3), seconds(100))]);
    let categories = ["thing".to_owned(), "other".to_owned()];
    let until = [seconds(200), seconds(900)];
    forget(connection, &categories, &[0, 1], &until).await.expect("forgotten");
    let mut found = times(connection, &ids).await.expect("times");
    found.sort();
    assert_eq!(found, [(id(2), seconds(200)), (id(3), seconds(100))]);
}

#[tokio::test]
async fn a_command_is_queued_or_has_its_outcome_or_is_unknown_up_to_the_checkpoints() {
    let pool = tables("statements_looked_up").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    project(&pool, key(OPERATIONS, 3), 17).await;
    project(&pool, key(SNAPSHOTS, 3), 43).await;
    project(&pool, key("a", 3), 5).await;
    let unread = Row { deadline: None, ..row(2, 3, 100) };
    upsert(connection, &[row(1, 3, 100), unread]).await.expect("written");
    let of = |command| outcomes::Row::of_commit("thing", 3, &commit(command, 7, 12));
    let outcome = |command| of(command).expect("small numbers").expect("it has events");
    outcomes::insert(connection, &[outcome(1), outcome(9)]).await.expect("written");

    let queued = QueuedCommand {
        category: "thing".to_owned(),
        partition: 3,
        next_offset: 17,
        actor: id(2),
        accepted_at: seconds(100),
        deadline: Some(seconds(160)),
    };
    let outcome = Outcome {
        category: "thing".to_owned(),
        partition: 3,
        next_offset: 12,
        aggregate: id(7),
        version: 5,
        actor: Some(id(2)),
        verdict: Some(Verdict::Accepted),
        events: Some(json!([{"type": "thing.made", "version": 5}])),
        reason: None,
    };
    let records = |queued, outcome| CommandRecords { queued, outcome, checkpoints: Vec::new() };
    let unread = QueuedCommand { deadline: None, ..queued.clone() };
    for (command, expected) in [
        (1, records(Some(queued), Some(outcome.clone()))),
        (2, records(Some(unread), None)),
        (9, records(None, Some(outcome))),
    ] {
        assert_eq!(look_up(connection, id(command)).await.expect("records"), expected);
    }
    let mut unknown = look_up(connection, id(3)).await.expect("records");
    unknown.checkpoints.sort_by_key(|at| at.offset);
    let up_to = |projection: &str, offset| {
        let (projection, category) = (projection.to_owned(), "thing".to_owned());
        ProjectionOffset { projection, category, partition: 3, offset }
    };
    let checkpoints = vec![up_to(OPERATIONS, 17), up_to(SNAPSHOTS, 43)];
    assert_eq!(unknown, CommandRecords { queued: None, outcome: None, checkpoints });
}

#[tokio::test]
async fn a_place_that_is_none_of_a_log_is_no_place() {
    let pool = tables("statements_places").await;
    let connection = &mut *pool.acquire().await.expect("a connection");
    upsert(connection, &[row(1, -1, 100)]).await.expect("written");
    let outcome = outcomes::Row::of_commit("thing", 3, &commit(1, 7, 12));
    let outcome = outcome.expect("small numbers").expect("it has events");
    outcomes::insert(connection, &[outcome]).await.expect("written");
    assert!(look_up(connection, id(1)).await.expect("records").outcome.is_some());
    for statement in ["UPDATE outcomes SET partition = -1", "UPDATE outcomes SET partition = 3"] {
        run(&pool, statement).await;
        run(&pool, "UPDATE outcomes SET next_offset = -1 WHERE partition = 3").await;
        let found = look_up(connection, id(1)).await.expect("records");
        assert_eq!((found.queued, found.outcome), (None, None));
    }
}
