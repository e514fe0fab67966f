//! What must hold for the command queue: every command below the offset up to which its owners
//! say they have come (`hw-drained`) has its outcome. What the log has forgotten is not judged.
//! Never says what the outcome must be.

use std::collections::HashSet;

use highwater_log::{Partition, raw::RawReader};
use uuid::Uuid;

use super::{
    COMMANDS, EVENTS, Error, READ_RECORDS,
    fault::Fault,
    placement::partition_for,
    record::{
        Id,
        command::{Command, CommandRecord},
    },
    report::Report,
};

/// The command queue whose outcomes are in `events`.
pub(super) fn topic(events: &str) -> Option<String> {
    events.strip_suffix(EVENTS).map(|name| format!("{name}{COMMANDS}"))
}

pub(super) fn of(events: &Partition) -> Option<Partition> {
    Some(Partition { topic: topic(&events.topic)?.into(), index: events.index })
}

/// `decided`: the ids of all commands that have an outcome.
pub(super) async fn audit(
    log: &dyn RawReader,
    queue: &Partition,
    partitions: u32,
    drained: u64,
    decided: &HashSet<Id>,
    report: &mut Report,
) -> Result<(), Error> {
    let (begin, end) = (log.begin(queue).await?, log.end(queue).await?);
    if drained > end {
        report.difference(queue, end, Fault::DrainedBeyond { drained });
    }
    let mut next = begin;
    while next < drained.min(end) {
        let records = log.fetch(queue, next, READ_RECORDS).await?;
        let Some(last) = records.last().map(|last| last.offset) else { break };
        for stored in records.iter().filter(|stored| stored.offset < drained) {
            // An outcome can name only what can be read, and where it belongs.
            let CommandRecord::Command(Command { command, aggregate, .. }) =
                CommandRecord::of(&stored.record)
            else {
                continue;
            };
            let here =
                partition_for(Uuid::from_bytes(aggregate).to_string().as_bytes(), partitions)
                    == queue.index;
            if here && !decided.contains(&command) {
                report.difference(
                    queue,
                    stored.offset,
                    Fault::NoOutcome { id: Uuid::from_bytes(command), drained },
                );
            }
        }
        next = last + 1;
    }
    Ok(())
}
