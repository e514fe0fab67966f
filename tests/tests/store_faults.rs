//! Owners and projectors die under load, on three real brokers, and nothing is lost or doubled.
//!
//! Two command APIs, two projectors and one query API are processes of their own, built from this
//! checkout. A client keeps every answer while processes are killed (`kill -9`) and stopped
//! (SIGTERM). Then every answer is held against the log, the log against the audit, the tables
//! against a fold of their own, and the query API against what was acknowledged.
//!
//! On the same deployment, commands that are only accepted are done once while a broker dies, too.
//! A second deployment is replaced process by process, as an orchestrator does it, and clients see
//! nothing worse than 503.
//!
//! One fault of each kind and one round by default, at a fixed rate; `HIGHWATER_FAULTS=full` does
//! all of it three times, with a third command API and 64 commands in flight,
//! `HIGHWATER_FAULTS=owners` kills and stops owners twenty times each, `owners=N` N times;
//! `standby` and `standby=N` kill them beside an instance that was started a moment ago; `queue` is
//! ten runs of 1,000 queued commands. `HIGHWATER_FAULTS_BEFORE=DIR` begins the rolling deploy with
//! other binaries. What such runs printed is in `docs/faults.md`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "whatever cannot be set up must fail the test"
)]

#[path = "store_support/build.rs"]
mod build;
#[path = "../support/documented.rs"]
mod documented;

#[path = "store_faults/answers.rs"]
mod answers;
#[path = "store_faults/client.rs"]
mod client;
#[path = "store_faults/command_queue.rs"]
mod command_queue;
#[path = "store_faults/deployment.rs"]
mod deployment;
#[path = "store_faults/faults.rs"]
mod faults;
#[path = "store_faults/kafka.rs"]
mod kafka;
#[path = "store_faults/load.rs"]
mod load;
#[path = "store_faults/log.rs"]
mod log;
#[path = "store_faults/process.rs"]
mod process;
#[path = "store_faults/rolling.rs"]
mod rolling;
#[path = "store_faults/summary.rs"]
mod summary;
#[path = "store_faults/tables.rs"]
mod tables;
#[path = "store_faults/views.rs"]
mod views;

use std::{process::Command, sync::Arc};

use client::{Client, Running, Sent};
use deployment::{Deployment, Size};
use documented::Row;
use faults::{Fault, Faults, ONE_OF_EACH};
use highwater_log::{KafkaLog, RawReader, kafka::Settings};
use highwater_runtime::identity::DeploymentKeys;
use load::Load;
use log::{LogRead, PLACES};
use summary::Summary;
use tokio::sync::Mutex;

/// Below this the run shows nothing about load.
const LEAST_RATE: f64 = 300.0;
/// Commands a second of the open loop under which everything is replaced, in the long runs.
const OFFERED: u32 = 310;
/// How many of them may be without an answer.
const MOST_IN_FLIGHT: usize = 1_000;
/// Of the short ones, which share the machine with other tests. No more are in flight than in a
/// closed loop: a thousand that are sent again five times a second are a storm that a build without
/// the optimiser does not come out of.
const OFFERED_BESIDE_OTHERS: u32 = 40;
/// Seconds for which a partition may be without an answer, p99 of the worst one over the
/// take-overs, the return of the process included.
const MOST_AFTER_KILL: f64 = 2.0;
const MOST_AFTER_TERM: f64 = 1.0;
/// How long a process may take to stop.
const ENDED_WITHIN: std::time::Duration = std::time::Duration::from_secs(40);
/// The tests of this file share one machine, and each needs all of it.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Whether a run was asked for that has the machine for itself.
fn asked() -> bool {
    std::env::var_os("HIGHWATER_FAULTS").is_some()
}

fn full() -> bool {
    std::env::var("HIGHWATER_FAULTS").is_ok_and(|value| value == "full")
}

/// What `bin/test` runs beside all other tests.
mod apart {
    use super::*;

