//! A rolling deploy: every process is stopped (SIGTERM), started again and ready before the next
//! one goes. Readers ask the query APIs all the time. Waits for answers and readiness, never for a
//! time.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    World,
    client::Running,
    faults::{self, ENDED_WITHIN, RECOVERED_WITHIN},
    load::{AGGREGATES, Load},
    log::{CATEGORIES, PLACES},
    process::Service,
};

const PARTITIONS: usize = PLACES / CATEGORIES.len();
/// Readers at the same time.
const READERS: usize = 2;
/// `Retry-After` is honoured up to this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_millis(200);
/// As long as an application waits between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Replaces everything, `rounds` times: what became of each process, a line each.
pub async fn replace_all(world: &mut World, running: &Running, rounds: usize) -> Vec<String> {
    let client = running.client.clone();
    faults::wait("every partition answers", || client.all_answered(PLACES, running.began)).await;
    let load = world.load.clone();
    faults::wait("every aggregate is there", || load.known().len() >= AGGREGATES).await;
    world.deployment.upgrade().await;
    let mut replaced = Vec::new();
    for _ in 0..rounds {
        let (http, deployment) = (world.http.clone(), &mut world.deployment);
        for service in deployment
            .commands
            .iter_mut()
            .chain(&mut deployment.projectors)
            .chain(&mut deployment.queries)
        {
            let at = running.began.elapsed().as_secs_f64();
            let line = format!("{at:5.1} s: {}", replace(service, &http).await);
            let ready = Instant::now();
            faults::wait("every partition answers afterwards", || {
                client.all_answered(PLACES, ready)
            })
            .await;
            eprintln!("{line}");
            replaced.push(line);
        }
    }
    replaced
}

/// All command APIs end at once and start again. Each partition is fenced when it is first
/// assigned, and once for each time that it moves while the others join; then every category is
/// spread evenly.
pub async fn restart_all(world: &mut World, running: &Running) -> String {
    let (client, http) = (running.client.clone(), world.http.clone());
    let before = epochs(&world.deployment.commands, &http).await;
    let at = Instant::now();
    world.deployment.commands.iter().for_each(Service::terminate);
    for service in &mut world.deployment.commands {
        assert!(service.exited(ENDED_WITHIN).await.success(), "{}", service.name);
    }
    world.deployment.commands.iter_mut().for_each(Service::start);
    for service in &mut world.deployment.commands {
        service.ready(&http).await;
    }
    let ready = Instant::now();
    faults::wait("every partition answers after the restart", || {
        client.all_answered(PLACES, ready)
    })
    .await;
    let answered = at.elapsed().as_secs_f64();
    let until = Instant::now() + RECOVERED_WITHIN;
    while !is_even(&world.deployment.commands, &http).await {
        assert!(Instant::now() < until, "the partitions are not spread evenly");
        tokio::time::sleep(PAUSE).await;
    }
    let after = epochs(&world.deployment.commands, &http).await;
    let fences: Vec<f64> = after
        .iter()
        .map(|(place, epoch)| epoch - before.get(place).copied().unwrap_or_default())
        .collect();
    let most = fences.iter().copied().fold(0.0, f64::max);
    let bound = f64::from(u32::try_from(world.deployment.commands.len()).unwrap()) + 1.0;
    assert!(
        most <= bound,
        "a restart of all made {most} fences on one partition, more than {bound}: {after:?} after \
         {before:?}"
    );
    let all: f64 = fences.iter().sum();
    format!(
        "restarted all: answered again after {answered:.2} s, {all} fences on {} partitions, \
         {most} at most on one",
        fences.len()
    )
}

/// Of every partition, by its labels, the highest epoch that an instance serves.
async fn epochs(services: &[Service], http: &reqwest::Client) -> BTreeMap<String, f64> {
    let mut epochs = BTreeMap::new();
    for service in services {
        for (labels, epoch) in service.metric(http, "highwater_owner_epoch").await {
            let highest: &mut f64 = epochs.entry(labels).or_default();
            *highest = highest.max(epoch);
        }
    }
    epochs
}

/// Whether every instance owns as many partitions of each category as every other, give or take
/// one.
async fn is_even(services: &[Service], http: &reqwest::Client) -> bool {
    let mut shares: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, service) in services.iter().enumerate() {
        for (labels, _) in service
            .metric(http, "highwater_owner_epoch")
            .await
            .into_iter()
            .filter(|(_, epoch)| *epoch > 0.0)
        {
            let category = labels
                .split(',')
                .find(|label| label.starts_with("category="))
                .unwrap_or_default()
                .to_owned();
            shares.entry(category).or_insert_with(|| vec![0; services.len()])[at] += 1;
        }
    }
    let even = |share: &Vec<usize>| {
        share.iter().max() <= share.iter().min().map(|least| least + 1).as_ref()
    };
    let whole = |share: &Vec<usize>| share.iter().sum::<usize>() == PARTITIONS;
    !shares.is_empty() && shares.values().all(|share| even(share) && whole(share))
}

