//! Each fault that the audit claims to find, planted in a log that is clean without it.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::BoxFuture;
use highwater_audit::{
    self as audit, fault::Fault, placement::partition_for, record::Unreadable, report::Report,
};
use highwater_log::{
    Partition,
    raw::{RawReader, RawTopic},
};
use highwater_protocol::record::{Header, Record, StoredRecord};
use uuid::Uuid;

const TOPIC: &str = "test.note.events";
const COMMANDS: &str = "test.note.commands";
const PARTITIONS: u32 = 2;
const ALICE: Uuid = Uuid::from_u128(0xa);
const WRITER: Uuid = Uuid::from_u128(0x11);
const SUCCESSOR: Uuid = Uuid::from_u128(0x22);

/// A log in memory: events by partition, and the command queue of ALICE's partition.
#[derive(Default)]
struct Memory(BTreeMap<u32, Vec<StoredRecord>>, Vec<StoredRecord>);

impl Memory {
    fn records(&self, of: &Partition) -> &[StoredRecord] {
        match &*of.topic {
            TOPIC => self.0.get(&of.index).map(Vec::as_slice).unwrap_or_default(),
            COMMANDS if of.index == home() => &self.1,
            COMMANDS => &[],
            other => unreachable!("{other} is not audited"),
        }
    }
}

impl RawReader for Memory {
    fn topics(&self) -> BoxFuture<'_, Result<Vec<RawTopic>, highwater_log::Error>> {
        let topics = [TOPIC, COMMANDS]
            .map(|name| RawTopic { name: name.to_owned(), partitions: PARTITIONS });
        Box::pin(async move { Ok(topics.to_vec()) })
    }

    fn end(&self, of: &Partition) -> BoxFuture<'_, Result<u64, highwater_log::Error>> {
        let end = self.records(of).last().map_or(0, |last| last.offset + 1);
        Box::pin(async move { Ok(end) })
    }

    fn fetch(
        &self,
        of: &Partition,
        offset: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredRecord>, highwater_log::Error>> {
        let found = self
            .records(of)
            .iter()
            .filter(|stored| stored.offset >= offset)
            .take(limit)
            .cloned()
            .collect();
        Box::pin(async move { Ok(found) })
    }
}

/// Records of the partition that ALICE's belong to.
#[derive(Default)]
struct Script(Vec<Record>);

impl Script {
    fn fence(self, epoch: u64, writer: Uuid) -> Self {
        self.with(None, headers("fence", epoch, writer))
    }

    fn event(self, seq: u64, version: u64, command: u128) -> Self {
        self.part(seq, version, command, None)
    }

    fn part(self, seq: u64, version: u64, command: u128, commit: Option<&str>) -> Self {
        let mut headers = about("event", seq, version, command);
        headers.extend(commit.map(|commit| Header::new("hw-commit", commit)));
        let cloud = [
            ("content-type", "application/json"),
            ("ce_specversion", "1.0"),
            ("ce_id", "019aad5c-0000-7000-8000-000100000000"),
            ("ce_source", "/test/note"),
            ("ce_type", "note.written"),
            ("ce_dataschema", "urn:highwater:schema:note.written.v1"),
        ];
        headers.extend(cloud.map(|(name, value)| Header::new(name, value)));
        headers.push(Header::new("ce_subject", ALICE.to_string()));
        headers.push(Header::new("ce_time", format!("2026-11-22T21:34:{seq:02}.000000Z")));
        self.with(Some(ALICE), headers)
    }

    fn outcome(self, kind: &'static str, seq: u64, version: u64, command: u128) -> Self {
        self.with(Some(ALICE), about(kind, seq, version, command))
    }

    fn barrier(self, seq: u64) -> Self {
        let mut headers = headers("barrier", 1, WRITER);
        headers.push(Header::new("hw-seq", seq.to_string()));
        self.with(None, headers)
    }

    fn with(mut self, key: Option<Uuid>, headers: Vec<Header>) -> Self {
        let key = key.map(|key| key.to_string().into_bytes());
        self.0.push(Record { value: key.as_ref().map(|_| b"{}".to_vec()), key, headers });
        self
    }

