//! The projections that every store has, by themselves on Postgres: what each statement keeps, and
//! what it leaves to others.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

#[path = "../../tables/tests/support/postgres.rs"]
mod postgres;

use std::collections::BTreeSet;

use highwater_projection::{
    builtin::{aggregates::Aggregates, operations::Operations, snapshots::Snapshots},
    runner::{
        Failure, Item, PostgresStore, PostgresTx, Projection, Slice, Start, Store, TopicPartition,
        What,
    },
};
use highwater_protocol::{
    command_queue::AcceptedCommand,
    domain::Unreadable,
    entry::{CommandMetadata, EventBody, Part},
    fold::Commit,
    position::Position,
    time::Micros,
    wire::{Fingerprint, Meta, RecordedEvent, Wire},
    writer::Expected,
};
use highwater_tables::dedup_filter::Segment;
use highwater_tables::migrations::migrate;
use sqlx::{AssertSqlSafe, PgPool, Row};
use uuid::Uuid;

const DAY_MS: i64 = 86_400_000;

/// Its state is how many events it has seen.
struct Counting {
    format: i16,
}

impl Aggregates for Counting {
    fn category(&self) -> &'static str {
        "thing"
    }

    fn format(&self) -> i16 {
        self.format
    }

    fn fold(&self, state: Option<&[u8]>, events: &[&RecordedEvent]) -> Result<Vec<u8>, Unreadable> {
        // Nothing is folded for nothing: a state that stays is not read, whatever its form.
        if events.is_empty() || events.iter().any(|event| &*event.event_type == "bad") {
            return Err(Unreadable::Malformed { what: "bad".to_owned(), why: "so".to_owned() });
        }
        let seen = state.map_or(0, |state| usize::from(state[0])) + events.len();
        Ok(vec![u8::try_from(seen).expect("few")])
    }
}

fn snapshots(format: i16) -> Snapshots {
    Snapshots::of(vec![Box::new(Counting { format })])
}

struct Tables {
    pool: PgPool,
    store: PostgresStore,
}

async fn tables(test: &str) -> Tables {
    let pool = PgPool::connect_with(postgres::database(test).await).await.expect("a connection");
    migrate(&pool, None).await.expect("the tables");
    Tables { store: PostgresStore::new(pool.clone()), pool }
}

impl Tables {
    async fn apply(
        &self,
        projection: &dyn Projection<PostgresTx>,
        topic_partition: &TopicPartition,
        items: &[Item],
    ) -> Result<(), Failure> {
        let mut tx = self.store.begin().await?;
        projection.apply(&mut tx, &[Slice { topic_partition, items }]).await?;
        self.store.commit(tx, None).await
    }

    async fn resume(
        &self,
        projection: &Snapshots,
        topic_partition: &TopicPartition,
    ) -> Result<Start, Failure> {
        let mut tx = self.store.begin().await?;
        let start = projection.resume(&mut tx, topic_partition).await?;
        self.store.commit(tx, None).await?;
        Ok(start)
    }

    /// As text, sorted: `columns FROM table`.
    async fn rows(&self, what: &'static str) -> Vec<String> {
        let (columns, table) = what.rsplit_once(" FROM ").expect("a table");
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT concat_ws(' ', {columns}) FROM {table} ORDER BY 1"
        )));
        rows.fetch_all(&self.pool).await.expect("rows").iter().map(|row| row.get(0)).collect()
    }

    async fn run(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.pool).await.expect("done");
    }
}

fn topic_partition(partition: u32) -> TopicPartition {
    TopicPartition::of_events("thing", partition)
}

fn metadata(aggregate: u128, command: u128) -> CommandMetadata<Wire> {
    CommandMetadata {
        aggregate: Uuid::from_u128(aggregate),
        command: Uuid::from_u128(command),
        fingerprint: Fingerprint { key_number: 1, hmac: [7; 32] },
        meta: Meta::default(),
        source: None,
    }
}

