//! Takes partitions whose owner goes or is gone, before the group says whose they are now: the
//! owner has said that it ends, or that it gave them up, or its port refuses connections
//! (docs/adr/0014). Never acts on silence: that is an overloaded, living owner. All of it is a
//! announcement; the fence decides, and an instance that took a partition so leaves it to the next
//! fence.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use highwater_runtime::{clock::Ids, shutdown::Shutdown};
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior},
};
use uuid::Uuid;

use super::{
    address::Address,
    announcements::{Announcements, PeerAnnouncement},
    forward::Forwarder,
    supervise::Assignable,
};

#[derive(Clone, Copy, Debug)]
pub struct EagerFailoverSettings {
    /// How often the ports of other owners are tried.
    pub probe: Duration,
    pub connect_timeout: Duration,
    /// After taking a partition from an instance whose port refused it is not taken so again from
    /// this instance for so long.
    pub again: Duration,
}

/// See the module.
pub struct EagerFailover {
    announcements: Arc<Announcements>,
    forwarder: Arc<Forwarder>,
    categories: BTreeMap<&'static str, Arc<dyn Assignable>>,
    settings: EagerFailoverSettings,
    ids: Arc<dyn Ids>,
    shutdown: Shutdown,
    taken: Mutex<BTreeMap<(String, u32), LastTakeover>>,
}

/// The last time that a partition was taken here.
struct LastTakeover {
    /// From the writer with this epoch, and why.
    epoch: u64,
    why: Trigger,
    /// When a port refused, and whose.
    refused: Option<(Uuid, Instant)>,
}

/// In the sequence in which one may follow the other about the same writer: the first attempt may
/// have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trigger {
    Leaving,
    Refused,
    Released,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbeResult {
    Listens,
    Refuses,
    /// Nothing can be concluded.
    Silent,
}

/// A port that refuses is tried once more after this.
const SURE_AFTER: Duration = Duration::from_millis(50);
/// Each further candidate leaves the one before it so much time to publish its announcement.
const STEP: Duration = Duration::from_millis(250);

impl EagerFailover {
    pub fn new(
        announcements: Arc<Announcements>,
        forwarder: Arc<Forwarder>,
        categories: &[Arc<dyn Assignable>],
        settings: EagerFailoverSettings,
        ids: Arc<dyn Ids>,
        shutdown: Shutdown,
    ) -> Self {
        let categories =
            categories.iter().map(|category| (category.category(), category.clone())).collect();
        Self {
            announcements,
            forwarder,
            categories,
            settings,
            ids,
            shutdown,
            taken: Mutex::default(),
        }
    }

    /// Until shutdown.
    pub async fn run(self) {
        let this = Arc::new(self);
        let leaving = this.shutdown.leaving.clone();
        tokio::select! {
            () = leaving.cancelled() => {}
            () = this.clone().follow_releases() => {}
            () = this.follow_ports() => {}
        }
    }

    async fn follow_releases(self: Arc<Self>) {
        let mut changes = self.announcements.watch();
        while changes.changed().await.is_ok() {
            changes.mark_unchanged();
            for heard in self
                .announcements
                .others()
                .into_iter()
                .filter(|heard| heard.fresh && !heard.announcement.stays())
            {
                let trigger =
                    if heard.announcement.released { Trigger::Released } else { Trigger::Leaving };
                self.consider(heard, trigger);
            }
        }
    }

