//! One process with everything, and more commands than it can do: reads and health are answered
//! meanwhile.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

#[expect(dead_code, reason = "other tests look at more of an answer")]
#[path = "store_support/answer.rs"]
mod answer;
#[path = "store_support/build.rs"]
mod build;
#[path = "../support/documented.rs"]
mod documented;
#[expect(dead_code, reason = "other tests send more kinds of requests")]
#[path = "store_support/request.rs"]
mod request;
#[expect(dead_code, reason = "other tests start it as it is")]
#[path = "store_support/up.rs"]
mod up;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use documented::Row;
use highwater_http::server::BulkheadSettings;
use request::Request;
use reqwest::{Client, StatusCode};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use up::{Scratch, Up, command};

const PRODUCT: &str =
    r#"{"name":"Espresso beans","department":"GROCERY","unit_price_minor":1250,"currency":"EUR"}"#;
/// Together more than are let in, also by a process that has not found out yet how many are too
/// many.
const CONNECTIONS: usize = 60;
const STREAMS: usize = 30;
const READERS: usize = 8;
/// At least; then until as much was done, refused and read as the test asks for, which takes a
/// machine that does other things besides longer.
const FLOODED_FOR: Duration = Duration::from_secs(10);
const ENOUGH_COMMANDS: usize = 100;
const ENOUGH_READS: usize = 20;
/// How soon a client that was refused comes again.
const AGAIN: Duration = Duration::from_millis(50);
/// What a prober calls an outage: so many in a row that took longer than this. A machine that does
/// other things besides may keep any one of them waiting.
const FAILURES: usize = 3;
const PROBED_WITHIN: Duration = Duration::from_secs(5);
/// Longer than anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a read may wait for its turn, a connection and its rows: whether the flood keeps it out
/// is asked here, not how quick a build without the optimiser is on a machine that does other
/// things besides.
const TURNS: [&str; 6] = [
    "HTTP__READS__WAITING_MS",
    "HTTP__COLLECTIONS__WAITING_MS",
    "QUERY__LISTS__WAITING_MS",
    "QUERY__DATABASE__ACQUIRE_TIMEOUT_MS",
    "QUERY__DATABASE__STATEMENT_TIMEOUT_MS",
    "QUERY__DATABASE__PROBE_TIMEOUT_MS",
];

#[derive(Default)]
struct Counts {
    done: AtomicUsize,
    overloaded: AtomicUsize,
    read: AtomicUsize,
    /// What else became of reads.
    not_read: Mutex<Vec<String>>,
}

fn count(of: &AtomicUsize) {
    of.fetch_add(1, Ordering::Relaxed);
}

async fn flood(client: Client, url: String, counts: Arc<Counts>) {
    loop {
        let sent =
            client.post(&url).header("Content-Type", "application/json").body(PRODUCT).send().await;
        let overloaded = sent.is_ok_and(|answer| {
            count(if answer.status().is_success() { &counts.done } else { &counts.overloaded });
            !answer.status().is_success()
        });
        if overloaded {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

async fn read(client: Client, url: String, counts: Arc<Counts>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let not_read = match client.get(&url).send().await {
            Ok(answer) if answer.status() == StatusCode::OK => None,
            Ok(answer) => {
                Some(format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default()))
            }
            Err(error) => Some(error.to_string()),
        };
        match not_read {
            None => count(&counts.read),
            Some(why) => counts.not_read.lock().unwrap().push(why),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How long each probe took.
async fn probe(client: Client, url: String, stop: CancellationToken) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        took.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_commands_leaves_reads_and_health_answered() {
    let scratch = Scratch::new("flood");
    let turns = TURNS.map(|name| (format!("HIGHWATER__{name}"), "20000"));
    let up = Up::of(command(&scratch).args(["--listen", "127.0.0.1:0"]).envs(turns));
    let made = Request::post("/v1/products", PRODUCT).send(&up.address);
    let (location, position) =
        (made.header("location").unwrap(), made.header("highwater-position").unwrap());
    assert_eq!(
        Request::get(location)
            .header("Highwater-Min-Position", position)
            .send(&up.address)
            .status(),
        200
    );

    let (counts, stop) = (Arc::new(Counts::default()), CancellationToken::new());
    let url = |path: &str| format!("http://{}{path}", up.address);
    let client = || Client::builder().no_proxy().timeout(PATIENCE);
    let mut flooding = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let client = client().http2_prior_knowledge().build().unwrap();
        for _ in 0..STREAMS {
            flooding.spawn(flood(client.clone(), url("/v1/products"), Arc::clone(&counts)));
        }
    }
    let asking = client().build().unwrap();
    let prober = tokio::spawn(probe(asking.clone(), url("/livez"), stop.clone()));
    let mut reading = JoinSet::new();
    for number in 0..READERS {
        let path = if number % 2 == 0 { location } else { "/v1/products?limit=10" };
        reading.spawn(read(asking.clone(), url(path), Arc::clone(&counts), stop.clone()));
    }
    tokio::time::sleep(FLOODED_FOR).await;
    let is_enough = || {
        counts.done.load(Ordering::Relaxed) > ENOUGH_COMMANDS
            && counts.overloaded.load(Ordering::Relaxed) > ENOUGH_COMMANDS
            && counts.read.load(Ordering::Relaxed) > ENOUGH_READS
    };
    let enough = async {
        while !is_enough() {
            tokio::time::sleep(AGAIN).await;
        }
    };
    // What is missing then is told below.
    let _ = tokio::time::timeout(PATIENCE, enough).await;
    let metrics = asking.get(url("/metrics")).send().await.unwrap().text().await.unwrap();
    let limit = metrics.lines().find_map(|line| {
        line.strip_prefix("highwater_http_limit{class=\"commands\"} ")?.parse::<usize>().ok()
    });
    stop.cancel();
    while let Some(read) = reading.join_next().await {
        read.unwrap();
    }
    let probes = prober.await.unwrap();
    let longest = probes.iter().max().copied();
    flooding.shutdown().await;

    let [done, overloaded, read] =
        [&counts.done, &counts.overloaded, &counts.read].map(|count| count.load(Ordering::Relaxed));
    let not_read = counts.not_read.lock().unwrap().clone();
    let told = format!(
        "{done} commands done and {overloaded} refused; {read} reads answered, not \
                        {not_read:?}; /livez within {longest:?}"
    );
    println!("{told}");
    assert!(
        done > ENOUGH_COMMANDS && overloaded > ENOUGH_COMMANDS,
        "it was no flood, or nothing was done: {told}"
    );
    assert!(read > ENOUGH_READS && not_read.len() * 100 <= read, "{told}");
    assert!(
        !probes.windows(FAILURES).any(|row| row.iter().all(|took| *took > PROBED_WITHIN)),
        "{told}"
    );
    assert!(
        limit.is_some_and(|limit| limit < BulkheadSettings::default().limit.get()),
        "{limit:?} \
        commands are let in at once: {told}"
    );
    let row = Row {
        id: "W5",
        situation: "one process with everything, built without the optimiser; 1,800 commands at \
                    once, each sent again when it is refused; reads may wait 20 s for their turn, \
                    a connection and their rows",
        answer: "at least 99 % of the reads are 200, and `/livez` as ever; commands beyond what is \
                 answered within 200 ms wait their turn or are 503 `overloaded`. How quick a \
                 production build with the defaults is beside floods, `bin/bench attack` measures \
                 (performance.md)",
        test: (file!(), "a_flood_of_commands_leaves_reads_and_health_answered"),
    };
    row.check();
    drop(up.stop());
}
