//! A client that keeps every answer: sends to either command-api in turn, retries with the same key
//! until the answer is final.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::{Response, header::HeaderMap};
use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::load::{AGGREGATES, Load, Request};

pub const IN_FLIGHT: usize = 64;
/// `Retry-After` is honoured up to this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_millis(200);
/// The command API answers after 5 s at the latest; a process under load a little later.
const SILENT_AFTER: Duration = Duration::from_secs(30);
/// A command without a final answer so long after the end of the load fails the run.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

/// Category and partition.
pub type Place = (&'static str, u32);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub category: String,
    pub partition: u32,
    pub offset: u64,
}

/// A command with everything that came back.
#[derive(Clone, Debug)]
pub struct Sent {
    pub request: Request,
    pub began: Instant,
    pub attempts: Vec<Attempt>,
    pub answer: Answer,
}

/// What became of one sending that was not the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// 503 with `Retry-After`, and its code.
    Later(String),
    /// Nothing listened.
    Refused,
    /// The connection ended without an answer.
    Broken,
    /// What must never be seen.
    Wrong(String),
}

/// A final answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub etag: Option<String>,
    pub position: Option<Position>,
    pub replayed: bool,
    pub at: Instant,
}

pub struct Client {
    http: reqwest::Client,
    targets: Vec<String>,
    load: Arc<Load>,
    turn: AtomicUsize,
    /// Commands that were sent and not answered, with the target that has them now.
    open: Mutex<HashMap<usize, usize>>,
    sent: Mutex<Vec<Sent>>,
    /// When each partition answered last.
    answered: Mutex<BTreeMap<Place, Instant>>,
}

/// The running load.
pub struct Running {
    pub client: Arc<Client>,
    pub began: Instant,
    stop: CancellationToken,
    workers: JoinSet<()>,
}

impl Answer {
    /// Out of the body of a success, or the ETag of a rejection.
    pub fn version(&self) -> Option<u64> {
        let tag = || self.etag.as_deref()?.trim_matches('"').strip_prefix('v')?.parse().ok();
        self.body.get("version").and_then(Value::as_u64).or_else(tag)
    }

    pub fn events(&self) -> Vec<&str> {
        let events = self.body.get("events").and_then(Value::as_array);
        events.into_iter().flatten().filter_map(|event| event.get("type")?.as_str()).collect()
    }
}

impl Position {
    /// `category/partition@offset`.
    pub fn parse(text: &str) -> Option<Self> {
        let (category, rest) = text.split_once('/')?;
        let (partition, offset) = rest.split_once('@')?;
        Some(Self {
            category: category.to_owned(),
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}@{}", self.category, self.partition, self.offset)
    }
}

impl Client {
    pub fn new(targets: Vec<String>, load: Arc<Load>) -> Self {
        let http = reqwest::Client::builder().timeout(SILENT_AFTER).no_proxy().build().unwrap();
        let (turn, open) = (AtomicUsize::new(0), Mutex::default());
        Self { http, targets, load, turn, open, sent: Mutex::default(), answered: Mutex::default() }
    }

    /// A closed loop: each answer makes room for the next command.
    pub fn begin(self) -> Running {
        let (client, stop, mut workers) =
            (Arc::new(self), CancellationToken::new(), JoinSet::new());
        for _ in 0..IN_FLIGHT {
            let (client, stop) = (client.clone(), stop.clone());
            workers.spawn(async move {
                while !stop.is_cancelled() {
                    client.send_next().await;
                }
            });
        }
        Running { client, began: Instant::now(), stop, workers }
    }

    /// As fast as answers come until every aggregate is there, then an open loop: so many commands
    /// a second, whatever is answered, until `most` are not: those keep the next one from being
    /// sent.
    pub fn begin_at(self, per_second: u32, most: usize) -> Running {
        let (client, stop, mut workers) =
            (Arc::new(self), CancellationToken::new(), JoinSet::new());
        let (sender, stopping) = (client.clone(), stop.clone());
        workers.spawn(async move {
            let (mut due, mut sending) =
                (tokio::time::interval(Duration::from_secs(1) / per_second), JoinSet::new());
            let mut all_there = false;
            while !stopping.is_cancelled() {
                if !all_there && sender.load.known().len() >= AGGREGATES {
                    all_there = true;
                    due.reset();
                }
                if all_there {
                    due.tick().await;
                } else if sending.len() >= IN_FLIGHT {
                    sending.join_next().await.expect("some are in flight").unwrap();
                }
                while let Some(ended) = sending.try_join_next() {
                    ended.unwrap();
                }
                if sending.len() >= most {
                    sending.join_next().await.expect("some are in flight").unwrap();
                }
                let client = sender.clone();
                sending.spawn(async move { client.send_next().await });
            }
            sending.join_all().await;
        });
        Running { client, began: Instant::now(), stop, workers }
    }

