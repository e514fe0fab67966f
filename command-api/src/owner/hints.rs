//! The `owners` topic: who owns which partition and at which URL, and the check values of deployment key and database.
//! Hints only; a wrong one costs a hop.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use eventlog::{Delivery, Log, Partition, Reply, Report, Ticket, check_values};
use protocol::record::{Record, Stored};
use serde::{Deserialize, Serialize};
use service::resilience::Once;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::standing::Tenure;

/// Who owns a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    pub url: String,
    pub epoch: u64,
    pub instance: Uuid,
    /// It is about to end, and serves the partition until another's fence.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// It has given the partition up, and says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

/// A hint of another instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub category: String,
    pub partition: u32,
    pub hint: Hint,
    /// It came while this instance listened, and is no tale of the past.
    pub fresh: bool,
}

/// How far a lane has come.
#[derive(Deserialize)]
struct Drained {
    drained: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the owners topic")]
    Log(#[from] eventlog::Error),
    #[error("the owners topic cannot be read: {0}")]
    Unread(String),
    #[error(
        "this deployment's {what} is not the one that the log was made with (the owners topic says {theirs}, here it is {ours}): {advice}"
    )]
    Foreign { what: &'static str, theirs: String, ours: String, advice: &'static str },
}

pub struct Hints {
    log: Arc<dyn Log>,
    partition: Partition,
    pub url: String,
    pub instance: Uuid,
    known: RwLock<BTreeMap<String, Known>>,
    /// How far the lane of a partition has come.
    drained: RwLock<BTreeMap<String, u64>>,
    changes: watch::Sender<u64>,
    /// Everything has been read that was there at the start.
    caught_up: AtomicBool,
    reports: mpsc::UnboundedSender<Report>,
}

struct Known {
    hint: Hint,
    fresh: bool,
}

/// A hint that is not acknowledged is found out by its reader; the reports only end somewhere.
pub type Reports = mpsc::UnboundedReceiver<Report>;

/// How often, and how many times, a value that was appended is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS: u32 = 100;

impl Hints {
    pub fn new(log: Arc<dyn Log>, partition: Partition, url: String, instance: Uuid) -> (Self, Reports) {
        let (reports, received) = mpsc::unbounded_channel();
        (
            Self {
                log,
                partition,
                url,
                instance,
                known: RwLock::default(),
                drained: RwLock::default(),
                changes: watch::Sender::new(0),
                caught_up: AtomicBool::new(false),
                reports,
            },
            received,
        )
    }

    /// Says that this instance owns the partition.
    pub fn publish(&self, category: &str, partition: u32, epoch: u64) {
        self.say(category, partition, epoch, |_| {});
    }

    /// Says that this instance is about to end, so that others take the partition while it is still served.
    pub fn leave(&self, category: &str, partition: u32, epoch: u64) {
        self.say(category, partition, epoch, |hint| hint.leaving = true);
    }

    /// Says that this instance has given the partition up, so that others need not wait for the group.
    pub fn release(&self, category: &str, partition: u32, epoch: u64) {
        self.say(category, partition, epoch, |hint| hint.released = true);
    }

    fn say(&self, category: &str, partition: u32, epoch: u64, also: impl FnOnce(&mut Hint)) {
        let mut hint = Hint { url: self.url.clone(), epoch, instance: self.instance, leaving: false, released: false };
        also(&mut hint);
        self.write(key(category, partition), &hint);
    }

    /// Keeps a tenure in the history of the partition, which holds the last [`TENURES`].
    pub fn note(&self, category: &str, partition: u32, tenure: &Tenure) {
        self.write(format!("{}{}", tenures_of(category, partition), tenure.epoch % TENURES), tenure);
    }

    fn write(&self, key: String, value: &impl Serialize) {
        match serde_json::to_vec(value) {
            Ok(value) => self.append(key, value),
            Err(error) => tracing::error!(%error, "a hint cannot be written"),
        }
    }

