//! How far every projection is behind the end of the log, and who owns each partition. Reads the
//! log's ends, the checkpoints and the announcements; folds nothing and changes nothing.
//!
//! | module | what it owns |
//! |---|---|
//! | [`owners`] | what the `owners` topic says |
//! | [`report`] | lags, totals and owners, as text and as JSON |

pub mod owners;
pub mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use highwater_log::{Partition, RawReader, RawTopic};
use highwater_projection::{Projections, runner};
use highwater_protocol::record::StoredRecord;
use highwater_runtime::clock::Clock;
use highwater_tables::{checkpoints, identity};
use sqlx::PgConnection;
use uuid::Uuid;

use self::{
    owners::OwnersTopic,
    report::{Lag, Owner, Report},
};
use crate::cloudevent::Source;

/// Records in one look-up for the oldest event.
const LOOK_RECORDS: usize = 200;
/// After so many look-ups without an event the oldest record stands for it.
const LOOKS: usize = 50;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error("the database cannot be read")]
    Database(#[from] sqlx::Error),
    #[error("the log has no topics of events")]
    Empty,
    #[error("the log has topics of several deployments: choose one with --prefix; there are: {0}")]
    Prefix(String),
    #[error(
        "the log belongs to another database (the owners topic says {theirs}, this one is {ours}): \
         name the database of the deployment"
    )]
    OtherDatabase { theirs: String, ours: Uuid },
}

/// A projection that must have a checkpoint, or will have one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expected {
    pub projection: &'static str,
    pub category: &'static str,
}

/// A row of `checkpoints`, as far as it is shown.
#[derive(Clone, Debug)]
struct Checkpoint {
    offset: u64,
    epoch: u64,
    writer: Option<Uuid>,
}

/// Generation, projection, category, partition.
type Key = (i32, String, String, u32);

/// The checkpoints on one partition, by generation and projection.
type Here = BTreeMap<(i32, String), Option<Checkpoint>>;

/// The projections of an application, in their live generation.
#[derive(Clone, Debug, Default)]
pub struct Projected {
    expected: BTreeSet<Expected>,
    /// Those that read the commands that wait, not the events.
    of_commands: BTreeSet<&'static str>,
}

impl Projected {
    pub fn of(projections: &Projections) -> Self {
        let all = projections.all();
        let pairs = all.iter().flat_map(|projection| {
            projection.categories().iter().map(|category| (projection.name(), *category))
        });
        let of_commands =
            all.iter().filter(|projection| projection.source() == runner::Source::Commands);
        Self {
            of_commands: of_commands.map(|projection| projection.name()).collect(),
            expected: pairs
                .map(|(projection, category)| Expected { projection, category })
                .collect(),
        }
    }
}

/// Looks once. The checkpoints are read before the ends, so that none can seem to be ahead of the
/// log that is not.
pub async fn read(
    log: &dyn RawReader,
    prefix: &str,
    projected: &Projected,
    database: &mut PgConnection,
    clock: &dyn Clock,
) -> Result<Report, Error> {
    let said = owners::read(log, prefix).await?;
    check_database(&said, database).await?;
    let checkpoints = all_checkpoints(database).await?;
    let mut report = Report::default();
    let topics = log.topics().await?;
    let command_queues: BTreeSet<Arc<str>> = topics
        .iter()
        .filter(|topic| topic.name.ends_with(".commands"))
        .map(|topic| topic.name.as_str().into())
        .collect();
    for topic in topics {
        let Some(source) = Source::of(&topic.name).filter(|source| source.prefix == prefix) else {
            continue;
        };
        for partition in topic.each() {
            let here =
                of_partition(&checkpoints, &projected.expected, &source.category, partition.index);
            // Each counts the offsets of the topic that it reads.
            let (of_queue, of_events): (Here, Here) = here
                .into_iter()
                .partition(|((_, name), _)| projected.of_commands.contains(&**name));
            let queue = Partition {
                topic: format!("{prefix}.{}.commands", source.category).into(),
                index: partition.index,
            };
            let queue_end =
                if command_queues.contains(&queue.topic) { log.end(&queue).await? } else { 0 };
            let end = log.end(&partition).await?;
            let events = Ages::new(log, &partition, end, clock.now(), is_waited_for);
            measure(&mut report, &source.category, &of_events, events).await?;
            measure(
                &mut report,
                &source.category,
                &of_queue,
                Ages::new(log, &queue, queue_end, clock.now(), |_| true),
            )
            .await?;
            report.owner(owner(
                &said,
                &source.category,
                partition.index,
                of_events.values().flatten(),
            ));
        }
    }
    report.finish();
    Ok(report)
}

/// Adds how far each of `here` is behind the topic that `ages` looks at.
async fn measure(
    report: &mut Report,
    category: &str,
    here: &Here,
    mut ages: Ages<'_>,
) -> Result<(), Error> {
    let end = ages.end;
    for ((generation, projection), checkpoint) in here {
        let offset = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.offset);
        report.lag(Lag {
            category: category.to_owned(),
            partition: ages.partition.index,
            projection: projection.clone(),
            generation: *generation,
            end,
            checkpoint: checkpoint.as_ref().map(|checkpoint| checkpoint.offset),
            records: end.saturating_sub(offset),
            ahead: offset.saturating_sub(end),
            oldest_seconds: ages.behind(offset).await?,
        });
    }
    Ok(())
}

