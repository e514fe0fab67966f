//! Commands over many connections, and what is answered. Retries with the same key while the answer
//! is 503.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use highwater_runtime::clock::{Ids, SystemIds};
use reqwest::{Response, header::HeaderMap};
use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};
use uuid::Uuid;

const SETTLED_WITHIN: Duration = Duration::from_secs(300);
const AGAIN_AFTER: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub struct Request {
    path: String,
    body: Value,
    key: String,
    if_match: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub position: String,
    pub replayed: bool,
    etag: Option<String>,
    location: Option<String>,
    media_type: Option<String>,
}

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    targets: Arc<[String]>,
}

impl Request {
    /// With a key of its own.
    pub fn create(collection: &str, body: Value) -> Self {
        Self {
            path: format!("/v1/{collection}"),
            body,
            key: SystemIds.v4().to_string(),
            if_match: None,
        }
    }

    pub fn act(collection: &str, id: Uuid, command: &str, body: Value) -> Self {
        Self { path: format!("/v1/{collection}/{id}/{command}"), ..Self::create("", body) }
    }

    /// With an `If-Match` that holds for no aggregate.
    pub fn expecting_another_version(&self) -> Self {
        Self { if_match: Some("\"v77777\""), ..self.clone() }
    }

    /// Valid, with one number changed.
    pub fn with_another_body(&self) -> Self {
        let mut other = self.clone();
        let number =
            other.body.as_object_mut().unwrap().values_mut().find(|value| value.is_u64()).unwrap();
        *number = (number.as_u64().unwrap() + 1).into();
        other
    }
}

impl Answer {
    /// What a repeat must repeat: everything but what says which request it was.
    pub fn outcome(&self) -> (u16, Value, Option<&str>, &str, Option<&str>, Option<&str>) {
        let mut body = self.body.clone();
        if let Some(members) = body.as_object_mut() {
            members.remove("trace_id");
        }
        (
            self.status,
            body,
            self.etag.as_deref(),
            &self.position,
            self.location.as_deref(),
            self.media_type.as_deref(),
        )
    }
}

impl Client {
    pub fn new(targets: Vec<String>) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            targets: targets.into(),
        }
    }

    pub fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Sends all, so many at once, shared out over the targets; each must succeed. The positions
    /// that were answered.
    pub async fn all(&self, requests: Vec<Request>, connections: usize) -> Vec<String> {
        let waiting = Arc::new(Mutex::new(VecDeque::from(requests)));
        let mut workers = JoinSet::new();
        for number in 0..connections {
            let (client, waiting) = (self.clone(), waiting.clone());
            workers.spawn(async move {
                let mut positions = Vec::new();
                let next = || waiting.lock().unwrap().pop_front();
                while let Some(request) = next() {
                    let answer = client.settle(number % client.targets(), &request).await;
                    assert!(answer.status < 300, "{request:?}: {answer:?}");
                    positions.push(answer.position);
                }
                positions
            });
        }
        workers.join_all().await.into_iter().flatten().collect()
    }

    /// Sends until the answer is neither 503 nor none.
    pub async fn settle(&self, target: usize, request: &Request) -> Answer {
        let until = Instant::now() + SETTLED_WITHIN;
        loop {
            let answer = self.send(target, request).await;
            match answer {
                Ok(answer) if answer.status != 503 => return answer,
                _ => assert!(
                    Instant::now() < until,
                    "not within {SETTLED_WITHIN:?}: {request:?}: {answer:?}"
                ),
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn send(&self, target: usize, request: &Request) -> Result<Answer, reqwest::Error> {
        let mut post = self.http.post(format!("{}{}", self.targets[target], request.path));
        post = post.header("Idempotency-Key", &request.key).json(&request.body);
        if let Some(expected) = request.if_match {
            post = post.header("If-Match", expected);
        }
        read(post.send().await?).await
    }
}

async fn read(response: Response) -> Result<Answer, reqwest::Error> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = |name| text(&headers, name);
    let (etag, location, media_type) = (text("etag"), text("location"), text("content-type"));
    let (position, replayed) = (
        text("highwater-position").unwrap_or_default(),
        text("idempotency-replayed").as_deref() == Some("true"),
    );
    let body = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
    Ok(Answer { status, body, position, replayed, etag, location, media_type })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
