//! `replay`.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use chrono::DateTime;
use futures_util::{StreamExt, stream};
use highwater_log::{RawReader, Replay, ReplayedEvent, Until, replay};
use highwater_protocol::time::Micros;
use highwater_runtime::shutdown::Shutdown;
use uuid::Uuid;

use super::{End, Error, source::Source};
use crate::cloudevent::{self, EventPosition};

/// How often a log without news is asked again, with --follow.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// Print every event of the log, once, as one CloudEvent (JSON) a line.
///
/// Prints every visible event once, as one CloudEvent (1.0, JSON, structured mode) a line, in the
/// sequence of the log within a partition. The extension `hwposition` is the position after the
/// event, as `Highwater-Position` of the HTTP API: given to --from it continues behind this event.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the log cannot be reached")]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// Only this category
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    /// Only events of this type, as `note.written`
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events of the aggregate with this id
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// Only this partition of each category
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u32>,
    /// Only events of this time or later (their `time`), as 2026-11-22T21:34:24Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Micros>,
    /// Begin a partition here instead of at its beginning, as `note/3@1042`; may be repeated, once
    /// a partition
    #[arg(long, value_name = "CATEGORY/PARTITION@OFFSET", value_parser = EventPosition::parse)]
    from: Vec<EventPosition>,
    /// End a partition here instead of at the end of the log, as `note/3@1042`; may be repeated,
    /// once a partition
    #[arg(
        long,
        value_name = "CATEGORY/PARTITION@OFFSET",
        value_parser = EventPosition::parse,
        conflicts_with = "follow"
    )]
    until: Vec<EventPosition>,
    /// Go on at the end of the log and print what comes, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

/// One partition and what its events need to be printed.
struct Part {
    source: cloudevent::Source,
    partition: u32,
    /// Events whose record lies here or above are not shown.
    until: Option<u64>,
    replay: Replay,
}

pub(super) async fn run(args: Args) -> Result<End, Error> {
    let log = args.source.open().await?.log;
    let parts = args.parts(&log).await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.follow {
        let shutdown = Shutdown::on_signals()?;
        let streams = parts.into_iter().map(|part| {
            let Part { source, partition, replay, .. } = part;
            Box::pin(replay.into_stream().map(move |event| (source.clone(), partition, event)))
        });
        let mut merged = stream::select_all(streams);
        loop {
            let next = tokio::select! {
                () = shutdown.soft.cancelled() => break,
                next = merged.next() => next,
            };
            let Some((source, partition, event)) = next else { break };
            args.print(&mut out, &source, partition, &event?)?;
            out.flush()?;
        }
    } else {
        for mut part in parts {
            while let Some(event) = part.replay.next().await? {
                if part.until.is_some_and(|until| event.offset >= until) {
                    break;
                }
                args.print(&mut out, &part.source, part.partition, &event)?;
            }
        }
    }
    out.flush()?;
    Ok(End::Done)
}

impl Args {
    async fn parts(&self, log: &Arc<dyn RawReader>) -> Result<Vec<Part>, Error> {
        let (mut from, mut ends) = (places("--from", &self.from)?, places("--until", &self.until)?);
        let until =
            if self.follow { Until::Forever { poll_every: POLL_EVERY } } else { Until::End };
        let mut parts = Vec::new();
        for topic in log.topics().await? {
            let Some(source) = cloudevent::Source::of(&topic.name) else { continue };
            if self.category.as_ref().is_some_and(|wanted| *wanted != source.category) {
                continue;
            }
            for partition in topic
                .each()
                .filter(|partition| self.partition.is_none_or(|wanted| wanted == partition.index))
            {
                let (index, source) = (partition.index, source.clone());
                let place = (source.category.clone(), index);
                let (begin, end) = (from.remove(&place), ends.remove(&place));
                parts.push(Part {
                    source,
                    partition: index,
                    until: end,
                    replay: Replay::new(Arc::clone(log), partition, begin, until),
                });
            }
        }
        for (flag, left) in [("--from", from), ("--until", ends)] {
            if let Some((category, partition)) = left.keys().next() {
                return Err(Error::Usage(format!(
                    "{flag} names {category}/{partition}, which is not among what is replayed"
                )));
            }
        }
        if let Some(partition) = self.partition.filter(|_| parts.is_empty()) {
            return Err(Error::Usage(format!(
                "the log has no partition {partition} among what is replayed"
            )));
        }
        match &self.category {
            Some(category) if parts.is_empty() => {
                Err(Error::Usage(format!("the log has no category {category}")))
            }
            _ => Ok(parts),
        }
    }

    fn print(
        &self,
        out: &mut impl Write,
        source: &cloudevent::Source,
        partition: u32,
        replayed: &ReplayedEvent,
    ) -> Result<(), Error> {
        let event = &replayed.event;
        let wanted = self.since.is_none_or(|since| event.time >= since)
            && self.event_type.as_ref().is_none_or(|wanted| *wanted == event.event.event_type)
            && self.id.is_none_or(|wanted| wanted == event.metadata.aggregate);
        if !wanted {
            return Ok(());
        }
        let after = EventPosition {
            category: source.category.clone(),
            partition,
            offset: replayed.offset + 1,
        };
        let line = cloudevent::structured(event, source, &after);
        let line = line.map_err(|source| Error::Data { position: after.to_string(), source })?;
        Ok(writeln!(out, "{line}")?)
    }
}

/// Each partition at most once.
fn places(flag: &str, given: &[EventPosition]) -> Result<HashMap<(String, u32), u64>, Error> {
    let mut places = HashMap::new();
    for EventPosition { category, partition, offset } in given {
        if places.insert((category.clone(), *partition), *offset).is_some() {
            return Err(Error::Usage(format!("{flag} names {category}/{partition} twice")));
        }
    }
    Ok(places)
}

fn time(text: &str) -> Result<Micros, String> {
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|error| format!("a time is written as 2026-11-22T21:34:24Z: {error}"))?;
    Ok(Micros(time.timestamp_micros()))
}

impl From<replay::Error> for Error {
    fn from(error: replay::Error) -> Self {
        match error {
            replay::Error::Log(error) => Self::Log(error),
            gap @ replay::Error::Gap { .. } => Self::Gap(gap),
        }
    }
}