/// The prefix whose topics are meant when none is named: the default one, or the only one that is
/// there.
pub async fn prefix(log: &dyn RawReader) -> Result<String, Error> {
    let topics: Vec<RawTopic> =
        log.topics().await?.into_iter().filter(|topic| Source::of(&topic.name).is_some()).collect();
    let known: BTreeSet<String> = topics
        .iter()
        .filter_map(|topic| Source::of(&topic.name))
        .map(|source| source.prefix)
        .collect();
    let prefix = highwater_audit::prefix_of_tables(&topics);
    if known.contains(&prefix) {
        return Ok(prefix);
    }
    Err(if known.is_empty() {
        Error::Empty
    } else {
        Error::Prefix(known.into_iter().collect::<Vec<_>>().join(", "))
    })
}

/// Refuses a database that is not the one which the log names.
pub async fn check(
    log: &dyn RawReader,
    prefix: &str,
    database: &mut PgConnection,
) -> Result<(), Error> {
    check_database(&owners::read(log, prefix).await?, database).await
}

async fn check_database(said: &OwnersTopic, database: &mut PgConnection) -> Result<(), Error> {
    let ours = identity::database_identity(database).await?;
    match &said.database {
        Some(theirs) if *theirs != ours.to_string() => {
            Err(Error::OtherDatabase { theirs: theirs.clone(), ours })
        }
        Some(_) | None => Ok(()),
    }
}

async fn all_checkpoints(
    database: &mut PgConnection,
) -> Result<BTreeMap<Key, Checkpoint>, sqlx::Error> {
    let all = checkpoints::all(database).await?.into_iter();
    let found = all.map(|at| {
        let key = (at.generation, at.projection, at.category, at.partition);
        (key, Checkpoint { offset: at.offset, epoch: at.epoch, writer: at.writer })
    });
    Ok(found.collect())
}

/// By generation and projection: what has a checkpoint, and what has to get one.
fn of_partition(
    checkpoints: &BTreeMap<Key, Checkpoint>,
    expected: &BTreeSet<Expected>,
    category: &str,
    partition: u32,
) -> Here {
    let wanted = expected.iter().filter(|wanted| wanted.category == category);
    let mut here: Here = wanted
        .map(|wanted| ((checkpoints::GENERATION, wanted.projection.to_owned()), None))
        .collect();
    let found =
        checkpoints.iter().filter(|((_, _, of, index), _)| of == category && *index == partition);
    here.extend(found.map(|((generation, projection, ..), checkpoint)| {
        ((*generation, projection.clone()), Some(checkpoint.clone()))
    }));
    here
}

/// The furthest checkpoint has folded the most.
fn owner<'a>(
    said: &OwnersTopic,
    category: &str,
    partition: u32,
    checkpoints: impl Iterator<Item = &'a Checkpoint>,
) -> Owner {
    let furthest = checkpoints.max_by_key(|checkpoint| checkpoint.offset);
    let announcement = said.announcements.get(&(category.to_owned(), partition));
    Owner {
        category: category.to_owned(),
        partition,
        epoch: furthest.map(|checkpoint| checkpoint.epoch),
        writer: furthest.and_then(|checkpoint| checkpoint.writer),
        folded_to: furthest.map(|checkpoint| checkpoint.offset),
        announced_epoch: announcement.map(|announcement| announcement.epoch),
        announced_instance: announcement.map(|announcement| announcement.instance),
        announced_url: announcement.map(|announcement| announcement.url.clone()),
    }
}

/// How old what lies above an offset is. Asks the log once for each offset: most projections are at
/// the same one.
struct Ages<'a> {
    log: &'a dyn RawReader,
    partition: &'a Partition,
    end: u64,
    now_us: i64,
    /// The records that a caller waits for.
    counts: fn(&StoredRecord) -> bool,
    known: BTreeMap<u64, Option<f64>>,
}

impl<'a> Ages<'a> {
    fn new(
        log: &'a dyn RawReader,
        partition: &'a Partition,
        end: u64,
        now_us: i64,
        counts: fn(&StoredRecord) -> bool,
    ) -> Self {
        Self { log, partition, end, now_us, counts, known: BTreeMap::new() }
    }

    /// Seconds since the oldest record that counts at `offset` or above was appended; `None`: there
    /// is none.
    async fn behind(&mut self, offset: u64) -> Result<Option<f64>, Error> {
        if let Some(known) = self.known.get(&offset) {
            return Ok(*known);
        }
        let appended = self.oldest(offset).await?;
        let age = appended.map(|appended_ms| {
            let millis = (self.now_us / 1_000).saturating_sub(appended_ms).max(0);
            std::time::Duration::from_millis(millis.unsigned_abs()).as_secs_f64()
        });
        self.known.insert(offset, age);
        Ok(age)
    }

    async fn oldest(&self, offset: u64) -> Result<Option<i64>, Error> {
        let (mut at, mut first) = (offset, None);
        for _ in 0..LOOKS {
            if at >= self.end {
                return Ok(None);
            }
            let records = self.log.fetch(self.partition, at, LOOK_RECORDS).await?;
            let Some(last) = records.last() else { return Ok(None) };
            at = last.offset + 1;
            first = first.or_else(|| records.first().map(|stored| stored.appended_at_ms));
            if let Some(found) =
                records.iter().find(|stored| stored.offset < self.end && (self.counts)(stored))
            {
                return Ok(Some(found.appended_at_ms));
            }
        }
        Ok(first)
    }
}

/// Fences and barriers change no table.
fn is_waited_for(stored: &StoredRecord) -> bool {
    matches!(stored.record.header("hw-kind"), Some(b"event" | b"rejected" | b"unchanged"))
}