    async fn send_next(&self) {
        let sent = self.settle(self.load.next()).await;
        self.load.learn(&sent.request, &sent.answer);
        self.sent.lock().unwrap().push(sent);
    }

    /// Commands that are sent and not answered: all, and those that `target` has.
    pub fn open(&self, target: usize) -> (usize, usize) {
        let open = self.open.lock().unwrap();
        (open.len(), open.values().filter(|at| **at == target).count())
    }

    /// Whether all `partitions` answered after `since`.
    pub fn all_answered(&self, partitions: usize, since: Instant) -> bool {
        let answered = self.answered.lock().unwrap();
        answered.values().filter(|at| **at > since).count() >= partitions
    }

    pub fn count(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    /// Sends until the answer is final.
    pub async fn settle(&self, request: Request) -> Sent {
        let (began, number) = (Instant::now(), self.turn.fetch_add(1, Ordering::Relaxed));
        let (mut target, mut attempts) = (number % self.targets.len(), Vec::new());
        loop {
            self.open.lock().unwrap().insert(number, target);
            let answered = self.send(target, &request).await;
            self.open.lock().unwrap().remove(&number);
            let (attempt, wait) = match answered {
                Ok(answer) => {
                    self.answered.lock().unwrap().insert(request.place, answer.at);
                    return Sent { request, began, attempts, answer };
                }
                Err(unfinished) => unfinished,
            };
            if matches!(attempt, Attempt::Refused | Attempt::Broken) {
                target = (target + 1) % self.targets.len();
            }
            attempts.push(attempt);
            tokio::time::sleep(wait).await;
        }
    }

    /// One sending: the final answer, or what else happened and how long to wait.
    async fn send(&self, target: usize, request: &Request) -> Result<Answer, (Attempt, Duration)> {
        let mut post = self.http.post(format!("{}{}", self.targets[target], request.path()));
        post = post
            .header("Idempotency-Key", &request.key)
            .header("Content-Type", request.media_type())
            .json(&request.body);
        if let Some(version) = request.if_match {
            post = post.header("If-Match", format!("\"v{version}\""));
        }
        let received = match post.send().await {
            Ok(response) => read(response).await,
            Err(error) => Err(error),
        };
        let (status, headers, body) = match received {
            Ok(received) => received,
            Err(error) if error.is_connect() => {
                return Err((Attempt::Refused, Duration::from_millis(10)));
            }
            Err(error) if error.is_timeout() => {
                return Err((Attempt::Wrong("no answer within 30 s".to_owned()), Duration::ZERO));
            }
            Err(_) => return Err((Attempt::Broken, Duration::ZERO)),
        };
        if status < 500 {
            return Ok(answer(status, &headers, body));
        }
        let seconds = text(&headers, "retry-after")
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs);
        match seconds {
            Some(wait) if status == 503 => {
                let code = body.get("code").and_then(Value::as_str).unwrap_or("none").to_owned();
                Err((Attempt::Later(code), wait.min(LONGEST_RETRY_AFTER)))
            }
            _ => Err((Attempt::Wrong(format!("{status} {body}")), LONGEST_RETRY_AFTER)),
        }
    }
}

impl Running {
    /// Ends the load; every command that was sent gets its final answer first.
    pub async fn finish(mut self) -> (Arc<Client>, Vec<Sent>, Duration) {
        self.stop.cancel();
        let lasted = self.began.elapsed();
        let all = async {
            while let Some(worker) = self.workers.join_next().await {
                worker.unwrap();
            }
        };
        if tokio::time::timeout(SETTLED_WITHIN, all).await.is_err() {
            panic!(
                "{} commands have no final answer {SETTLED_WITHIN:?} after the load",
                self.client.open.lock().unwrap().len()
            );
        }
        let sent = std::mem::take(&mut *self.client.sent.lock().unwrap());
        (self.client, sent, lasted)
    }
}

async fn read(response: Response) -> Result<(u16, HeaderMap, Value), reqwest::Error> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await?;
    Ok((status, headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

fn answer(status: u16, headers: &HeaderMap, body: Value) -> Answer {
    let position = text(headers, "highwater-position").and_then(Position::parse);
    let (etag, replayed) =
        (text(headers, "etag").map(str::to_owned), headers.contains_key("idempotency-replayed"));
    Answer { status, body, etag, position, replayed, at: Instant::now() }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