async fn replace(service: &mut Service, http: &reqwest::Client) -> String {
    let at = Instant::now();
    service.terminate();
    let status = service.exited(ENDED_WITHIN).await;
    assert!(status.success(), "{} ended with {status}", service.name);
    let ended = at.elapsed().as_secs_f64();
    service.start();
    service.ready(http).await;
    format!(
        "replaced {}: ended after {ended:.2} s, ready again after {:.2} s",
        service.name,
        at.elapsed().as_secs_f64()
    )
}

/// What readers saw.
#[derive(Default)]
pub struct Reads {
    pub answered: usize,
    slowest: Duration,
    retries: BTreeMap<String, usize>,
    /// When a position was not reached in time.
    pub late: Vec<String>,
    /// What must never be seen.
    pub wrong: Vec<String>,
}

pub struct Readers {
    stop: CancellationToken,
    readers: Vec<JoinHandle<()>>,
    reads: Arc<Mutex<Reads>>,
}

impl Readers {
    pub fn begin(world: &World) -> Self {
        let (stop, reads) = (CancellationToken::new(), Arc::<Mutex<Reads>>::default());
        let targets: Vec<String> =
            world.deployment.queries.iter().map(|service| service.url.clone()).collect();
        let reader = |number: usize| {
            let (stop, reads, targets, load) =
                (stop.clone(), reads.clone(), targets.clone(), world.load.clone());
            let http = world.http.clone();
            tokio::spawn(async move { read(number, &http, &targets, &load, &reads, &stop).await })
        };
        let readers = (0..READERS).map(reader).collect();
        Self { stop, readers, reads }
    }

    pub async fn finish(self) -> Reads {
        self.stop.cancel();
        for reader in self.readers {
            reader.await.unwrap();
        }
        std::mem::take(&mut *self.reads.lock().unwrap())
    }
}

/// Reads what was acknowledged, at its position, from either query API in turn.
async fn read(
    number: usize,
    http: &reqwest::Client,
    targets: &[String],
    load: &Load,
    reads: &Mutex<Reads>,
    stop: &CancellationToken,
) {
    let (began, mut turn) = (Instant::now(), number);
    while !stop.is_cancelled() {
        tokio::time::sleep(PAUSE).await;
        let Some((id, known)) = load.any_known(turn) else { continue };
        // Another one of them in the next lap.
        let target = &targets[(turn + turn / AGGREGATES) % targets.len()];
        let url = format!("{target}/v1/{}s/{id}", known.category);
        turn += 1;
        let asked = Instant::now();
        let wait = match http
            .get(url)
            .header("Highwater-Min-Position", known.position.to_string())
            .send()
            .await
        {
            Ok(response) => {
                let (status, retry) =
                    (response.status().as_u16(), response.headers().contains_key("retry-after"));
                let body: Value = response.json().await.unwrap_or_default();
                let mut reads = reads.lock().unwrap();
                match (status, body["code"].as_str().unwrap_or("none")) {
                    (200, _) => {
                        reads.answered += 1;
                        reads.slowest = reads.slowest.max(asked.elapsed());
                    }
                    (503, code) if retry => {
                        *reads.retries.entry(format!("503 {code}")).or_default() += 1
                    }
                    // The caller asked for a position, and the tables were not there in time.
                    (504, "position.not-reached") => {
                        reads.late.push(format!(
                            "{:.1} s: {} {}",
                            began.elapsed().as_secs_f64(),
                            known.category,
                            known.position
                        ));
                    }
                    (status, code) => reads
                        .wrong
                        .push(format!("{status} {code} on a GET of {} {id}", known.category)),
                }
                if status == 200 { Duration::ZERO } else { LONGEST_RETRY_AFTER }
            }
            Err(error) => {
                let what =
                    if error.is_connect() { "connection refused" } else { "connection broken" };
                *reads.lock().unwrap().retries.entry(what.to_owned()).or_default() += 1;
                Duration::ZERO
            }
        };
        tokio::time::sleep(wait).await;
    }
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "reads: {} answered, within {:.2} s; {} not in time",
            self.answered,
            self.slowest.as_secs_f64(),
            self.late.len()
        )?;
        self.retries.iter().try_for_each(|(what, count)| write!(f, ", {count} times {what}"))?;
        self.late.iter().try_for_each(|late| write!(f, "\n  504 position.not-reached after {late}"))
    }
}