/// One event of a command of its own, at an offset that is the number of the command.
fn event(aggregate: u128, version: u64, command: u64, event_type: &'static str) -> Item {
    let event = RecordedEvent {
        event_type: event_type.into(),
        schema: event_type.into(),
        data: Vec::new(),
    };
    let body = EventBody {
        metadata: metadata(aggregate, u128::from(command)),
        version,
        part: Part::WHOLE,
        time: Micros(0),
        event,
    };
    let commit = Commit { first: command, end: command + 1, last_seq: command, events: vec![body] };
    Item { what: What::Commit(commit), after: Position::start() }
}

fn accepted(command: u128, offset: u64, appended_at_ms: i64) -> Item {
    let command = AcceptedCommand {
        aggregate: Uuid::from_u128(1),
        command: Uuid::from_u128(command),
        name: "thing.make".to_owned(),
        version: 1,
        fingerprint: Fingerprint { key_number: 1, hmac: [7; 32] },
        caller_key: true,
        expected: Expected::Anything,
        actor: Uuid::from_u128(2),
        scopes: Vec::new(),
        deadline: Micros(0),
        correlation: Uuid::nil(),
        traceparent: None,
        body: Vec::new(),
    };
    Item {
        what: What::Accepted { offset, appended_at_ms, command: Ok(Box::new(command)) },
        after: Position::start(),
    }
}

const STATES: &str = "right(aggregate_id::text, 1), partition, version, format, encode(state, \
                      'hex'), unreadable FROM snapshots";

#[tokio::test]
async fn a_state_goes_on_from_the_one_that_is_stored_whether_it_can_be_read_or_not() {
    let (tables, snapshots) = (tables("states").await, snapshots(1));
    let first = [event(1, 1, 1, "good"), event(2, 1, 2, "bad"), event(1, 2, 3, "good")];
    tables.apply(&snapshots, &topic_partition(0), &first).await.expect("applied");
    tables
        .apply(&snapshots, &topic_partition(1), &[event(3, 1, 1_001, "good")])
        .await
        .expect("applied");
    assert_eq!(tables.rows(STATES).await, ["1 0 2 1 02", "2 0 1 1 bad: so", "3 1 1 1 01"]);
    let more = [event(1, 3, 4, "good"), event(2, 2, 5, "good"), event(4, 1, 6, "good")];
    // In the form of this release, which is another one by now.
    tables.apply(&self::snapshots(2), &topic_partition(0), &more).await.expect("applied");
    assert_eq!(
        tables.rows(STATES).await,
        ["1 0 3 2 03", "2 0 2 2 bad: so", "3 1 1 1 01", "4 0 1 2 01"]
    );
    // What is in already changes nothing.
    tables
        .apply(&self::snapshots(2), &topic_partition(0), &[first, more].concat())
        .await
        .expect("applied");
    assert_eq!(
        tables.rows(STATES).await,
        ["1 0 3 2 03", "2 0 2 2 bad: so", "3 1 1 1 01", "4 0 1 2 01"]
    );
}

