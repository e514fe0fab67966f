//! The command queue while others fail: commands are sent to one instance with `Prefer:
//! respond-async`, the other is stopped or killed or a broker is killed while the command queue is
//! deep, and every 202 gets its outcome, once.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use highwater_runtime::clock::{Ids, SystemIds};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};
use uuid::Uuid;

use super::{
    World,
    faults::{self, ENDED_WITHIN, RECOVERED_WITHIN},
    load::PRINCIPAL,
    log::LogRead,
};

/// Requests at the same time.
const CONNECTIONS: usize = 4;
const CATEGORY: &str = "product";
/// Longer than a broker's partitions are without a leader.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Every command API but the one that is asked: SIGSTOP, until all commands are accepted.
    StopOthers,
    /// A broker, and with it the leader of a third of the partitions; it is started again when all
    /// commands are accepted.
    KillBroker,
    /// As `StopOthers`, so that the command queue of half of the partitions grows deep; then kill
    /// -9 of the owner, which is started again at once.
    KillOthers,
}

pub const ONE_OF_EACH: [Trouble; 3] =
    [Trouble::StopOthers, Trouble::KillBroker, Trouble::KillOthers];

/// One command that was accepted.
pub struct Accepted {
    key: String,
    location: String,
}

/// What one run of commands came to.
pub struct Run {
    trouble: Trouble,
    pub accepted: Vec<Accepted>,
    /// Until a 202, each from its first sending; sorted.
    waited: Vec<Duration>,
    /// Accepted and without an outcome when four fifths were accepted, before anything is killed or
    /// healed.
    deep: usize,
    all_done_after: Duration,
    /// What must never be seen.
    pub wrong: Vec<String>,
}

#[derive(Default)]
struct Seen {
    accepted: Vec<Accepted>,
    waited: Vec<Duration>,
    wrong: Vec<String>,
}

/// Sends `commands` of them, brings the trouble after a tenth, kills when the command queue is
/// deep, and waits for every outcome.
pub async fn run(world: &mut World, trouble: Trouble, number: usize, commands: usize) -> Run {
    let began = Instant::now();
    let (seen, next) = (Arc::<Mutex<Seen>>::default(), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (seen, next) = (seen.clone(), next.clone());
        let (http, url) = (world.http.clone(), world.deployment.commands[0].url.clone());
        workers.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < commands {
                send(&http, &url, &seen).await;
            }
        });
    }
    faults::wait("some commands are accepted", || {
        seen.lock().unwrap().accepted.len() >= commands / 10
    })
    .await;
    begin(world, trouble, number).await;
    faults::wait("most commands are accepted", || {
        seen.lock().unwrap().accepted.len() >= commands / 5 * 4
    })
    .await;
    let locations: Vec<String> =
        seen.lock().unwrap().accepted.iter().map(|accepted| accepted.location.clone()).collect();
    let deep = pending(world, &locations).await;
    if trouble == Trouble::KillOthers {
        for service in &mut world.deployment.commands[1..] {
            service.kill();
            service.exited(ENDED_WITHIN).await;
            service.start();
        }
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    end(world, trouble, number).await;
    let Seen { accepted, mut waited, mut wrong } = std::mem::take(&mut *seen.lock().unwrap());
    for accepted in &accepted {
        let done = outcome(world, &accepted.location).await;
        if done["state"] != "succeeded" {
            wrong.push(format!("{}: {done}", accepted.location));
        }
    }
    waited.sort();
    Run { trouble, accepted, waited, deep, all_done_after: began.elapsed(), wrong }
}

/// Every command of `runs` is in the log once, and what it made has the id that its key gives it.
pub fn differences(world: &World, runs: &[Run], log: &LogRead) -> Vec<String> {
    let keys = &world.deployment.keys;
    let of = |accepted: &Accepted| {
        let aggregate = keys.create_id(PRINCIPAL, CATEGORY, &accepted.key);
        keys.command_id(PRINCIPAL, CATEGORY, aggregate, &accepted.key)
    };
    let times = |command: Uuid| log.by_command.get(&command).map_or(0, Vec::len);
    let commands = runs.iter().flat_map(|run| &run.accepted).map(of);
    let wrong = commands.filter(|command| times(*command) != 1);
    wrong
        .map(|command| format!("command {command} is in the log {} times", times(command)))
        .collect()
}