    /// On one deployment, because starting another one takes longer than most of what is done to
    /// it: processes die under load; then commands are only accepted while others fail; then a
    /// broker dies while processes start.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn owners_projectors_and_a_broker_die_under_load_and_nothing_is_lost_or_doubled() {
        let _alone = ALONE.lock().await;
        let asked = std::env::var("HIGHWATER_FAULTS").unwrap_or_default();
        let mut world =
            World::start(Size { commands: 2, projectors: 2, queries: 1, upgraded: false }).await;
        if asked != "queue" {
            owners_and_projectors_die(&mut world).await;
        }
        if number("owners").is_some() || number("standby").is_some() {
            return;
        }
        let (runs, commands) =
            if asked == "queue" { (10, 1_000) } else { (command_queue::ONE_OF_EACH.len(), 200) };
        what_is_accepted_while_others_fail_is_done_once(&mut world, runs, commands).await;
        if asked != "queue" {
            what_is_started_when_a_broker_has_died_waits_for_the_log(&mut world).await;
        }
    }

    /// Every process is replaced, one after another, while clients send commands and read what came
    /// of them.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_process_is_replaced_under_load_and_clients_see_nothing_worse_than_503() {
        let _alone = ALONE.lock().await;
        let rounds = if full() { 3 } else { 1 };
        let commands = if full() { 3 } else { 2 };
        let mut world =
            World::start(Size { commands, projectors: 2, queries: 2, upgraded: true }).await;
        let running = begin(&world, |client| client.begin_at(OFFERED, MOST_IN_FLIGHT));
        let readers = rolling::Readers::begin(&world);
        let mut replaced = rolling::replace_all(&mut world, &running, rounds).await;
        replaced.push(rolling::restart_all(&mut world, &running).await);
        let reads = readers.finish().await;
        let (client, sent, lasted) = running.finish().await;
        let found = world.check(&client, &sent).await;
        let summary = Summary::of(&[], &sent, &found.log, lasted);
        println!("{}\n{reads}\n{summary}\n{}", replaced.join("\n"), found.audit);
        assert!(reads.wrong.is_empty(), "{}", shown("readers saw", &reads.wrong));
        assert!(reads.answered > 0, "no reader was answered, so the run does not count");
        // A machine without free processors keeps no reader's 2 s; one that keeps the rate does.
        let late = if full() { 0 } else { reads.answered / 20 };
        assert!(
            reads.late.len() <= late,
            "{} of {} reads were not in time",
            reads.late.len(),
            reads.answered
        );
        // Each partition moves at most twice when its owner goes, and twice when it is back.
        let most = PLACES * (commands * rounds + 2) * 4;
        assert!(
            found.log.fences <= u64::try_from(most).unwrap(),
            "{} fences are more than {most}",
            found.log.fences
        );
        assert!(
            !full() || summary.rate() >= LEAST_RATE,
            "{:.0} commands a second are less than {LEAST_RATE}",
            summary.rate()
        );
    }
}

async fn owners_and_projectors_die(world: &mut World) {
    let schedule = schedule();
    let running = begin(world, Client::begin);
    let mut faults = Faults {
        deployment: &mut world.deployment,
        reader: world.reader.clone(),
        load: world.load.clone(),
        http: world.http.clone(),
    };
    let mut injected = faults.inject(&schedule, &running).await;
    let (client, sent, lasted) = running.finish().await;
    faults::measure(&mut injected, &sent);
    let found = world.check(&client, &sent).await;
    let summary = Summary::of(&injected, &sent, &found.log, lasted);
    println!("{summary}\n{}", found.audit);
    for fault in injected.iter().filter(|fault| fault.is_of_an_owner()) {
        assert!(
            fault.unanswered_there > 0,
            "nothing was unanswered there, so the run does not count: {fault}"
        );
    }
    // What else runs on the machine of a short run is not known, and its safety does not depend
    // on it.
    assert!(
        !full() || summary.rate() >= LEAST_RATE,
        "{:.0} commands a second are less than {LEAST_RATE}: the run does not count",
        summary.rate()
    );
    if number("owners").is_some() || number("standby").is_some() {
        for take_overs in summary.take_overs() {
            let most = if take_overs.fault == Fault::StopOwner {
                MOST_AFTER_TERM
            } else {
                MOST_AFTER_KILL
            };
            let [_, p99, _] = take_overs.worst;
            assert!(
                p99 < most,
                "{p99:.2} s without an answer are not below {most} s: {take_overs}"
            );
        }
    }
    planted(&world.deployment.keys, sent, found.log, &found.expected, found.stored);
}