    /// Another instance that owns the partition, as far as is known.
    pub fn other(&self, category: &str, partition: u32) -> Option<Hint> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let hint = &known.get(&key(category, partition))?.hint;
        (self.is_of_another(hint) && !hint.released).then(|| hint.clone())
    }

    /// Everything that others have said, released or not.
    pub fn others(&self) -> Vec<Heard> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let heard = |(key, known): (&String, &Known)| {
            let (category, partition) = key.rsplit_once('/')?;
            let (category, partition) = (category.to_owned(), partition.parse().ok()?);
            self.is_of_another(&known.hint).then(|| Heard { category, partition, hint: known.hint.clone(), fresh: known.fresh })
        };
        known.iter().filter_map(heard).collect()
    }

    /// Whether there is another owner of anything, that has not said that it ends.
    pub fn another_stays(&self) -> bool {
        self.others().iter().any(|heard| heard.hint.stays())
    }

    fn is_of_another(&self, hint: &Hint) -> bool {
        hint.instance != self.instance && hint.url != self.url
    }

    /// Whether every partition of `category` has an owner, as far as is known: this instance, or another at another URL.
    /// A hint with this URL by another instance is of a process that was here before.
    pub fn all_owned(&self, category: &str, partitions: u32) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let owned = |known: &Known| !known.hint.released && (known.hint.instance == self.instance || known.hint.url != self.url);
        (0..partitions).all(|partition| known.get(&key(category, partition)).is_some_and(owned))
    }

    /// Says how far the lane of the partition has come.
    pub fn publish_drained(&self, category: &str, partition: u32, drained: u64) {
        self.append(lane_key(category, partition), format!(r#"{{"drained":{drained}}}"#).into_bytes());
    }

    /// How far the lane of the partition has come, at least; 0 where nobody has said so.
    pub fn drained(&self, category: &str, partition: u32) -> u64 {
        self.drained.read().unwrap_or_else(PoisonError::into_inner).get(&lane_key(category, partition)).copied().unwrap_or(0)
    }

    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Refuses to start with another deployment key or database than the log knows; the first to start says which.
    pub async fn check(&self, what: &'static str, ours: &str, advice: &'static str) -> Result<(), Error> {
        match check_values::find(&*self.log, &self.partition, what).await? {
            Some(theirs) if theirs == ours => Ok(()),
            Some(theirs) => Err(Error::Foreign { what, theirs, ours: ours.to_owned(), advice }),
            None => {
                self.append(what.to_owned(), ours.as_bytes().to_vec());
                self.agree(what, ours, advice).await
            }
        }
    }

    /// Another may have said something else at the same time. Compaction keeps the last value, so the second puts back the first.
    async fn agree(&self, what: &'static str, ours: &str, advice: &'static str) -> Result<(), Error> {
        for _ in 0..LOOKS {
            match check_values::find(&*self.log, &self.partition, what).await? {
                Some(theirs) if theirs == ours => return Ok(()),
                Some(theirs) => {
                    self.append(what.to_owned(), theirs.as_bytes().to_vec());
                    return Err(Error::Foreign { what, theirs, ours: ours.to_owned(), advice });
                }
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        Err(Error::Unread("a record that was appended does not appear".to_owned()))
    }

    /// Reads the topic for ever.
    pub async fn follow(self: Arc<Self>, mut reports: Reports) {
        let (mut unread, mut unsaid) = (Once::new("owners-reader"), Once::new("owners-hint"));
        loop {
            let mut subscription = match self.log.read(&self.partition, 0) {
                Ok(subscription) => subscription,
                Err(error) => {
                    unread.warn("the owners topic cannot be read", &error);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            loop {
                tokio::select! {
                    Some(report) = reports.recv() => {
                        match report.result {
                            Ok(_) => unsaid.over("hints are acknowledged again"),
                            Err(error) => unsaid.warn("a hint was not acknowledged", &error),
                        }
                    }
                    delivery = subscription.deliveries.recv() => match delivery {
                        Some(Delivery::Records(records)) => records.into_iter().for_each(|stored| self.learn(stored)),
                        Some(Delivery::CaughtUp(_)) => {
                            unread.over("the owners topic can be read again");
                            self.caught_up.store(true, Ordering::Relaxed);
                        }
                        Some(Delivery::Trouble(what)) => unread.warn("trouble reading the owners topic", &what),
                        Some(Delivery::Failed(error)) => {
                            unread.warn("the owners topic cannot be read", &error);
                            break;
                        }
                        None => break,
                    },
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn learn(&self, stored: Stored) {
        let (Some(key), Some(value)) = (stored.record.key, stored.record.value) else { return };
        let Ok(key) = String::from_utf8(key) else { return };
        if let Ok(Drained { drained }) = serde_json::from_slice(&value) {
            let mut known = self.drained.write().unwrap_or_else(PoisonError::into_inner);
            let before = known.entry(key).or_default();
            *before = drained.max(*before);
            return;
        }
        if key.split('/').count() != 2 {
            // History is for people.
            return;
        }
        let Ok(hint) = serde_json::from_slice::<Hint>(&value) else { return };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let news = known.get(&key).is_none_or(|before| before.hint.epoch < hint.epoch || hint.follows(&before.hint));
        if news {
            known.insert(key, Known { hint, fresh: self.caught_up.load(Ordering::Relaxed) });
            drop(known);
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn append(&self, key: String, value: Vec<u8>) {
        let record = Record { key: Some(key.into_bytes()), value: Some(value), headers: Vec::new() };
        let ticket = Ticket { writer: self.instance, seq: None };
        if let Err(error) = self.log.append(&self.partition, record, Reply { ticket, to: self.reports.clone() }) {
            // Heard as any other report: said once.
            let _ = self.reports.send(Report { ticket, generation: 0, result: Err(error.into()) });
        }
    }
}

impl Hint {
    /// It has not said that it ends.
    pub fn stays(&self) -> bool {
        !self.leaving && !self.released
    }

    /// Of the same epoch: first it is owned, then left, then released, and never the other way round.
    fn follows(&self, before: &Self) -> bool {
        let said = |hint: &Self| (hint.released, hint.leaving);
        self.epoch == before.epoch && self != before && said(self) >= said(before)
    }
}

/// How many tenures of a partition the `owners` topic keeps.
pub const TENURES: u64 = 32;

/// What the keys of a partition's history begin with; a number below [`TENURES`] follows.
pub fn tenures_of(category: &str, partition: u32) -> String {
    format!("{category}/{partition}/tenure/")
}

fn lane_key(category: &str, partition: u32) -> String {
    format!("{category}/{partition}/lane")
}

fn key(category: &str, partition: u32) -> String {
    format!("{category}/{partition}")
}

#[cfg(test)]
mod tests;