#[tokio::test]
async fn the_outcome_of_a_command_stays_the_first_one() {
    let (tables, snapshots) = (tables("outcomes").await, snapshots(1));
    tables
        .apply(&snapshots, &topic_partition(0), &[event(1, 1, 7, "good")])
        .await
        .expect("applied");
    let mut again = event(1, 2, 8, "good");
    let What::Commit(commit) = &mut again.what else { return };
    commit.events[0].metadata.command = Uuid::from_u128(7);
    tables.apply(&snapshots, &topic_partition(0), &[again]).await.expect("applied");
    let outcomes = "right(command_id::text, 1), category, partition, verdict, version, \
                    next_offset, events::text FROM outcomes";
    assert_eq!(
        tables.rows(outcomes).await,
        [r#"7 thing 0 accepted 1 8 [{"type": "good", "version": 1}]"#]
    );
}

#[tokio::test]
async fn states_of_an_older_form_are_folded_again_on_their_partition_and_those_of_a_newer_one_are_not()
 {
    let (tables, own) = (tables("forms").await, snapshots(2));
    assert_eq!(
        tables.resume(&own, &topic_partition(0)).await.expect("nothing is there"),
        Start::AtCheckpoint
    );
    for (partition, format, aggregate) in
        [(0, 2, 1_u32), (1, 1, 2), (1, 2, 3), (2, 3, 4), (3, 1, 5), (3, 3, 6)]
    {
        let one = snapshots(format);
        let first = 10_000 * u64::from(partition) + u64::from(aggregate);
        tables
            .apply(
                &one,
                &topic_partition(partition),
                &[event(u128::from(aggregate), 1, first, "good")],
            )
            .await
            .expect("applied");
    }
    assert_eq!(
        tables.resume(&own, &topic_partition(0)).await.expect("its own form"),
        Start::AtCheckpoint
    );
    for newer in [2, 3] {
        let refused = tables.resume(&own, &topic_partition(newer)).await;
        assert!(matches!(refused, Err(Failure::Newer(_))), "{refused:?}");
    }
    assert_eq!(tables.rows("aggregate_id FROM snapshots").await.len(), 6);
    assert_eq!(tables.resume(&own, &topic_partition(1)).await.expect("an older form"), Start::Over);
    for of_table in
        ["partition FROM snapshots", "partition FROM outcomes", "partition FROM seen_filters"]
    {
        let left: BTreeSet<String> = tables.rows(of_table).await.into_iter().collect();
        assert_eq!(left, ["0", "2", "3"].map(str::to_owned).into(), "{of_table}");
    }
    // It is not over again.
    assert_eq!(
        tables.resume(&own, &topic_partition(1)).await.expect("nothing is there"),
        Start::AtCheckpoint
    );
}

const FILTERS: &str = "partition, segment, ids, next_offset FROM seen_filters";

/// The ids of an outcome of before there were filters.
fn ids(number: u32) -> [Uuid; 2] {
    [1 << 20, 2 << 20].map(|kind: u128| Uuid::from_u128(kind + u128::from(number)))
}

async fn outcomes(tables: &Tables, many: u32) {
    let (commands, aggregates): (Vec<Uuid>, Vec<Uuid>) =
        (1..=many).map(ids).map(|[command, aggregate]| (command, aggregate)).unzip();
    let statement = "INSERT INTO outcomes (command_id, category, partition, aggregate_id, \
                     fingerprint_key, fingerprint, verdict, version,
                                           next_offset)
                     SELECT c, 'thing', 0, a, 1, '\\x00', 'accepted', 1, n FROM UNNEST($1::uuid[], \
                     $2::uuid[]) WITH ORDINALITY t(c, a, n)";
    sqlx::query(statement)
        .bind(commands)
        .bind(aggregates)
        .execute(&tables.pool)
        .await
        .expect("outcomes");
}

#[tokio::test]
async fn a_filter_that_did_not_come_to_the_end_goes_on_next_time_and_one_that_did_does_not() {
    let tables = tables("filters").await;
    outcomes(&tables, 19).await;
    let snapshots = snapshots(1).with_filters_of(10);
    let mut filters = Vec::new();
    for version in 1..=4 {
        tables
            .apply(&snapshots, &topic_partition(0), &[event(1, version, 100 + version, "good")])
            .await
            .expect("applied");
        filters.extend(tables.rows(FILTERS).await);
    }
    // 10 of 20, 10 of 11, 2 of 2; and then there is no reason to.
    assert_eq!(filters, ["0 0 20 10", "0 0 40 102", "0 0 42 104", "0 0 42 104"]);
}