    async fn follow_ports(self: Arc<Self>) {
        // Those that have listened once: a port that never did says nothing, it may be
        // misconfigured or of the past.
        let mut listening = BTreeSet::new();
        let mut tick = tokio::time::interval(self.settings.probe);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.forwarder.unreached.notified() => {}
            }
            let peers = self.peers();
            listening.retain(|url| peers.contains(url));
            let probed = join_all(peers.into_iter().map(|url| self.probe(url, &listening))).await;
            for (url, probed) in probed {
                match probed {
                    ProbeResult::Listens => drop(listening.insert(url)),
                    ProbeResult::Refuses if listening.remove(&url) => self.gone(&url),
                    ProbeResult::Refuses | ProbeResult::Silent => {}
                }
            }
        }
    }

    /// Where others are said to be.
    fn peers(&self) -> BTreeSet<String> {
        let others = self.announcements.others().into_iter().filter(|heard| {
            !heard.announcement.released && self.forwarder.allows(&heard.announcement)
        });
        others.map(|heard| heard.announcement.url).collect()
    }

    async fn probe(&self, url: String, listening: &BTreeSet<String>) -> (String, ProbeResult) {
        let mut probed = connect(&url, self.settings.connect_timeout).await;
        if probed == ProbeResult::Refuses && listening.contains(&url) {
            tokio::time::sleep(SURE_AFTER).await;
            probed = connect(&url, self.settings.connect_timeout).await;
        }
        (url, probed)
    }

    fn gone(self: &Arc<Self>, url: &str) {
        tracing::info!(url, "another owner's port refuses connections");
        for heard in
            self.announcements.others().into_iter().filter(|heard| heard.announcement.url == url)
        {
            self.consider(heard, Trigger::Refused);
        }
    }

    /// Takes the partition in its turn, unless another instance was first.
    fn consider(self: &Arc<Self>, heard: PeerAnnouncement, trigger: Trigger) {
        let Some(category) = self.categories.get(&*heard.category).cloned() else { return };
        if !self.note(&heard, trigger) {
            return;
        }
        let delay = self.turn(&heard);
        let (this, shutdown) = (self.clone(), self.shutdown.clone());
        self.shutdown.tasks.spawn(async move {
            tokio::select! {
                () = shutdown.leaving.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
            if this.announcements.others().iter().any(|now| {
                now.announcement == heard.announcement
                    && (&now.category, now.partition) == (&heard.category, heard.partition)
            }) {
                category.fail_over_eagerly(heard.partition, trigger.why());
            }
        });
    }

    /// Once for each writer and reason; and a port that keeps refusing while its owner lives, and
    /// has its partition back, costs one take-over in `again`. A process that dies, and is started
    /// again, is another.
    fn note(&self, heard: &PeerAnnouncement, trigger: Trigger) -> bool {
        let mut taken = self.taken.lock();
        let place = (heard.category.clone(), heard.partition);
        let before = taken.get(&place);
        let refused = before.and_then(|taken| taken.refused);
        let again = |(instance, at): (Uuid, Instant)| {
            instance == heard.announcement.instance && at.elapsed() < self.settings.again
        };
        let too_soon = trigger == Trigger::Refused && refused.is_some_and(again);
        if too_soon
            || before.is_some_and(|taken| {
                (taken.epoch, taken.why) >= (heard.announcement.epoch, trigger)
            })
        {
            return false;
        }
        let refused = if trigger == Trigger::Refused {
            Some((heard.announcement.instance, Instant::now()))
        } else {
            refused
        };
        taken
            .insert(place, LastTakeover { epoch: heard.announcement.epoch, why: trigger, refused });
        true
    }

    /// The first candidate goes at once; the others in turn, and not together.
    fn turn(&self, heard: &PeerAnnouncement) -> Duration {
        let others = self.announcements.others().into_iter().filter(|other| {
            other.announcement.stays() && other.announcement.url != heard.announcement.url
        });
        let mut candidates: BTreeSet<Uuid> =
            others.map(|other| other.announcement.instance).collect();
        candidates.insert(self.announcements.instance);
        let place =
            rank(&candidates, self.announcements.instance, &heard.category, heard.partition);
        if place == 0 {
            return Duration::ZERO;
        }
        let jitter = Duration::from_millis(u64::from(self.ids.v4().as_bytes()[0]) % 50);
        STEP * u32::try_from(place).unwrap_or(u32::MAX) + jitter
    }
}

