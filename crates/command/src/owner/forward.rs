//! One hop to the instance that an announcement names. The owner checks the command again, as if it
//! had come from the caller. What cannot prove that it comes from that instance is no answer
//! (docs/adr/0017).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use highwater_runtime::{
    clock::{Clock, Ids},
    resilience::Once,
};
use metrics::counter;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

use super::{
    address::Address,
    announcements::Announcement,
    deployment::Deployment,
    hop::{End, HOP, Hop, HopRequest, HopResponse, OF_ANSWERS},
};
use crate::settings::PeerSettings;

/// What is read of an answer at most: the events of the largest commit are named in less.
const ANSWER_BYTES: usize = 1 << 20;
/// After an answer that proved nothing the instance is not called for so long: what others send
/// there goes to a stranger.
const SHUNNED: Duration = Duration::from_secs(1);

/// No clock was too far off for so long.
const QUIET: Duration = Duration::from_secs(60);

pub struct Forwarder {
    client: reqwest::Client,
    deployment: Deployment,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    allowed: Vec<String>,
    shunned: Mutex<BTreeMap<Uuid, Instant>>,
    apart: Mutex<Once>,
    /// Told when a peer could not be connected to.
    pub unreached: Notify,
}

/// A command as it is sent on: what the sender understood of it, in the form that every instance
/// reads alike.
#[derive(Clone, Debug)]
pub struct Command {
    pub path: String,
    /// Those of [`super::hop::OF_COMMANDS`].
    pub headers: HeaderMap,
    pub body: Bytes,
    /// No caller chose the key.
    pub minted: bool,
}

/// What became of the hop.
pub enum Outcome {
    /// `may_wait`: with 503, and the command may wait in the command queue instead.
    Answered { response: Box<Response>, may_wait: bool },
    /// Nothing was decided there: not the owner, or no process listens.
    NotThere,
    /// It may have been decided: no answer came, or one that any process could have given.
    Unknown,
}

impl Forwarder {
    pub fn new(
        peers: &PeerSettings,
        deployment: Deployment,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(peers.connect_timeout_ms))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let (allowed, shunned, apart) =
            (peers.allowed.clone(), Mutex::default(), Mutex::new(Once::new("hop-clocks")));
        Ok(Self {
            client,
            deployment,
            clock,
            ids,
            allowed,
            shunned,
            apart,
            unreached: Notify::new(),
        })
    }

    /// Whether an announcement may be followed at all.
    pub fn allows(&self, announcement: &Announcement) -> bool {
        Address::parse(&announcement.url).is_ok_and(|address| address.is_among(&self.allowed))
    }

    /// Sends the command to the instance of `announcement`, and waits until `until`.
    pub async fn send(
        &self,
        announcement: &Announcement,
        command: &Command,
        until: Instant,
    ) -> Outcome {
        let Ok(address) = Address::parse(&announcement.url) else { return Outcome::NotThere };
        if self.is_shunned(announcement.instance) {
            return Outcome::Unknown;
        }
        let within = until.saturating_duration_since(Instant::now());
        let hop = Hop {
            to: announcement.instance,
            nonce: self.ids.v4(),
            sent_ms: self.clock.now().div_euclid(1_000),
            within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            minted: command.minted,
        };
        let Command { path, headers, body, .. } = command;
        let mut sealed = headers.clone();
        sealed.insert(HOP, hop.seal(&self.deployment, HopRequest { path, headers, body }));
        let request = self
            .client
            .post(format!("{address}{path}"))
            .headers(sealed)
            .body(body.clone())
            .timeout(within);
        match request.send().await {
            Ok(response) => self.heard(announcement, &hop, response).await,
            Err(error) if error.is_connect() => {
                self.unreached.notify_one();
                Outcome::NotThere
            }
            Err(error) => {
                tracing::debug!(%error, url = announcement.url, "a forwarded command was not answered");
                Outcome::Unknown
            }
        }
    }

    async fn heard(
        &self,
        announcement: &Announcement,
        hop: &Hop,
        response: reqwest::Response,
    ) -> Outcome {
        let (status, headers) = (response.status(), response.headers().clone());
        let Some(body) = body(response).await else { return Outcome::Unknown };
        match hop
            .open_answer(&self.deployment, HopResponse { status, headers: &headers, body: &body })
        {
            Some(End::Answered) => {
                self.apart.lock().over_if_quiet(QUIET, "the clocks of instances agree");
                Outcome::Answered {
                    response: Box::new(relayed(status, &headers, body)),
                    may_wait: false,
                }
            }
            Some(End::MayWait) => Outcome::Answered {
                response: Box::new(relayed(status, &headers, body)),
                may_wait: true,
            },
            Some(End::NotThere) => Outcome::NotThere,
            Some(End::Stale) => {
                let mut apart = self.apart.lock();
                apart.warn(
                    "a forwarded command was refused, because the clocks of two instances \
                            are too far apart",
                    &announcement.url,
                );
                Outcome::NotThere
            }
            None => {
                self.unproven(announcement, status);
                Outcome::Unknown
            }
        }
    }

    /// An instance that is too busy to look at a command cannot prove its 503: it is not shunned
    /// for that.
    fn unproven(&self, announcement: &Announcement, status: StatusCode) {
        counter!("highwater_hops_unproven_total").increment(1);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return;
        }
        tracing::warn!(url = announcement.url, instance = %announcement.instance, %status, "what answered a \
            forwarded command is not the instance that was meant");
        let mut shunned = self.shunned.lock();
        let now = Instant::now();
        shunned.retain(|_, until| *until > now);
        shunned.insert(announcement.instance, now + SHUNNED);
    }

    fn is_shunned(&self, instance: Uuid) -> bool {
        let shunned = self.shunned.lock();
        shunned.get(&instance).is_some_and(|until| *until > Instant::now())
    }
}

/// `None`: it broke off, or is longer than any answer of ours.
async fn body(mut response: reqwest::Response) -> Option<Bytes> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body.into())
}

fn relayed(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Response {
    let mut relayed = Response::new(Body::from(body));
    *relayed.status_mut() = status;
    for name in &OF_ANSWERS {
        for value in headers.get_all(name) {
            relayed.headers_mut().append(name.clone(), value.clone());
        }
    }
    relayed
}