#[tokio::test]
async fn a_filter_that_is_full_is_followed_by_another_and_loses_nothing() {
    let tables = tables("segments").await;
    outcomes(&tables, 8_300).await;
    let (mut full, mut next, mut covers) = (Segment::empty(0), Segment::empty(1), 0);
    for number in 1..=8_300 {
        for id in ids(number) {
            if full.is_full() {
                next.add(id);
            } else {
                full.add(id);
                // What a full one says is below the outcome that it has no room for.
                covers = if full.is_full() && id == ids(number)[1] { number } else { number - 1 };
            }
        }
    }
    [9_000, 1].map(Uuid::from_u128).into_iter().for_each(|id| next.add(id));
    assert!(full.is_full() && next.ids() > 2);
    tables
        .apply(&snapshots(1), &topic_partition(0), &[event(1, 1, 9_000, "good")])
        .await
        .expect("applied");
    let full = format!("0 0 {} {covers}", full.ids());
    assert_eq!(tables.rows(FILTERS).await, [full.clone(), format!("0 1 {} 9001", next.ids())]);
    // It goes on with the last one.
    tables
        .apply(&snapshots(1), &topic_partition(0), &[event(2, 1, 9_001, "good")])
        .await
        .expect("applied");
    [9_001, 2].map(Uuid::from_u128).into_iter().for_each(|id| next.add(id));
    assert_eq!(tables.rows(FILTERS).await, [full, format!("0 1 {} 9002", next.ids())]);
}

#[tokio::test]
async fn a_filter_that_is_damaged_is_refused() {
    let tables = tables("damaged").await;
    tables
        .apply(&snapshots(1), &topic_partition(0), &[event(1, 1, 1, "good")])
        .await
        .expect("applied");
    tables.run("UPDATE seen_filters SET bits = '\\x00'").await;
    let refused = tables.apply(&snapshots(1), &topic_partition(0), &[event(1, 2, 2, "good")]).await;
    assert!(
        matches!(&refused, Err(Failure::Deterministic(why)) if why.contains("damaged")),
        "{refused:?}"
    );
}

const ACCEPTED: &str = "right(command_id::text, 1), category, partition, next_offset, \
                        extract(epoch FROM accepted_at)::bigint FROM operations";

#[tokio::test]
async fn what_is_accepted_has_its_row_by_its_first_record_for_seven_days_of_its_partition() {
    let (tables, operations) = (tables("accepted").await, Operations::of(vec!["thing"]));
    let (queue, other) =
        (TopicPartition::of_commands("thing", 0), TopicPartition::of_commands("thing", 1));
    let week = 7 * DAY_MS;
    tables.apply(&operations, &other, &[accepted(9, 0, 0)]).await.expect("applied");
    tables
        .apply(
            &operations,
            &queue,
            &[accepted(1, 0, 1_000), accepted(2, 1, 2_000), accepted(1, 2, 3_000)],
        )
        .await
        .expect("applied");
    // Again, over the row that is there.
    tables.apply(&operations, &queue, &[accepted(2, 3, 4_000)]).await.expect("applied");
    assert_eq!(tables.rows(ACCEPTED).await, ["1 thing 0 1 1", "2 thing 0 2 2", "9 thing 1 1 0"]);
    // To the day: the first one goes, and the second has exactly seven days.
    tables.apply(&operations, &queue, &[accepted(3, 4, week + 2_000)]).await.expect("applied");
    assert_eq!(
        tables.rows(ACCEPTED).await,
        ["2 thing 0 2 2", "3 thing 0 5 604802", "9 thing 1 1 0"]
    );
    // A command whose row could go begins anew.
    tables.apply(&operations, &queue, &[accepted(2, 5, week + 3_000)]).await.expect("applied");
    assert_eq!(
        tables.rows(ACCEPTED).await,
        ["2 thing 0 6 604803", "3 thing 0 5 604802", "9 thing 1 1 0"]
    );
    tables.apply(&operations, &queue, &[]).await.expect("nothing is nothing");
}
