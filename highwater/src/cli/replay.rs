//! `highwater replay`.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use eventlog::{RawReader, Replay, Replayed, Until, replay};
use futures_util::{StreamExt, stream};
use uuid::Uuid;

use super::{End, Error, source::Source};
use crate::cloudevent::{self, Place};

/// How often a log without news is asked again, with --follow.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// Print every event of the log, once, as one CloudEvent (JSON) a line.
///
/// Prints every visible event once, as one CloudEvent (1.0, JSON, structured mode) a line, in the sequence of the log within a
/// partition. The extension `hwposition` is the position after the event, as `Highwater-Position` of the HTTP API: given to --from
/// it continues behind this event.
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
    /// Begin a partition here instead of at its beginning, as `note/3@1042`; may be repeated, once a partition
    #[arg(long, value_name = "CATEGORY/PARTITION@OFFSET", value_parser = Place::parse)]
    from: Vec<Place>,
    /// Go on at the end of the log and print what comes
    #[arg(long)]
    follow: bool,
}

/// One partition and what its events need to be printed.
struct Part {
    source: cloudevent::Source,
    partition: u32,
    replay: Replay,
}

pub(super) async fn run(args: Args) -> Result<End, Error> {
    let log = args.source.open().await?;
    let parts = args.parts(&log).await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.follow {
        let streams = parts.into_iter().map(|part| {
            let Part { source, partition, replay } = part;
            Box::pin(replay.into_stream().map(move |event| (source.clone(), partition, event)))
        });
        let mut merged = stream::select_all(streams);
        while let Some((source, partition, event)) = merged.next().await {
            args.print(&mut out, &source, partition, &event?)?;
            out.flush()?;
        }
    } else {
        for mut part in parts {
            while let Some(event) = part.replay.next().await? {
                args.print(&mut out, &part.source, part.partition, &event)?;
            }
        }
    }
    out.flush()?;
    Ok(End::Done)
}

impl Args {
    async fn parts(&self, log: &Arc<dyn RawReader>) -> Result<Vec<Part>, Error> {
        let mut from = self.begins()?;
        let until = if self.follow { Until::Forever { poll_every: POLL_EVERY } } else { Until::End };
        let mut parts = Vec::new();
        for topic in log.topics().await? {
            let Some(source) = cloudevent::Source::of(&topic.name) else { continue };
            if self.category.as_ref().is_some_and(|wanted| *wanted != source.category) {
                continue;
            }
            for partition in topic.each() {
                let (index, source) = (partition.index, source.clone());
                let begin = from.remove(&(source.category.clone(), index));
                parts.push(Part { source, partition: index, replay: Replay::new(Arc::clone(log), partition, begin, until) });
            }
        }
        if let Some((category, partition)) = from.keys().next() {
            return Err(Error::Usage(format!("--from names {category}/{partition}, which is not among what is replayed")));
        }
        match &self.category {
            Some(category) if parts.is_empty() => Err(Error::Usage(format!("the log has no category {category}"))),
            _ => Ok(parts),
        }
    }

    fn begins(&self) -> Result<HashMap<(String, u32), u64>, Error> {
        let mut from = HashMap::new();
        for Place { category, partition, offset } in &self.from {
            if from.insert((category.clone(), *partition), *offset).is_some() {
                return Err(Error::Usage(format!("--from names {category}/{partition} twice")));
            }
        }
        Ok(from)
    }

    fn print(&self, out: &mut impl Write, source: &cloudevent::Source, partition: u32, replayed: &Replayed) -> Result<(), Error> {
        let event = &replayed.event;
        let wanted = self.event_type.as_ref().is_none_or(|wanted| *wanted == event.event.event_type)
            && self.id.is_none_or(|wanted| wanted == event.origin.aggregate);
        if !wanted {
            return Ok(());
        }
        let after = Place { category: source.category.clone(), partition, offset: replayed.offset + 1 };
        let line = cloudevent::structured(event, source, &after);
        let line = line.map_err(|source| Error::Data { position: after.to_string(), source })?;
        Ok(writeln!(out, "{line}")?)
    }
}

impl From<replay::Error> for Error {
    fn from(error: replay::Error) -> Self {
        match error {
            replay::Error::Log(error) => Self::Log(error),
            gap @ replay::Error::Gap { .. } => Self::Gap(gap),
        }
    }
}
