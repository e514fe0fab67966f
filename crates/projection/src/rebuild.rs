//! Makes the tables of a projection anew beside the live ones: filled from the log by the code of
//! this program, with checkpoints of their own, compared with the live ones, and put in their place
//! in one transaction. Projectors go on meanwhile, and know nothing of it. What is done is kept:
//! the next run goes on where this one ended, however it ended.
//!
//! | module | what it owns |
//! |---|---|
//! | `fill` | events into the tables beside the live ones, each once |
//! | `pace` | how fast that may be |
//! | [`compare`] | rows of both, and since which event they differ |
//! | `why` | since which event rows differ |
//! | [`repair`] | one aggregate or one partition of the live tables |

pub mod compare;
mod fill;
mod pace;
pub mod repair;
mod why;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use highwater_log::{Partition, RawReader};
use highwater_runtime::clock::Clock;
use highwater_tables::{
    ReadError,
    checkpoints::{self, SNAPSHOTS},
    generations::{self, Beside, Generations},
    postgres::Connections,
};
use sqlx::{AssertSqlSafe, PgConnection};

use self::{fill::How, pace::Pace};
use crate::runner::{Failure, PostgresTx, Projection, Source, TopicPartition};

/// How long a switch waits for those who read the tables; others wait behind it meanwhile.
const GIVE_WAY: &str = "SET LOCAL lock_timeout = '500ms'";
/// The same after some attempts: an autovacuum gives way to what waits for a second.
const GIVE_WAY_LATER: &str = "SET LOCAL lock_timeout = '1500ms'";
/// So often a switch is tried, and so often with the short wait.
const ATTEMPTS: u32 = 20;
const SHORT_ATTEMPTS: u32 = 5;
const AFTER_ATTEMPT: Duration = Duration::from_millis(250);
/// A switch holds the projectors up while it brings about so many events.
const LAST_EVENTS: u64 = 2_000;

/// Why it does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("projection `{0}` cannot be made anew: {1}")]
    Refused(&'static str, &'static str),
    #[error("another program makes or switches generations of `{0}` at present")]
    Held(&'static str),
    #[error(
        "the tables of `{0}` before the last switch are still there: go back to them (--rollback) \
         or drop them (--drop) first"
    )]
    PreviousThere(&'static str),
    #[error(
        "the next generation of `{0}` is there: switch to it (--switch) or drop it (--drop) first"
    )]
    NextThere(&'static str),
    #[error(
        "projection `{projection}` writes `{table}`, which its method `tables` does not name: \
         nothing was changed"
    )]
    Unnamed { projection: &'static str, table: String },
    #[error("{topic_partition}: the log is not the one that was read before")]
    OtherLog { topic_partition: TopicPartition },
    #[error("{topic_partition} ends at offset {end}, and {at} was read before")]
    Shorter { topic_partition: TopicPartition, end: u64, at: u64 },
    #[error("{topic_partition} has no record at offset {expected}, the next one is at {found}")]
    Gap { topic_partition: TopicPartition, expected: u64, found: u64 },
    #[error("{topic_partition} before offset {before}: {why}")]
    NotApplied { topic_partition: TopicPartition, before: u64, why: Failure },
    #[error(
        "more than {most} aggregates of {topic_partition} cannot be applied, which is more than \
         bad data; the last one: {why}"
    )]
    TooManyParked { topic_partition: TopicPartition, most: u64, why: String },
    #[error("{0}")]
    Repair(String),
    #[error("the projectors passed what is compared again and again: try again")]
    Unsettled,
    #[error(transparent)]
    Generations(#[from] generations::Error),
    #[error(transparent)]
    Log(#[from] highwater_log::Error),
    #[error(transparent)]
    Checkpoints(#[from] ReadError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What a rebuild may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// About so many events in one transaction.
    pub batch_events: usize,
    /// So many partitions at the same time, each on a connection.
    pub at_once: usize,
    /// So many events in a second at most.
    pub events_per_second: Option<u64>,
    /// It waits while a record waits for the live projection for so long.
    pub live_waits: Duration,
    /// So many aggregates of a partition may be parked.
    pub parked_most: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_events: 5_000,
            at_once: 2,
            events_per_second: None,
            live_waits: Duration::from_millis(250),
            parked_most: 1_000,
        }
    }
}

