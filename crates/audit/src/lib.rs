//! The audit: reads every partition of the log from its beginning, folds it by rules of its own and
//! compares what it finds with what the log promises, and every row of every table with what the
//! log makes of it. Shares with the services the raw reader, the golden vectors and the stored form
//! of filters, and no decoder, fold or check: a mistake there must show here. Never writes.
//!
//! | module | what it owns |
//! |---|---|
//! | [`record`] | one record's headers and key, read as docs/log-format.md says |
//! | [`fold`] | the verdict on every record |
//! | [`placement`] | which partition a key belongs to |
//! | [`checks`] | what must hold for the events that the fold shows |
//! | `command_queue` | that what the command queues have accepted was decided |
//! | [`projected`] | what must hold for the tables |
//! | [`fault`] | what must not be there |
//! | [`report`] | counts and differences, as text and as JSON |

pub mod checks;
mod command_queue;
pub mod fault;
pub mod fold;
pub mod placement;
pub mod projected;
pub mod record;
pub mod report;

use std::collections::{BTreeSet, HashSet};

use highwater_log::{
    LogSettings, Partition, check_values,
    raw::{RawReader, RawTopic},
};

use highwater_protocol::record::StoredRecord;

use self::{
    checks::Checks,
    fault::Fault,
    fold::{Position, Verdict},
    projected::Projected,
    report::Report,
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error("the database cannot be read")]
    Database(#[from] sqlx::Error),
}

/// Records in one read.
const READ_RECORDS: usize = 2_000;

/// What a topic of events is called, after its prefix and category.
const EVENTS: &str = ".events";
const COMMANDS: &str = ".commands";

/// Audits every topic of events up to the ends that its partitions have now.
pub async fn run(log: &dyn RawReader) -> Result<Report, Error> {
    audit(log, None).await
}

/// The same, and the tables that `database` has.
pub async fn run_with_tables(
    log: &dyn RawReader,
    database: Projected<'_>,
) -> Result<Report, Error> {
    audit(log, Some(database)).await
}

async fn audit(log: &dyn RawReader, mut database: Option<Projected<'_>>) -> Result<Report, Error> {
    let mut report = Report::default();
    let all = log.topics().await?;
    let topics: Vec<RawTopic> =
        all.iter().filter(|topic| topic.name.ends_with(EVENTS)).cloned().collect();
    let prefix = prefix_of_tables(&topics);
    if let Some(database) = &database {
        database.announce(&mut report);
    }
    if let Some(database) = &mut database {
        let named = named_database(log, &all, &prefix).await?;
        database.look_at_identity(named.as_deref(), &mut report).await?;
    }
    for topic in &topics {
        let projected = database.as_mut().filter(|_| name_of(&topic.name).0 == prefix);
        let has_queue = all
            .iter()
            .any(|other| Some(other.name.as_str()) == command_queue::topic(&topic.name).as_deref());
        audit_topic(log, topic, has_queue, projected, &mut report).await?;
    }
    if let Some(mut database) = database {
        audit_command_queues(log, &all, &prefix, &mut database, &mut report).await?;
        database.finish(&mut report).await?;
    }
    Ok(report)
}

/// The command queues, of which only the tables can be compared.
async fn audit_command_queues(
    log: &dyn RawReader,
    topics: &[RawTopic],
    prefix: &str,
    database: &mut Projected<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    for topic in topics {
        let category = topic
            .name
            .strip_suffix(COMMANDS)
            .and_then(|name| name.strip_prefix(prefix)?.strip_prefix('.'));
        let Some(category) = category else { continue };
        for partition in topic.each() {
            database.compare_queue(log, &partition, category, report).await?;
        }
    }
    Ok(())
}

/// The database that the owners load from, as the log says: what came first counts.
async fn named_database(
    log: &dyn RawReader,
    topics: &[RawTopic],
    prefix: &str,
) -> Result<Option<String>, Error> {
    let partition = check_values::partition(prefix);
    if !topics.iter().any(|topic| *topic.name == *partition.topic) {
        return Ok(None);
    }
    let (mut at, end) = (0, log.end(&partition).await?);
    while at < end {
        let records = log.fetch(&partition, at, READ_RECORDS).await?;
        let Some(last) = records.last() else { break };
        at = last.offset + 1;
        let named = records.into_iter().find_map(|stored| {
            let key = stored.record.key.filter(|key| **key == *check_values::DATABASE.as_bytes());
            key.and(stored.record.value)
        });
        if let Some(named) = named {
            return Ok(Some(String::from_utf8_lossy(&named).into_owned()));
        }
    }
    Ok(None)
}

