//! The audit of the log: reads every partition from its beginning, folds it by rules of its own and compares what it finds with
//! what the log promises. Shares with the services the raw reader and the golden vectors, and no decoder, fold or check: a mistake
//! there must show here. Never writes, and keeps no record longer than it looks at it.
//!
//! | module | what it owns |
//! |---|---|
//! | [`record`] | one record's headers and key, read as docs/log-format.md says |
//! | [`fold`] | the verdict on every record |
//! | [`placement`] | which partition a key belongs to |
//! | [`checks`] | what must hold for the events that the fold shows |
//! | [`report`] | counts and differences, as a table and as JSON |

pub mod checks;
pub mod fold;
pub mod placement;
pub mod record;
pub mod report;

use std::collections::HashSet;

use eventlog::{
    Partition,
    raw::{RawReader, RawTopic},
};

use self::{
    checks::Checks,
    report::{Fault, Report},
};

/// Records in one read.
const READ_RECORDS: usize = 2_000;

/// What a topic of events is called, after its prefix and category.
const EVENTS: &str = ".events";

/// Audits every topic of events up to the ends that its partitions have now.
pub async fn run(log: &dyn RawReader) -> Result<Report, eventlog::Error> {
    let mut report = Report::default();
    let topics = log.topics().await?;
    for topic in topics.iter().filter(|topic| topic.name.ends_with(EVENTS)) {
        audit_topic(log, topic, &mut report).await?;
    }
    Ok(report)
}

async fn audit_topic(log: &dyn RawReader, topic: &RawTopic, report: &mut Report) -> Result<(), eventlog::Error> {
    // A command id contains its aggregate's id, so it may be in one partition only: the set spans them all.
    let mut commands = HashSet::new();
    for partition in topic.each() {
        let end = log.end(&partition).await?;
        let mut checks = Checks::new(&partition, topic.partitions, &mut commands);
        audit_partition(log, &partition, end, &mut checks, report).await?;
        report.partition(checks.finish(end));
    }
    Ok(())
}

async fn audit_partition(
    log: &dyn RawReader,
    partition: &Partition,
    end: u64,
    checks: &mut Checks<'_>,
    report: &mut Report,
) -> Result<(), eventlog::Error> {
    let mut next = 0;
    while next < end {
        let records = log.fetch(partition, next, READ_RECORDS).await?;
        if records.is_empty() {
            report.difference(partition, next, Fault::Shorter { end });
            return Ok(());
        }
        for stored in records.into_iter().take_while(|stored| stored.offset < end) {
            if stored.offset != next {
                report.difference(partition, next, Fault::Gap { found: stored.offset });
                return Ok(());
            }
            next += 1;
            for fault in checks.look(&stored) {
                report.difference(partition, stored.offset, fault);
            }
        }
    }
    Ok(())
}