/// How far it is, for those who look while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events that this run has applied.
    pub events: AtomicU64,
    /// Records that lie behind, those of earlier runs included.
    pub records: AtomicU64,
    /// Records that there were when it was last looked.
    pub of: AtomicU64,
    /// It waits for the live projection.
    pub waits: AtomicBool,
}

/// Where to stop, by category and partition: an offset.
pub type Places = BTreeMap<(String, u32), u64>;

/// The rebuild of one projection.
pub struct Rebuild {
    log: Arc<dyn RawReader>,
    prefix: String,
    projection: Arc<dyn Projection<PostgresTx>>,
    pool: Connections,
    limits: Limits,
    pace: Pace,
    progress: Arc<Progress>,
}

impl Rebuild {
    /// Refuses a projection whose tables cannot be made anew. `prefix` is that of the topics.
    pub fn new(
        log: Arc<dyn RawReader>,
        prefix: &str,
        projection: Arc<dyn Projection<PostgresTx>>,
        pool: impl Into<Connections>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let name = projection.name();
        let refused = match name {
            SNAPSHOTS => {
                Some("owners load from its tables, and its states have forms of their own")
            }
            _ if projection.source() != Source::Events => {
                Some("it reads the command queue, which the log forgets")
            }
            _ if projection.tables().is_empty() => {
                Some("it does not say which tables it writes (its method `tables`)")
            }
            _ => None,
        };
        if let Some(why) = refused {
            return Err(Error::Refused(name, why));
        }
        let pace = Pace::new(limits.events_per_second, limits.live_waits, clock);
        Ok(Self {
            log,
            prefix: prefix.to_owned(),
            projection,
            pool: pool.into(),
            limits,
            pace,
            progress: Arc::default(),
        })
    }