impl Trigger {
    fn why(self) -> &'static str {
        match self {
            Self::Leaving => "leaving",
            Self::Released => "released",
            Self::Refused => "refused",
        }
    }
}

/// How many of `candidates` come before `own` on this partition: by rendezvous hashing, so that all
/// of them agree and none gets all. The score is a UUIDv5 (SHA-1, RFC 9562): instances of two
/// releases agree too.
fn rank(candidates: &BTreeSet<Uuid>, own: Uuid, category: &str, partition: u32) -> usize {
    let place = format!("{category}/{partition}");
    let score = |instance: Uuid| (Uuid::new_v5(&instance, place.as_bytes()), instance);
    candidates.iter().filter(|candidate| score(**candidate) < score(own)).count()
}

async fn connect(url: &str, within: Duration) -> ProbeResult {
    let Ok(address) = Address::parse(url) else { return ProbeResult::Silent };
    let Some(host_and_port) = address.host_and_port() else { return ProbeResult::Silent };
    let tried = tokio::time::timeout(within, TcpStream::connect(host_and_port)).await;
    concluded(tried.ok().map(|tried| tried.map(drop)))
}

/// `None`: no answer came in time.
fn concluded(tried: Option<std::io::Result<()>>) -> ProbeResult {
    match tried {
        Some(Ok(())) => ProbeResult::Listens,
        Some(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            ProbeResult::Refuses
        }
        Some(Err(_)) | None => ProbeResult::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_agree_who_is_first_and_share_the_partitions() {
        let candidates: BTreeSet<Uuid> = (1..=3).map(Uuid::from_u128).collect();
        let mut firsts = BTreeMap::new();
        for partition in 0..64 {
            let mut ranks: Vec<_> = candidates
                .iter()
                .map(|own| (rank(&candidates, *own, "note", partition), *own))
                .collect();
            ranks.sort();
            assert_eq!(ranks.iter().map(|(rank, _)| *rank).collect::<Vec<_>>(), [0, 1, 2]);
            *firsts.entry(ranks[0].1).or_insert(0) += 1;
        }
        assert!(firsts.len() == 3 && firsts.values().all(|count| *count >= 8), "{firsts:?}");
    }

    /// Computed by Python's `uuid.uuid5`: `min(candidates, key=lambda own: uuid5(own,
    /// f"note/{partition}"))`.
    #[test]
    fn the_first_candidate_is_the_same_in_every_release() {
        let candidates: BTreeSet<Uuid> = (1..=3).map(Uuid::from_u128).collect();
        let first = |partition| {
            candidates.iter().position(|own| rank(&candidates, *own, "note", partition) == 0)
        };
        let firsts: Vec<_> = (0..8).filter_map(first).collect();
        assert_eq!(firsts, [1, 2, 0, 0, 0, 0, 2, 2]);
    }

    #[test]
    fn silence_is_an_overloaded_living_owner_and_so_is_all_but_a_refusal() {
        use std::io::ErrorKind;
        for kind in [
            ErrorKind::TimedOut,
            ErrorKind::HostUnreachable,
            ErrorKind::NetworkUnreachable,
            ErrorKind::ConnectionReset,
        ] {
            assert_eq!(concluded(Some(Err(kind.into()))), ProbeResult::Silent, "{kind}");
        }
        assert_eq!(concluded(None), ProbeResult::Silent);
        assert_eq!(concluded(Some(Err(ErrorKind::ConnectionRefused.into()))), ProbeResult::Refuses);
    }

    #[tokio::test]
    async fn a_port_that_listens_refuses_or_says_nothing() -> std::io::Result<()> {
        let within = Duration::from_millis(300);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        assert_eq!(connect(&url, within).await, ProbeResult::Listens);
        drop(listener);
        assert_eq!(connect(&url, within).await, ProbeResult::Refuses);
        assert_eq!(connect("no url", within).await, ProbeResult::Silent);
        Ok(())
    }
}
