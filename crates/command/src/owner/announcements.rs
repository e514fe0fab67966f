//! The `owners` topic: who owns which partition and at which URL, and the check values of
//! deployment key and database. They are only hints; a wrong one costs a hop. A record without the
//! proof of this deployment is no announcement at all, and where it takes the place of one, that is
//! said again.

mod known;
mod own;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use highwater_log::{Delivery, Log, Partition, Reply, Report, Ticket, check_values};
use highwater_protocol::record::StoredRecord;
use highwater_runtime::{identity::DeploymentKeys, resilience::Once};
use metrics::counter;
use parking_lot::{Mutex, MutexGuard, RwLock};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    time::MissedTickBehavior,
};
use uuid::Uuid;

use self::{known::KnownOwner, own::OwnAnnouncements};
use super::{address::Address, deployment::Deployment, term::Term};

/// Who owns a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
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

/// An announcement of another instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAnnouncement {
    pub category: String,
    pub partition: u32,
    pub announcement: Announcement,
    /// It came while this instance listened, and is no tale of the past.
    pub fresh: bool,
}

/// How far a command queue has come.
#[derive(Serialize, Deserialize)]
struct Drained {
    drained: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the owners topic")]
    Log(#[from] highwater_log::Error),
    #[error("the owners topic cannot be read: {0}")]
    Unread(String),
    #[error(
        "this deployment's {what} is not the one that the log was made with (the owners topic says \
         {theirs}, here it is {ours}): {advice}"
    )]
    Foreign { what: &'static str, theirs: String, ours: String, advice: &'static str },
}

pub struct Announcements {
    log: Arc<dyn Log>,
    partition: Partition,
    pub url: String,
    pub instance: Uuid,
    pub deployment: Deployment,
    known: RwLock<BTreeMap<String, KnownOwner>>,
    said: Mutex<OwnAnnouncements>,
    /// How far the command queue of a partition has come.
    drained: RwLock<BTreeMap<String, u64>>,
    changes: watch::Sender<u64>,
    /// Everything has been read that was there at the start.
    caught_up: AtomicBool,
    reports: mpsc::UnboundedSender<Report>,
}

/// After one that says that a record is not in the log, everything that this instance stands by is
/// said again.
pub type Reports = mpsc::UnboundedReceiver<Report>;

/// How often, and how many times, a value that was appended is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS: u32 = 100;
/// How often it is looked whether something must be said again.
const REPAIR_EVERY: Duration = Duration::from_secs(1);