    /// Changes the record written last.
    fn but(mut self, change: impl FnOnce(&mut Record)) -> Self {
        if let Some(record) = self.0.last_mut() {
            change(record);
        }
        self
    }

    fn log(self) -> Memory {
        let stored = self.0.into_iter().zip(0..).map(|(record, offset)| StoredRecord {
            offset,
            appended_at_ms: 0,
            record,
        });
        Memory(BTreeMap::from([(home(), stored.collect())]), Vec::new())
    }

    async fn audit(self) -> Report {
        audited(&self.log()).await
    }
}

fn home() -> u32 {
    partition_for(ALICE.to_string().as_bytes(), PARTITIONS)
}

fn headers(kind: &'static str, epoch: u64, writer: Uuid) -> Vec<Header> {
    vec![
        Header::new("hw-kind", kind),
        Header::new("hw-epoch", epoch.to_string()),
        Header::new("hw-writer", writer.as_bytes().to_vec()),
    ]
}

fn about(kind: &'static str, seq: u64, version: u64, command: u128) -> Vec<Header> {
    let mut headers = headers(kind, 1, WRITER);
    let command = Uuid::from_u128(command).as_bytes().to_vec();
    headers.push(Header::new("hw-seq", seq.to_string()));
    headers.push(Header::new("hw-version", version.to_string()));
    headers.push(Header::new("hw-command", command));
    headers.push(Header::new("hw-fingerprint", vec![0; 34]));
    headers.extend(
        ["hw-actor", "hw-correlation", "hw-causation"].map(|name| Header::new(name, vec![0; 16])),
    );
    headers
}

fn set(record: &mut Record, name: &str, value: &str) {
    record
        .headers
        .iter_mut()
        .filter(|header| header.name == name)
        .for_each(|header| header.value = value.into());
}

async fn audited(log: &Memory) -> Report {
    audit::run(log).await.unwrap_or_else(|error| unreachable!("the log is in memory: {error}"))
}

fn started() -> Script {
    Script::default().fence(1, WRITER)
}

#[track_caller]
fn one_fault(report: &Report, offset: u64, fault: Fault) {
    let found: Vec<_> = report
        .differences
        .iter()
        .map(|difference| (difference.at.clone(), difference.fault.clone()))
        .collect();
    assert_eq!(found, [(format!("{TOPIC}/{}@{offset}", home()), fault)]);
    assert!(!report.is_clean());
}

#[tokio::test]
async fn a_log_as_it_should_be_is_clean_and_counted() {
    let log = started()
        .event(0, 1, 1)
        .part(1, 2, 2, Some("1/2"))
        .part(2, 3, 2, Some("2/2"))
        .outcome("rejected", 3, 3, 3)
        .outcome("unchanged", 4, 3, 4)
        .barrier(5)
        .fence(2, SUCCESSOR)
        .fence(2, SUCCESSOR)
        .event(6, 4, 5);
    let report = log.audit().await;
    assert!(report.is_clean(), "{report}");
    let total = report.total;
    assert_eq!((total.records, total.events, total.commits, total.commands), (10, 3, 2, 4));
    assert_eq!(
        (total.rejected, total.unchanged, total.barriers, total.fences, total.aggregates),
        (1, 1, 1, 2, 1)
    );
    assert_eq!((total.void_strangers, total.void_stale_fences, total.voids()), (1, 1, 2));
    assert_eq!(report.partitions.iter().map(|partition| partition.end).sum::<u64>(), 10);
}

#[tokio::test]
async fn a_gap_in_versions() {
    let report = started().event(0, 1, 1).event(1, 3, 2).event(2, 4, 3).audit().await;
    one_fault(&report, 2, Fault::Versions { aggregate: ALICE, after: 1, found: 3 });
}

#[tokio::test]
async fn a_version_twice() {
    let report = started().event(0, 1, 1).event(1, 1, 2).audit().await;
    one_fault(&report, 2, Fault::Versions { aggregate: ALICE, after: 1, found: 1 });
}

#[tokio::test]
async fn a_command_twice() {
    let report = started().event(0, 1, 1).event(1, 2, 1).audit().await;
    one_fault(&report, 2, Fault::CommandAgain { id: Uuid::from_u128(1) });
}