/// Prefix and category.
fn name_of(topic: &str) -> (&str, &str) {
    let name = topic.strip_suffix(EVENTS).unwrap_or(topic);
    name.rsplit_once('.').unwrap_or(("", name))
}

/// A Kafka may hold topics of several deployments. The tables follow those with the default prefix,
/// or with the only one that is there.
pub fn prefix_of_tables(topics: &[RawTopic]) -> String {
    let prefixes: BTreeSet<&str> = topics.iter().map(|topic| name_of(&topic.name).0).collect();
    let default = LogSettings::default().prefix;
    match prefixes.first() {
        Some(only) if prefixes.len() == 1 => (*only).to_owned(),
        _ => default,
    }
}

async fn audit_topic(
    log: &dyn RawReader,
    topic: &RawTopic,
    has_queue: bool,
    mut database: Option<&mut Projected<'_>>,
    report: &mut Report,
) -> Result<(), Error> {
    // A command id contains its aggregate's id, so it may be in one partition only: the set spans
    // them all.
    let mut commands = HashSet::new();
    for partition in topic.each() {
        let mut checks = Checks::new(&partition, topic.partitions, &mut commands);
        let end = match database.as_deref_mut() {
            Some(database) => {
                audit_with_tables(log, &partition, topic.partitions, &mut checks, database, report)
                    .await?
            }
            None => {
                let mut pass = Pass::begin(log, &partition).await?;
                while pass.batch(&mut checks, report, |_, _, _, _| {}).await? {}
                pass.end
            }
        };
        let drained = checks.position().drained;
        report.partition(checks.finish(end));
        if let Some(queue) = command_queue::of(&partition).filter(|_| has_queue) {
            command_queue::audit(log, &queue, topic.partitions, drained, &commands, report).await?;
        }
    }
    Ok(())
}

/// The tables of a partition that cannot be read to its end are not compared.
async fn audit_with_tables(
    log: &dyn RawReader,
    partition: &Partition,
    partitions: u32,
    checks: &mut Checks<'_>,
    database: &mut Projected<'_>,
    report: &mut Report,
) -> Result<u64, Error> {
    let (_, category) = name_of(&partition.topic);
    let mut rows = projected::partition::Partition::begin(
        database,
        category,
        partitions,
        partition.index,
        report,
    )
    .await?;
    let mut pass = Pass::begin(log, partition).await?;
    while pass
        .batch(checks, report, |position, stored, verdict, report| {
            rows.record(database, position, stored, verdict, report)
        })
        .await?
    {
        rows.batch(database, pass.next, report).await?;
    }
    if pass.next == pass.end {
        rows.finish(database, checks.position(), pass.end, report).await?;
    }
    Ok(pass.end)
}

/// One partition from its beginning to the end that it has at first.
struct Pass<'a> {
    log: &'a dyn RawReader,
    partition: &'a Partition,
    next: u64,
    end: u64,
}

impl<'a> Pass<'a> {
    async fn begin(log: &'a dyn RawReader, partition: &'a Partition) -> Result<Self, Error> {
        Ok(Self { log, partition, next: 0, end: log.end(partition).await? })
    }

    /// Looks at the next records; `false`: there are no more. `seen` gets each with the position
    /// before it and the verdict.
    async fn batch(
        &mut self,
        checks: &mut Checks<'_>,
        report: &mut Report,
        mut seen: impl FnMut(&Position, &StoredRecord, &Verdict, &mut Report),
    ) -> Result<bool, Error> {
        if self.next >= self.end {
            return Ok(false);
        }
        let records = self.log.fetch(self.partition, self.next, READ_RECORDS).await?;
        if records.is_empty() {
            report.difference(self.partition, self.next, Fault::Shorter { end: self.end });
            return Ok(false);
        }
        for stored in records.into_iter().take_while(|stored| stored.offset < self.end) {
            if stored.offset != self.next {
                report.difference(self.partition, self.next, Fault::Gap { found: stored.offset });
                return Ok(false);
            }
            self.next += 1;
            let before = checks.position().clone();
            let (verdict, faults) = checks.look(&stored);
            faults
                .into_iter()
                .for_each(|fault| report.difference(self.partition, stored.offset, fault));
            seen(&before, &stored, &verdict, report);
        }
        Ok(true)
    }
}