impl Announcements {
    pub fn new(
        log: Arc<dyn Log>,
        partition: Partition,
        keys: Arc<DeploymentKeys>,
        url: String,
        instance: Uuid,
    ) -> (Self, Reports) {
        let (reports, received) = mpsc::unbounded_channel();
        (
            Self {
                log,
                deployment: Deployment::new(keys, &partition),
                partition,
                url,
                instance,
                known: RwLock::default(),
                said: Mutex::default(),
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

    /// Says that this instance is about to end, so that others take the partition while it is still
    /// served.
    pub fn leave(&self, category: &str, partition: u32, epoch: u64) {
        self.say(category, partition, epoch, |announcement| announcement.leaving = true);
    }

    /// Says that this instance has given the partition up, so that others need not wait for the
    /// group.
    pub fn release(&self, category: &str, partition: u32, epoch: u64) {
        self.say(category, partition, epoch, |announcement| announcement.released = true);
    }

    fn say(
        &self,
        category: &str,
        partition: u32,
        epoch: u64,
        also: impl FnOnce(&mut Announcement),
    ) {
        let mut announcement = Announcement {
            url: self.url.clone(),
            epoch,
            instance: self.instance,
            leaving: false,
            released: false,
        };
        also(&mut announcement);
        let key = key(category, partition);
        // The fold says that this epoch is the last one: an announcement of a later one was wrong.
        self.known.write().retain(|of, known| *of != key || known.is_plausible_after(epoch));
        let value = self.write(key.clone(), &announcement);
        let mut said = self.said();
        if announcement.released { said.forget(&key) } else { said.keep_epoch(key, value, epoch) }
    }

    /// Keeps a term in the history of the partition, which holds the last [`TERMS`].
    pub fn note(&self, category: &str, partition: u32, term: &Term) {
        self.write(format!("{}{}", terms_of(category, partition), term.epoch % TERMS), term);
    }

    fn write(&self, key: String, value: &impl Serialize) -> Vec<u8> {
        // Text, numbers and ids, which always can be written.
        let value = serde_json::to_vec(value).unwrap_or_default();
        self.append(key, value.clone());
        value
    }

    fn said(&self) -> MutexGuard<'_, OwnAnnouncements> {
        self.said.lock()
    }

    /// Another instance that owns the partition, as far as is known.
    pub fn other(&self, category: &str, partition: u32) -> Option<Announcement> {
        self.candidates(category, partition).into_iter().next()
    }

    /// Other instances that may own the partition, the likeliest first: two at most.
    pub fn candidates(&self, category: &str, partition: u32) -> Vec<Announcement> {
        let known = self.known.read();
        let said =
            known.get(&key(category, partition)).map(KnownOwner::candidates).unwrap_or_default();
        said.into_iter()
            .filter(|announcement| self.is_of_another(announcement) && !announcement.released)
            .cloned()
            .collect()
    }

    /// Everything that others have said, released or not.
    pub fn others(&self) -> Vec<PeerAnnouncement> {
        let known = self.known.read();
        let heard = |(key, known): (&String, &KnownOwner)| {
            let (category, partition) = place(key)?;
            self.is_of_another(&known.best).then(|| PeerAnnouncement {
                category,
                partition,
                announcement: known.best.clone(),
                fresh: known.fresh,
            })
        };
        known.iter().filter_map(heard).collect()
    }

    /// Whether there is another owner of anything, that has not said that it ends.
    pub fn another_stays(&self) -> bool {
        self.others().iter().any(|heard| heard.announcement.stays())
    }

    fn is_of_another(&self, announcement: &Announcement) -> bool {
        announcement.instance != self.instance && announcement.url != self.url
    }

    /// Whether every partition of `category` has an owner, as far as is known: this instance, or
    /// another at another URL. An announcement with this URL by another instance is of a process
    /// that was here before.
    pub fn all_owned(&self, category: &str, partitions: u32) -> bool {
        let known = self.known.read();
        let owned = |known: &KnownOwner| {
            !known.best.released
                && (known.best.instance == self.instance || known.best.url != self.url)
        };
        (0..partitions).all(|partition| known.get(&key(category, partition)).is_some_and(owned))
    }

    /// Says how far the command queue of the partition has come.
    pub fn publish_drained(&self, category: &str, partition: u32, drained: u64) {
        let key = queue_key(category, partition);
        let value = self.write(key.clone(), &Drained { drained });
        self.said().keep(key, value);
    }

    /// How far the command queue of the partition has come, at least; 0 where no owner has said so.
    pub fn drained(&self, category: &str, partition: u32) -> u64 {
        self.drained.read().get(&queue_key(category, partition)).copied().unwrap_or(0)
    }

    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Refuses to start with another deployment key or database than the log knows; the first to
    /// start says which.
    pub async fn check(
        &self,
        what: &'static str,
        ours: &str,
        advice: &'static str,
    ) -> Result<(), Error> {
        match check_values::find(&*self.log, &self.partition, what).await? {
            Some(theirs) if theirs == ours => {}
            Some(theirs) => {
                return Err(Error::Foreign { what, theirs, ours: ours.to_owned(), advice });
            }
            None => {
                self.append(what.to_owned(), ours.as_bytes().to_vec());
                self.agree(what, ours, advice).await?;
            }
        }
        self.said().keep(what.to_owned(), ours.as_bytes().to_vec());
        Ok(())
    }

    /// Another may have said something else at the same time. Compaction keeps the last value, so
    /// the second puts back the first.
    async fn agree(
        &self,
        what: &'static str,
        ours: &str,
        advice: &'static str,
    ) -> Result<(), Error> {
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
        let (mut unread, mut unsaid) =
            (Once::new("owners-reader"), Once::new("owners-announcement"));
        let mut repair = tokio::time::interval(REPAIR_EVERY);
        repair.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                    _ = repair.tick() => self.repair(),
                    Some(report) = reports.recv() => {
                        match report.result {
                            Ok(_) => unsaid.over("announcements are acknowledged again"),
                            Err(error) => {
                                unsaid.warn("an announcement was not acknowledged", &error);
                                self.said().unsaid();
                            }
                        }
                    }
                    delivery = subscription.deliveries.recv() => match delivery {
                        Some(Delivery::Records(records)) => {
                            records.into_iter().for_each(|stored| self.learn(stored));
                        }
                        Some(Delivery::CaughtUp(_)) => {
                            unread.over("the owners topic can be read again");
                            self.caught_up.store(true, Ordering::Relaxed);
                        }
                        Some(Delivery::Trouble(what)) => unread.warn("trouble reading the owners \
                            topic", &what),
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

    fn learn(&self, stored: StoredRecord) {
        let key = stored.record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let Some(key) = key else { return };
        // No instance erases anything.
        let Some(value) = stored.record.value.as_deref() else { return self.disbelieve(key) };
        if !self.deployment.wrote(&stored.record) {
            return self.disbelieve(key);
        }
        if let Some(of) = key.strip_suffix(COMMAND_QUEUE) {
            if let Some(Drained { drained }) =
                place(of).and_then(|_| serde_json::from_slice(value).ok())
            {
                let mut known = self.drained.write();
                let before = known.entry(key.to_owned()).or_default();
                *before = drained.max(*before);
            }
        } else if place(key).is_some() {
            let announcement = serde_json::from_slice::<Announcement>(value)
                .ok()
                .filter(|announcement| Address::parse(&announcement.url).is_ok());
            match announcement {
                Some(announcement)
                    if announcement.instance == self.instance
                        || self.said().hears(key, announcement.epoch) =>
                {
                    self.believe(key, announcement)
                }
                Some(_) | None => self.disbelieve(key),
            }
        }
        // History is for people.
    }

    fn believe(&self, key: &str, announcement: Announcement) {
        let fresh = self.caught_up.load(Ordering::Relaxed);
        let mut known = self.known.write();
        let news = match known.get_mut(key) {
            Some(known) => known.hear(announcement, fresh),
            None => known
                .insert(
                    key.to_owned(),
                    KnownOwner { best: announcement.clone(), fresh, last: announcement },
                )
                .is_none(),
        };
        drop(known);
        if news {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn disbelieve(&self, key: &str) {
        counter!("highwater_owners_disbelieved_total").increment(1);
        self.said().overwritten(key);
    }

    /// Says again what a record without proof, or with an epoch that cannot be, has taken the place
    /// of: compaction keeps the last.
    fn repair(&self) {
        let (disbelieved, again) = self.said().take_overwritten();
        if disbelieved > 0 {
            tracing::warn!(
                records = disbelieved,
                said_again = again.len(),
                "the owners topic has records that are not believed"
            );
        }
        again.into_iter().for_each(|(key, value)| self.append(key, value));
    }

    fn append(&self, key: String, value: Vec<u8>) {
        let record = self.deployment.announcement(key, value);
        let ticket = Ticket { writer: self.instance, seq: None };
        if let Err(error) =
            self.log.append(&self.partition, record, Reply { ticket, to: self.reports.clone() })
        {
            // Heard as any other report: said once.
            let _ = self.reports.send(Report { ticket, generation: 0, result: Err(error.into()) });
        }
    }
}

impl Announcement {
    /// It has not said that it ends.
    pub fn stays(&self) -> bool {
        !self.leaving && !self.released
    }

    /// Of the same epoch: first it is owned, then left, then released, and never the other way
    /// round.
    fn follows(&self, before: &Self) -> bool {
        let said = |announcement: &Self| (announcement.released, announcement.leaving);
        self.epoch == before.epoch && self != before && said(self) >= said(before)
    }
}

/// How many terms of a partition the `owners` topic keeps.
pub const TERMS: u64 = 32;

/// What the keys of a partition's history begin with; a number below [`TERMS`] follows.
pub fn terms_of(category: &str, partition: u32) -> String {
    format!("{category}/{partition}/term/")
}

fn queue_key(category: &str, partition: u32) -> String {
    format!("{category}/{partition}{COMMAND_QUEUE}")
}

/// What the topic `owners` calls the command queue (docs/log-format.md).
const COMMAND_QUEUE: &str = "/commands";

/// Category and partition of an announcement's key.
fn place(key: &str) -> Option<(String, u32)> {
    let (category, partition) = key.split_once('/')?;
    Some((category.to_owned(), partition.parse().ok()?))
}

fn key(category: &str, partition: u32) -> String {
    format!("{category}/{partition}")
}

#[cfg(test)]
pub mod tests;
