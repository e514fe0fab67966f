//! The faults, one after another: what is killed, and when the deployment has recovered from it.
//! Waits for answers and checkpoints, never for a time.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use highwater_log::RawReader;
use sqlx::PgPool;
use tokio::time::Instant;

use super::{
    client::{Client, Place, Running, Sent},
    deployment::Deployment,
    load::{AGGREGATES, Load},
    log::{self, PLACES},
    process::Service,
    tables,
};

pub const RECOVERED_WITHIN: Duration = Duration::from_secs(90);
pub const ENDED_WITHIN: Duration = Duration::from_secs(45);
/// Commands answered before the first fault, and between two of them: in the short run, and in the
/// long ones.
const CALM_COMMANDS: usize = 100;
const CALM_COMMANDS_OF_LONG_RUNS: usize = 3_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    KillOwner,
    KillProjector,
    StopOwner,
    StopProjector,
    /// `kill -9` of an owner beside an instance that was started a moment ago and has never owned
    /// anything.
    KillBesideStandby,
}

/// What one fault did.
#[derive(Clone, Debug)]
pub struct Injected {
    pub fault: Fault,
    pub name: String,
    pub at: Instant,
    /// When the process was started again.
    pub restarted: Instant,
    /// Commands that were sent and not answered: all, and those that the victim had.
    pub unanswered: usize,
    pub unanswered_there: usize,
    /// Partitions that the victim owned.
    pub owned: usize,
    /// Partitions that the standby had at the fault and afterwards, if there was one.
    pub standby: Option<[usize; 2]>,
    pub ended_after: Duration,
    /// Until every partition had answered, or every table had what was in the log at the fault.
    pub recovered_after: Duration,
    /// Until the process that was started again had its share.
    pub whole_after: Duration,
    pub silence: Silences,
}

/// Of each partition, the longest time in which commands waited and none was answered.
#[derive(Clone, Debug, Default)]
pub struct Silences {
    /// From the fault to the next one.
    pub all: BTreeMap<Place, Duration>,
    /// Of those that began before the process was started again: what its end brought.
    pub without: BTreeMap<Place, Duration>,
    /// Of those that began afterwards: what its return brought.
    pub since_back: BTreeMap<Place, Duration>,
}

pub const ONE_OF_EACH: [Fault; 4] =
    [Fault::KillOwner, Fault::KillProjector, Fault::StopOwner, Fault::StopProjector];

pub struct Faults<'a> {
    pub deployment: &'a mut Deployment,
    pub reader: Arc<dyn RawReader>,
    pub load: Arc<Load>,
    pub http: reqwest::Client,
}