#[tokio::test]
async fn a_command_that_succeeded_and_was_rejected() {
    let report = started().event(0, 1, 1).outcome("rejected", 1, 1, 1).audit().await;
    one_fault(&report, 2, Fault::CommandAgain { id: Uuid::from_u128(1) });
}

#[tokio::test]
async fn a_command_in_two_partitions() {
    let mut log = started().event(0, 1, 1).log();
    let bob = (0..)
        .map(Uuid::from_u128)
        .find(|id| partition_for(id.to_string().as_bytes(), PARTITIONS) != home());
    let bob = bob.unwrap_or_default().to_string();
    let mut other = started().event(0, 1, 1).but(|record| {
        record.key = Some(bob.clone().into_bytes());
        set(record, "ce_subject", &bob);
    });
    let stored = other.0.drain(..).zip(0..).map(|(record, offset)| StoredRecord {
        offset,
        appended_at_ms: 0,
        record,
    });
    log.0.insert(1 - home(), stored.collect());
    let report = audited(&log).await;
    assert_eq!(report.differences.len(), 1);
    assert_eq!(report.differences[0].fault, Fault::CommandAgain { id: Uuid::from_u128(1) });
}

#[tokio::test]
async fn a_commit_torn_by_its_own_writer() {
    let report = started().part(0, 1, 1, Some("1/2")).barrier(1).audit().await;
    one_fault(&report, 2, Fault::TornCommit { first: 1 });
    assert_eq!(report.total.events, 0);
}

#[tokio::test]
async fn a_part_of_a_commit_that_nothing_opened() {
    let report = started().part(0, 2, 1, Some("2/2")).audit().await;
    one_fault(&report, 1, Fault::Ineffective);
}

#[tokio::test]
async fn a_commit_that_the_next_writers_fence_drops_is_no_fault_and_counted() {
    let report = started().part(0, 1, 1, Some("1/2")).fence(2, SUCCESSOR).audit().await;
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.total.unfinished_commits, report.total.events), (1, 0));
}

#[tokio::test]
async fn a_repeated_header() {
    let report = started()
        .event(0, 1, 1)
        .but(|record| record.headers.push(Header::new("hw-seq", "0")))
        .audit()
        .await;
    one_fault(&report, 1, Fault::Unreadable(Unreadable::Repeated("hw-seq")));
    assert_eq!((report.total.void_unreadable, report.total.events), (1, 0));
}

#[tokio::test]
async fn a_time_that_runs_backwards() {
    let report = started()
        .event(0, 1, 1)
        .event(1, 2, 2)
        .but(|record| set(record, "ce_time", "2026-11-22T21:33:59.999999Z"))
        .audit()
        .await;
    let (last, time) =
        ("2026-11-22T21:34:00.000000Z".to_owned(), "2026-11-22T21:33:59.999999Z".to_owned());
    one_fault(&report, 2, Fault::TimeBackwards { last, time });
}

#[tokio::test]
async fn an_outcome_decided_at_a_version_that_the_aggregate_does_not_have() {
    let report = started().event(0, 1, 1).outcome("rejected", 1, 2, 2).audit().await;
    one_fault(&report, 2, Fault::DecidedAt { aggregate: ALICE, at: 1, says: 2 });
}

#[tokio::test]
async fn a_record_on_the_partition_of_another_key() {
    let mut log = started().event(0, 1, 1).log();
    let records = log.0.remove(&home()).unwrap_or_default();
    log.0.insert(1 - home(), records);
    let report = audited(&log).await;
    assert_eq!(report.differences.len(), 1);
    assert_eq!(report.differences[0].fault, Fault::OtherPartition { belongs: home() });
}

#[tokio::test]
async fn an_event_of_another_source() {
    let report = started()
        .event(0, 1, 1)
        .but(|record| set(record, "ce_source", "/test/other"))
        .audit()
        .await;
    one_fault(
        &report,
        1,
        Fault::OtherSource { found: "/test/other".to_owned(), expected: "/test/note".to_owned() },
    );
}

#[tokio::test]
async fn a_hole_in_the_offsets() {
    let mut log = started().event(0, 1, 1).event(1, 2, 2).log();
    log.0.values_mut().for_each(|records| drop(records.remove(1)));
    one_fault(&audited(&log).await, 1, Fault::Gap { found: 2 });
}