async fn send(http: &reqwest::Client, url: &str, seen: &Mutex<Seen>) {
    let key = SystemIds.v4().to_string();
    let body = json!({
        "name": "Espresso beans", "department": "GROCERY", "unit_price_minor": 1250,
        "currency": "EUR",
    });
    let began = Instant::now();
    let sent = http
        .post(format!("{url}/v1/products"))
        .header("Idempotency-Key", &key)
        .header("Prefer", "respond-async")
        .json(&body);
    let answer = sent.timeout(ANSWERED_WITHIN).send().await;
    let mut seen = seen.lock().unwrap();
    match answer {
        Ok(response) if response.status().as_u16() == 202 => {
            let location = response
                .headers()
                .get("location")
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned();
            seen.accepted.push(Accepted { key, location });
            seen.waited.push(began.elapsed());
        }
        Ok(response) => seen.wrong.push(format!("{} instead of 202", response.status())),
        Err(error) => seen.wrong.push(error.to_string()),
    }
}

async fn begin(world: &World, trouble: Trouble, number: usize) {
    match trouble {
        Trouble::StopOthers | Trouble::KillOthers => {
            world.deployment.commands[1..].iter().for_each(|service| service.signal("-STOP"));
        }
        Trouble::KillBroker => world.deployment.kafka.kill(number).await,
    }
}

async fn end(world: &mut World, trouble: Trouble, number: usize) {
    match trouble {
        Trouble::StopOthers => {
            world.deployment.commands[1..].iter().for_each(|service| service.signal("-CONT"))
        }
        Trouble::KillBroker => world.deployment.kafka.restart(number).await,
        Trouble::KillOthers => {
            for service in &mut world.deployment.commands[1..] {
                service.ready(&world.http).await;
            }
        }
    }
}

/// How many of them have no outcome yet.
async fn pending(world: &World, locations: &[String]) -> usize {
    let mut pending = 0;
    for location in locations {
        pending += usize::from(
            ask(world, location, "wait=0").await.is_none_or(|state| state["state"] == "pending"),
        );
    }
    pending
}

/// Waits for it.
async fn outcome(world: &World, location: &str) -> Value {
    let until = Instant::now() + RECOVERED_WITHIN;
    loop {
        let state = ask(world, location, "wait=10").await;
        match state {
            Some(state) if state["state"] != "pending" => return state,
            state => assert!(Instant::now() < until, "{location} has no outcome: {state:?}"),
        }
    }
}

/// The operation, unless the query API cannot say.
async fn ask(world: &World, location: &str, prefer: &str) -> Option<Value> {
    let url = format!("{}{location}", world.deployment.queries[0].url);
    let answer = world.http.get(url).header("Prefer", prefer).send().await.unwrap();
    let known = answer.status().is_success();
    let body = answer.json().await.unwrap();
    known.then_some(body)
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent: usize| {
            self.waited
                .get((self.waited.len() * percent / 100).min(self.waited.len().saturating_sub(1)))
        };
        let ms = |percent| at(percent).map_or(0, Duration::as_millis);
        let Self { trouble, accepted, deep, all_done_after, wrong, .. } = self;
        write!(
            f,
            "{trouble:?}: {} times 202 after p50 {} ms, p99 {} ms, at most {} ms",
            accepted.len(),
            ms(50),
            ms(99),
            ms(100)
        )?;
        write!(
            f,
            "; {deep} of four fifths without an outcome; all done after {:.1} s",
            all_done_after.as_secs_f64()
        )?;
        wrong.iter().take(3).try_for_each(|wrong| write!(f, "; {wrong}"))
    }
}