/// Commands that only have to be accepted, while an instance is stopped or killed or a broker is
/// killed: each 202 is done once.
async fn what_is_accepted_while_others_fail_is_done_once(
    world: &mut World,
    runs: usize,
    commands: usize,
) {
    let mut done = Vec::new();
    for number in 0..runs {
        let trouble = command_queue::ONE_OF_EACH[number % command_queue::ONE_OF_EACH.len()];
        let run = command_queue::run(world, trouble, number, commands).await;
        println!("{run}");
        assert!(
            run.wrong.is_empty() && run.accepted.len() == commands,
            "{}",
            shown("clients saw", &run.wrong)
        );
        done.push(run);
    }
    let ends = log::ends(&*world.reader).await;
    faults::caught_up(&world.deployment.pool, &ends).await;
    let mut log = log::read(&*world.reader).await;
    let differences = command_queue::differences(world, &done, &log);
    assert!(
        differences.is_empty(),
        "{}",
        shown("what was accepted and the log differ", &differences)
    );
    let audit = audit(&world.deployment)
        .unwrap_or_else(|found| panic!("store audit found differences:\n{found}"));
    println!("{audit}");
    // The check must be able to fail.
    log.by_command.clear();
    assert_eq!(command_queue::differences(world, &done, &log).len(), runs * commands);
}

/// A broker dies, and what is started in that moment waits until its partitions have other leaders.
async fn what_is_started_when_a_broker_has_died_waits_for_the_log(world: &mut World) {
    let (deployment, http) = (&mut world.deployment, &world.http);
    for broker in 0..if full() { 3 } else { 1 } {
        deployment.projectors[1].terminate();
        deployment.projectors[1].exited(ENDED_WITHIN).await;
        deployment.kafka.kill(broker).await;
        deployment.standby.start();
        deployment.projectors[1].start();
        // Fails when the process ends instead.
        deployment.standby.ready(http).await;
        deployment.projectors[1].ready(http).await;
        deployment.standby.terminate();
        deployment.standby.exited(ENDED_WITHIN).await;
        deployment.kafka.restart(broker).await;
    }
    Row {
        id: "S2",
        situation: "a command-api and projectors started when one of three brokers has just died",
        answer: "they wait for the log (`start.wait_ms`, a minute) and become ready; what is \
                 unreachable after that ends them with 3",
        test: (
            "tests/tests/store_faults.rs",
            "owners_projectors_and_a_broker_die_under_load_and_nothing_is_lost_or_doubled",
        ),
    }
    .check();
}

/// The load: `long` in the runs that are asked for, a fixed rate in the one beside other tests.
fn begin(world: &World, long: impl FnOnce(Client) -> Running) -> Running {
    if asked() {
        long(world.client())
    } else {
        world.client().begin_at(OFFERED_BESIDE_OTHERS, client::IN_FLIGHT)
    }
}

/// N of `HIGHWATER_FAULTS=what=N`; 20 if it only says `what`.
fn number(what: &str) -> Option<usize> {
    let asked = std::env::var("HIGHWATER_FAULTS").unwrap_or_default();
    Some(asked.strip_prefix(what)?.trim_start_matches('=').parse().unwrap_or(20))
}

fn schedule() -> Vec<Fault> {
    if let Some(number) = number("owners") {
        return std::iter::repeat_n([Fault::KillOwner, Fault::StopOwner], number)
            .flatten()
            .collect();
    }
    if let Some(number) = number("standby") {
        return vec![Fault::KillBesideStandby; number];
    }
    std::iter::repeat_n(ONE_OF_EACH, if full() { 3 } else { 1 }).flatten().collect()
}

/// A deployment, and what a test needs to send to it and to look into it.
struct World {
    deployment: Deployment,
    reader: Arc<dyn RawReader>,
    load: Arc<Load>,
    http: reqwest::Client,
}

/// What was found out of order is asserted; the rest is here.
struct Found {
    log: LogRead,
    audit: String,
    expected: tables::Rows,
    stored: tables::Rows,
}