impl Faults<'_> {
    /// Injects `schedule` into the running load. The silences are measured when all answers are
    /// there.
    pub async fn inject(&mut self, schedule: &[Fault], running: &Running) -> Vec<Injected> {
        let client = &running.client;
        // The first to take what no instance had yet: not a fault's doing.
        wait("every partition answers", || client.all_answered(PLACES, running.began)).await;
        wait("every aggregate is there", || self.load.known().len() >= AGGREGATES).await;
        let mut injected = Vec::new();
        for (number, fault) in schedule.iter().enumerate() {
            calm(client).await;
            let round = number / ONE_OF_EACH.len();
            let done = match fault {
                Fault::KillOwner | Fault::StopOwner | Fault::KillBesideStandby => {
                    self.owner(*fault, client).await
                }
                Fault::KillProjector | Fault::StopProjector => {
                    self.projector(*fault, round % 2, client).await
                }
            };
            eprintln!("{done}");
            injected.push(done);
        }
        calm(client).await;
        injected
    }

    async fn owner(&mut self, fault: Fault, client: &Client) -> Injected {
        let beside = fault == Fault::KillBesideStandby;
        let mut standby = None;
        if beside {
            self.deployment.standby.start();
            self.deployment.standby.ready(&self.http).await;
        }
        let (victim, owned) = self.owner_of_the_hottest().await;
        let mut open = (0, 0);
        wait("a command is unanswered there", || {
            open = client.open(victim);
            open.1 > 0
        })
        .await;
        if beside {
            standby = Some([owned_by(&self.deployment.standby, &self.http).await.len(); 2]);
        }
        let service = &mut self.deployment.commands[victim];
        let (unanswered, unanswered_there) = open;
        let at = Instant::now();
        if fault == Fault::StopOwner {
            service.terminate()
        } else {
            service.kill()
        }
        let ended_after = ended(service, fault, at).await;
        let ended = Instant::now();
        wait("every partition answers without the victim", || client.all_answered(PLACES, ended))
            .await;
        let recovered_after = at.elapsed();
        if let Some([_, afterwards]) = &mut standby {
            *afterwards = self.end_standby().await;
        }

        let restarted = Instant::now();
        self.deployment.commands[victim].start();
        self.deployment.commands[victim].ready(&self.http).await;
        let until = Instant::now() + RECOVERED_WITHIN;
        while self.owned_by(victim).await.is_empty() {
            assert!(Instant::now() < until, "the command API that was started again owns nothing");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let owns = Instant::now();
        wait("every partition answers with the new process", || client.all_answered(PLACES, owns))
            .await;
        let name = self.deployment.commands[victim].name.clone();
        let (whole_after, silence) = (at.elapsed(), Silences::default());
        Injected {
            fault,
            name,
            at,
            restarted,
            unanswered,
            unanswered_there,
            owned,
            standby,
            ended_after,
            recovered_after,
            whole_after,
            silence,
        }
    }

    /// Stops the standby again: how many partitions it had.
    async fn end_standby(&mut self) -> usize {
        let had = owned_by(&self.deployment.standby, &self.http).await.len();
        self.deployment.standby.terminate();
        let status = self.deployment.standby.exited(ENDED_WITHIN).await;
        assert!(status.success(), "the standby ended with {status}");
        had
    }

    async fn projector(&mut self, fault: Fault, victim: usize, client: &Client) -> Injected {
        let service = &mut self.deployment.projectors[victim];
        let (unanswered, _) = client.open(0);
        let at = Instant::now();
        if fault == Fault::KillProjector {
            service.kill()
        } else {
            service.terminate()
        }
        let ended_after = ended(service, fault, at).await;
        self.projected().await;
        let recovered_after = at.elapsed();
        let restarted = Instant::now();
        self.deployment.projectors[victim].start();
        self.deployment.projectors[victim].ready(&self.http).await;
        self.projected().await;
        let name = self.deployment.projectors[victim].name.clone();
        let (whole_after, owned, standby, silence) = (at.elapsed(), 0, None, Silences::default());
        Injected {
            fault,
            name,
            at,
            restarted,
            unanswered,
            unanswered_there: 0,
            owned,
            standby,
            ended_after,
            recovered_after,
            whole_after,
            silence,
        }
    }

    /// Waits until every table has what is in the log now.
    async fn projected(&self) {
        let ends = log::ends(&*self.reader).await;
        caught_up(&self.deployment.pool, &ends).await;
    }

    /// The command API that owns the partition of the hottest aggregate, and how many partitions it
    /// owns.
    async fn owner_of_the_hottest(&self) -> (usize, usize) {
        let until = Instant::now() + RECOVERED_WITHIN;
        loop {
            let (category, partition) = self.load.hottest().unwrap();
            for candidate in 0..self.deployment.commands.len() {
                let owned = self.owned_by(candidate).await;
                if owned.contains(&(category.to_owned(), partition)) {
                    return (candidate, owned.len());
                }
            }
            assert!(Instant::now() < until, "no instance owns {category}/{partition}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn owned_by(&self, number: usize) -> Vec<(String, u32)> {
        owned_by(&self.deployment.commands[number], &self.http).await
    }
}

async fn owned_by(service: &Service, http: &reqwest::Client) -> Vec<(String, u32)> {
    let epochs = service.metric(http, "highwater_owner_epoch").await;
    let label = |labels: &str, name: &str| {
        Some(labels.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.to_owned())
    };
    let of = |labels: &str| {
        Some((label(labels, "category")?, label(labels, "partition")?.parse().ok()?))
    };
    epochs.iter().filter(|(_, epoch)| *epoch > 0.0).filter_map(|(labels, _)| of(labels)).collect()
}

/// Waits until the tables have everything below `ends`.
pub async fn caught_up(pool: &PgPool, ends: &BTreeMap<Place, u64>) {
    let until = Instant::now() + RECOVERED_WITHIN;
    loop {
        let behind = tables::behind(pool, ends).await;
        if behind.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "the tables are behind the log: {}", behind.join(", "));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ended(service: &mut Service, fault: Fault, at: Instant) -> Duration {
    let status = service.exited(ENDED_WITHIN).await;
    let gracefully = matches!(fault, Fault::StopOwner | Fault::StopProjector);
    assert_eq!(status.success(), gracefully, "{} ended with {status}", service.name);
    at.elapsed()
}

async fn calm(client: &Client) {
    let short = std::env::var_os("HIGHWATER_FAULTS").is_none();
    let until = client.count() + if short { CALM_COMMANDS } else { CALM_COMMANDS_OF_LONG_RUNS };
    wait("commands are answered", || client.count() >= until).await;
}

pub async fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + RECOVERED_WITHIN;
    while !holds() {
        assert!(Instant::now() < until, "not within {RECOVERED_WITHIN:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Measures the silences that each fault brought, up to the next one.
pub fn measure(injected: &mut [Injected], sent: &[Sent]) {
    let mut by_place: BTreeMap<Place, Vec<(Instant, Instant)>> = BTreeMap::new();
    for sent in sent {
        by_place.entry(sent.request.place).or_default().push((sent.answer.at, sent.began));
    }
    let silences: BTreeMap<Place, Vec<(Instant, Instant)>> =
        by_place.into_iter().map(|(place, times)| (place, silent(times))).collect();
    for number in 0..injected.len() {
        let (from, back) = (injected[number].at, injected[number].restarted);
        let until = injected.get(number + 1).map(|next| next.at);
        let longest = |counts: &dyn Fn(Instant) -> bool| {
            let length = |(begin, end): &(Instant, Instant)| {
                until.map_or(*end, |until| until.min(*end)).duration_since(*begin)
            };
            let of = |silences: &Vec<(Instant, Instant)>| {
                silences
                    .iter()
                    .filter(|(begin, end)| *end > from && counts(*begin))
                    .map(length)
                    .max()
                    .unwrap_or_default()
            };
            silences.iter().map(|(place, silences)| (*place, of(silences))).collect()
        };
        injected[number].silence = Silences {
            all: longest(&|_| true),
            without: longest(&|begin| begin < back),
            since_back: longest(&|begin| begin >= back),
        };
    }
}

/// When no answer came although a command waited for one. `times`: answer and first sending of each
/// command of one partition.
fn silent(mut times: Vec<(Instant, Instant)>) -> Vec<(Instant, Instant)> {
    times.sort();
    let (mut silent, mut first_waiting) = (Vec::new(), None);
    for (at, (end, began)) in times.iter().enumerate().rev() {
        let waiting = first_waiting.map_or(*began, |first: Instant| first.min(*began));
        first_waiting = Some(waiting);
        let before = at.checked_sub(1).map_or(waiting, |before| times[before].0);
        silent.push((waiting.max(before), *end));
    }
    silent
}

/// p50, p99 and the longest, in seconds.
pub fn spread(times: impl Iterator<Item = Duration>) -> [f64; 3] {
    let mut all: Vec<Duration> = times.collect();
    all.sort();
    let at = |percent: usize| {
        all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
    };
    [at(50), at(99), at(100)].map(|time| time.as_secs_f64())
}

impl Injected {
    pub fn is_of_an_owner(&self) -> bool {
        matches!(self.fault, Fault::KillOwner | Fault::StopOwner | Fault::KillBesideStandby)
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::KillOwner | Fault::KillProjector | Fault::KillBesideStandby => "kill -9",
            Fault::StopOwner | Fault::StopProjector => "SIGTERM",
        };
        write!(f, "{what} {}: {} commands unanswered", self.name, self.unanswered)?;
        if self.is_of_an_owner() {
            write!(
                f,
                ", {} of them there; it owned {} partitions",
                self.unanswered_there, self.owned
            )?;
        }
        if let Some([before, afterwards]) = self.standby {
            write!(
                f,
                "; an instance that was started a moment ago had {before} partitions before and \
                 {afterwards} afterwards"
            )?;
        }
        let [ended, recovered, whole] = [self.ended_after, self.recovered_after, self.whole_after]
            .map(|time| time.as_secs_f64());
        write!(
            f,
            "; ended after {ended:.2} s, recovered after {recovered:.2} s, whole again after \
             {whole:.2} s"
        )?;
        if !self.silence.all.is_empty() {
            write!(f, "; commands waiting and none answered, over partitions:")?;
            for (when, silence) in self.silence.periods() {
                let [p50, p99, max] = spread(silence.values().copied());
                write!(f, " {when} p50 {p50:.2} s, p99 {p99:.2} s, max {max:.2} s;")?;
            }
        }
        Ok(())
    }
}

impl Silences {
    /// By what they are called.
    pub fn periods(&self) -> [(&'static str, &BTreeMap<Place, Duration>); 3] {
        [
            ("in all", &self.all),
            ("without the process", &self.without),
            ("since it was back", &self.since_back),
        ]
    }
}