    /// Stays true while it runs.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Which generations there are.
    pub async fn generations(&self) -> Result<Generations, Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(generations::of(&mut connection, self.name()).await?)
    }

    /// No other program changes the generations as long as the connection lives.
    pub async fn hold(&self) -> Result<PgConnection, Error> {
        let mut connection = self.pool.connect().await?;
        match generations::hold(&mut connection, self.name()).await? {
            true => Ok(connection),
            false => Err(Error::Held(self.name())),
        }
    }

    /// Makes the next generation, or goes on with it, until it has what the live one has, then its
    /// indexes.
    pub async fn fill(&self) -> Result<(), Error> {
        match self.generations().await?.beside {
            Some(Beside::Previous) => return Err(Error::PreviousThere(self.name())),
            Some(Beside::Next) => {}
            None => {
                let mut tx = self.pool.begin_with("BEGIN").await?;
                generations::make(&mut tx, self.name(), &self.projection.tables()).await?;
                tx.commit().await?;
            }
        }
        self.fill_to(&self.live().await?, How::BehindTheLive).await?;
        // What is missing still is applied with all indexes.
        self.index().await
    }

    /// Goes on with the tables beside the live ones, whichever they are, to the end of the log.
    pub async fn feed(&self) -> Result<(), Error> {
        let places = self.ends().await?;
        self.fill_to(&places, How::BehindTheLive).await
    }

    /// Puts the tables beside the live ones in their place, which must be what `from` says. The
    /// number of what is shown then.
    pub async fn switch(&self, from: Beside) -> Result<i32, Error> {
        let mut connection = self.pool.acquire().await?;
        generations::is_there(&mut connection, self.name(), from).await?;
        drop(connection);
        self.index().await?;
        for attempt in 1.. {
            let give_way = if attempt <= SHORT_ATTEMPTS { GIVE_WAY } else { GIVE_WAY_LATER };
            match self.try_switch(from, give_way).await {
                Err(Error::Generations(generations::Error::Busy)) if attempt < ATTEMPTS => {
                    tokio::time::sleep(AFTER_ATTEMPT).await;
                }
                ended => return ended,
            }
        }
        Err(Error::Generations(generations::Error::Busy))
    }

    async fn try_switch(&self, from: Beside, give_way: &'static str) -> Result<i32, Error> {
        let name = self.name();
        loop {
            let before = self.progress.events.load(Ordering::Relaxed);
            self.feed().await?;
            if self.progress.events.load(Ordering::Relaxed) - before < LAST_EVENTS {
                break;
            }
        }
        let mut tx = self.pool.begin_with("BEGIN").await?;
        sqlx::query(give_way).execute(&mut *tx).await?;
        // Projectors wait from here on: what they have, and this has not, is little.
        let live = generations::lock_live(&mut tx, name).await?;
        let places = live
            .into_iter()
            .map(|(category, partition, offset)| ((category, partition), offset))
            .collect();
        self.fill_to(&places, How::AtOnce).await?;
        let number = generations::switch(&mut tx, name, &self.projection.tables(), from).await?;
        tx.commit().await?;
        Ok(number)
    }

    /// Drops what lies beside the live tables. Whether there was anything.
    pub async fn drop(&self) -> Result<bool, Error> {
        let is_there = self.generations().await?.beside.is_some();
        let mut tx = self.pool.begin_with("BEGIN").await?;
        generations::drop(&mut tx, self.name()).await?;
        tx.commit().await?;
        Ok(is_there)
    }

    /// How many aggregates are parked beside the live tables, and in them.
    pub async fn parked(&self) -> Result<(i64, i64), Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(generations::parked(&mut connection, self.name()).await?)
    }

    async fn index(&self) -> Result<(), Error> {
        let (name, tables) = (self.name(), self.projection.tables());
        let mut tx = self.pool.begin_with("BEGIN; SET LOCAL statement_timeout = 0").await?;
        generations::index(&mut tx, name, &tables).await?;
        tx.commit().await?;
        let mut tx = self.pool.begin_with("BEGIN; SET LOCAL statement_timeout = 0").await?;
        generations::analyze(&mut tx, name, &tables).await?;
        Ok(tx.commit().await?)
    }

    fn name(&self) -> &'static str {
        self.projection.name()
    }

    fn partition(&self, category: &str, index: u32) -> Partition {
        Partition { topic: format!("{}.{category}.events", self.prefix).into(), index }
    }

    /// In a transaction that finds the tables beside the live ones.
    async fn begin(&self) -> Result<PostgresTx, Error> {
        let statement = generations::begin(self.name())?;
        Ok(self.pool.begin_with(AssertSqlSafe(statement)).await?)
    }

    /// Where the live generation stands.
    async fn live(&self) -> Result<Places, Error> {
        let mut connection = self.pool.acquire().await?;
        places(&mut connection, &*self.projection).await
    }

    /// Where the log ends.
    async fn ends(&self) -> Result<Places, Error> {
        let topics = self.log.topics().await?;
        let mut ends = Places::new();
        for category in self.projection.categories() {
            let name = self.partition(category, 0).topic;
            for topic in topics.iter().filter(|topic| *topic.name == *name) {
                for partition in topic.each() {
                    let end = self.log.end(&partition).await?;
                    ends.insert(((*category).to_owned(), partition.index), end);
                }
            }
        }
        Ok(ends)
    }
}

async fn places(
    connection: &mut PgConnection,
    projection: &dyn Projection<PostgresTx>,
) -> Result<Places, Error> {
    let mut places = Places::new();
    for category in projection.categories() {
        let found = checkpoints::offsets(connection, projection.name(), category).await?;
        places.extend(
            found.into_iter().map(|(index, offset)| (((*category).to_owned(), index), offset)),
        );
    }
    Ok(places)
}