impl World {
    async fn start(size: Size) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let deployment = Deployment::start(&http, size).await;
        let brokers = Settings { lookups: 1, ..Settings::new(&deployment.kafka.bootstrap) };
        let reader: Arc<dyn RawReader> = Arc::new(
            tokio::task::spawn_blocking(|| KafkaLog::new(brokers)).await.unwrap().unwrap(),
        );
        let load = Arc::new(Load::new(
            DeploymentKeys::load(&deployment.folder.path().join("keys")).unwrap(),
        ));
        Self { deployment, reader, load, http }
    }

    fn client(&self) -> Client {
        Client::new(
            self.deployment.commands.iter().map(|service| service.url.clone()).collect(),
            self.load.clone(),
        )
    }

    /// Holds every answer against the log, the log against the audit and the tables, the query API
    /// against what was acknowledged.
    async fn check(&self, client: &Client, sent: &[Sent]) -> Found {
        let again = again(client, sent).await;
        let ends = log::ends(&*self.reader).await;
        faults::caught_up(&self.deployment.pool, &ends).await;
        let log = log::read(&*self.reader).await;
        let known = self.load.known();
        let seen = views::read(&self.deployment.queries[0].url, &self.http, &known).await;
        let stored = tables::stored(&self.deployment.pool).await;
        let audit = audit(&self.deployment);

        let wrong = answers::wrong_answers(sent);
        assert!(wrong.is_empty(), "{}", shown("clients saw", &wrong));
        let differences = answers::differences(&self.deployment.keys, sent, &log);
        assert!(differences.is_empty(), "{}", shown("answers and log differ", &differences));
        let others = answers::others(sent, &again);
        assert!(
            others.is_empty(),
            "{}",
            shown("a repeated command was answered otherwise", &others)
        );
        let audit = audit.unwrap_or_else(|found| panic!("store audit found differences:\n{found}"));
        let expected = tables::expected(&log);
        let differences = tables::differences(&expected, &stored);
        assert!(differences.is_empty(), "{}", shown("tables and log differ", &differences));
        let differences = views::differences(&known, &seen);
        assert!(differences.is_empty(), "{}", shown("the query API differs", &differences));
        Found { log, audit, expected, stored }
    }
}

/// Some acknowledged commands, sent once more with their keys.
async fn again(client: &Client, sent: &[Sent]) -> Vec<Sent> {
    let mut again = Vec::new();
    let recorded: Vec<&Sent> = sent.iter().filter(|sent| sent.answer.status != 412).collect();
    for sent in recorded.iter().step_by((recorded.len() / 200).max(1)) {
        again.push(client.settle(sent.request.clone()).await);
    }
    again
}

/// The checks must be able to fail: each finds what is planted here.
fn planted(
    keys: &DeploymentKeys,
    mut sent: Vec<Sent>,
    mut log: LogRead,
    expected: &tables::Rows,
    mut stored: tables::Rows,
) {
    for at in [0, sent.len() / 2] {
        let status = std::mem::replace(&mut sent[at].answer.status, 500);
        assert_eq!(answers::wrong_answers(&sent).len(), 1);
        sent[at].answer.status = status;
    }
    let recorded = sent.iter().position(|sent| sent.answer.status == 409).unwrap();
    sent[recorded].answer.position.as_mut().unwrap().offset += 1;
    assert_eq!(answers::differences(keys, &sent, &log).len(), 1, "another position");
    sent[recorded].answer.position.as_mut().unwrap().offset -= 1;
    sent[recorded].answer.etag = Some("\"v999999\"".to_owned());
    assert_eq!(answers::differences(keys, &sent, &log).len(), 1, "another version");
    let command = answers::command_id(keys, &sent.remove(recorded));
    assert_eq!(answers::differences(keys, &sent, &log).len(), 1, "a command that no client sent");
    log.outcomes.retain(|outcome| outcome.command != command);
    log.index();
    assert_eq!(answers::differences(keys, &sent, &log), Vec::<String>::new());
    let twice = log.outcomes[0].clone();
    let lost = log.outcomes.pop().unwrap();
    log.outcomes.push(twice);
    log.index();
    assert_eq!(
        answers::differences(keys, &sent, &log).len(),
        2,
        "one twice, and {} not at all",
        lost.command
    );

    for table in ["orders", "catalog", "snapshots", "outcomes"] {
        let key = *expected.keys().find(|(of, _)| *of == table).unwrap();
        let mut row = stored.remove(&key).unwrap();
        assert_eq!(tables::differences(expected, &stored).len(), 1, "a row of {table} is missing");
        row["version"] = serde_json::json!(0);
        stored.insert(key, row);
        assert_eq!(tables::differences(expected, &stored).len(), 1, "a row of {table} is another");
        stored.insert(key, expected[&key].clone());
    }
}

/// `store audit` on its own: its report, as an error when it found something.
fn audit(deployment: &Deployment) -> Result<String, String> {
    let mut audit = Command::new(deployment.folder.path().join("bin/store"));
    let output = audit.args(["audit", "--kafka", &deployment.kafka.bootstrap]).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(report)
    } else {
        Err(report + &String::from_utf8_lossy(&output.stderr))
    }
}

fn shown(what: &str, differences: &[String]) -> String {
    format!(
        "{what}, {} times:\n{}",
        differences.len(),
        differences.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    )
}