/// Of ALICE's, as docs/log-format.md says.
fn queue(commands: &[u128]) -> Vec<StoredRecord> {
    let record = |id: u128| {
        let id = Uuid::from_u128(id).as_bytes().to_vec();
        let mut headers = vec![Header::new("hw-kind", "command"), Header::new("hw-command", id)];
        let text = [
            ("hw-schema", "note.write.v1"),
            ("hw-key", "caller"),
            ("hw-deadline", "2026-11-22T22:34:00.000000Z"),
        ];
        headers.extend(text.map(|(name, value)| Header::new(name, value)));
        headers.push(Header::new("hw-fingerprint", vec![0; 34]));
        headers.extend(["hw-actor", "hw-correlation"].map(|name| Header::new(name, vec![0; 16])));
        Record { key: Some(ALICE.to_string().into_bytes()), value: Some(b"{}".to_vec()), headers }
    };
    let stored = commands.iter().zip(0..).map(|(id, offset)| StoredRecord {
        offset,
        appended_at_ms: 0,
        record: record(*id),
    });
    stored.collect()
}

#[tokio::test]
async fn a_queued_command_that_was_passed_without_an_outcome() {
    let decided = |drained: &'static str| {
        started()
            .event(0, 1, 1)
            .outcome("rejected", 1, 1, 3)
            .but(|record| record.headers.push(Header::new("hw-drained", drained)))
            .log()
    };
    // The second is still to be decided, and the third was decided before it.
    for drained in ["0", "1"] {
        let report = audited(&Memory(decided(drained).0, queue(&[1, 2, 3]))).await;
        assert!(report.is_clean(), "{report}");
    }
    let report = audited(&Memory(decided("3").0, queue(&[1, 2, 3]))).await;
    let found: Vec<_> = report
        .differences
        .iter()
        .map(|difference| (difference.at.clone(), difference.fault.clone()))
        .collect();
    assert_eq!(
        found,
        [(
            format!("{COMMANDS}/{}@1", home()),
            Fault::NoOutcome { id: Uuid::from_u128(2), drained: 3 }
        )]
    );
    // Whom it is from cannot be read, or it lies where it does not belong: there is nothing an
    // outcome could name.
    let mut nameless = queue(&[1, 2, 3]);
    nameless[1].record.headers.retain(|header| header.name != "hw-command");
    assert!(audited(&Memory(decided("3").0, nameless.clone())).await.is_clean());
    nameless[1].record = queue(&[2])[0].record.clone();
    nameless[1].record.key = (0..)
        .map(|id| Uuid::from_u128(id).to_string().into_bytes())
        .find(|key| partition_for(key, PARTITIONS) != home());
    assert!(audited(&Memory(decided("3").0, nameless)).await.is_clean());
}

#[tokio::test]
async fn a_command_queue_that_ends_before_what_was_decided() {
    let log = started()
        .event(0, 1, 1)
        .but(|record| record.headers.push(Header::new("hw-drained", "2")))
        .log();
    let report = audited(&Memory(log.0, queue(&[1]))).await;
    let found: Vec<_> = report
        .differences
        .iter()
        .map(|difference| (difference.at.clone(), difference.fault.clone()))
        .collect();
    assert_eq!(found, [(format!("{COMMANDS}/{}@1", home()), Fault::DrainedBeyond { drained: 2 })]);
}

#[tokio::test]
async fn the_table_names_counts_and_places() {
    let text = started().event(0, 1, 1).event(1, 3, 2).audit().await.to_string();
    let total = text.lines().find(|line| line.starts_with("total")).unwrap_or_default();
    assert_eq!(
        total.split_whitespace().collect::<Vec<_>>(),
        ["total", "3", "2", "2", "2", "0", "0", "0", "1", "0"]
    );
    assert!(
        text.contains(&format!(
            "DIFFERENCE {TOPIC}/{}@2: aggregate {ALICE}: version 3 follows version 1",
            home()
        )),
        "{text}"
    );
    let topic: Arc<str> = TOPIC.into();
    assert!(text.contains(&*topic));
}
