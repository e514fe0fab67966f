//! One hop, as it is on the wire: what the sender says besides the command, what the owner says
//! besides its answer, and the proof of both (docs/adr/0017). Sends nothing and decides nothing.

use std::{fmt, str::FromStr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use highwater_http::headers::{HIGHWATER_POSITION, IdempotencyKey};
use uuid::Uuid;

use super::deployment::Deployment;

/// On a forwarded command, and on its answer. From a sender that cannot prove it: 403.
pub const HOP: HeaderName = HeaderName::from_static("highwater-hop");

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What the owner of a command looks at. Nothing else of a request is sent on.
pub static OF_COMMANDS: [HeaderName; 4] =
    [header::CONTENT_TYPE, IdempotencyKey::NAME, header::IF_MATCH, TRACEPARENT];

/// What the caller of a command is told. Nothing else of an answer is relayed.
pub static OF_ANSWERS: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::LOCATION,
    header::RETRY_AFTER,
    IdempotencyKey::NAME,
    IdempotencyKey::REPLAYED,
    HIGHWATER_POSITION,
    header::ETAG,
];

/// What the sender of a command says besides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The instance that it is meant for: another one may have its address by now.
    pub to: Uuid,
    /// Its answer is the answer to this hop and to no other.
    pub nonce: Uuid,
    /// By the sender's clock.
    pub sent_ms: i64,
    /// How long the sender waits.
    pub within_ms: u64,
    /// No caller chose the key: the sender minted it.
    pub minted: bool,
}

/// What the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Answered,
    /// A 503, and the command may wait in the command queue instead.
    MayWait,
    /// Nothing was decided: another instance is meant, or the partition is not owned there.
    NotThere,
    /// Nothing was decided: it was sent too long ago, by the two clocks.
    Stale,
}

/// The command that a hop brings.
#[derive(Clone, Copy, Debug)]
pub struct HopRequest<'a> {
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// The answer to it.
#[derive(Clone, Copy, Debug)]
pub struct HopResponse<'a> {
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl Hop {
    /// The header that says it and proves it.
    pub fn seal(&self, deployment: &Deployment, sent: HopRequest<'_>) -> HeaderValue {
        let said = self.to_string();
        with_proof(&said, &deployment.prove(COMMAND, &of_command(&said, sent)))
    }

    /// `None`: no instance of this deployment said so.
    pub fn open(deployment: &Deployment, sent: HopRequest<'_>) -> Option<Self> {
        let (said, proof) = proven(sent.headers)?;
        deployment.is_proven(COMMAND, &of_command(said, sent), proof).then(|| said.parse().ok())?
    }

    /// The header that says and proves what the answer is.
    pub fn seal_answer(
        &self,
        deployment: &Deployment,
        end: End,
        answered: HopResponse<'_>,
    ) -> HeaderValue {
        let nonce = self.nonce.to_string();
        let status = answered.status.as_str().to_owned();
        with_proof(
            end.said(),
            &deployment.prove(ANSWER, &of_answer(&nonce, end.said(), &status, answered)),
        )
    }

    /// `None`: it is no answer by an instance of this deployment to this hop.
    pub fn open_answer(&self, deployment: &Deployment, answered: HopResponse<'_>) -> Option<End> {
        let (said, proof) = proven(answered.headers)?;
        let nonce = self.nonce.to_string();
        let status = answered.status.as_str().to_owned();
        let is_proven =
            deployment.is_proven(ANSWER, &of_answer(&nonce, said, &status, answered), proof);
        is_proven.then(|| End::ALL.into_iter().find(|end| end.said() == said))?
    }
}

const COMMAND: &str = "hop";
const ANSWER: &str = "hop-answer";
const BEFORE_PROOF: &str = ", proof=";

fn with_proof(said: &str, proof: &str) -> HeaderValue {
    // Ids, numbers and hex digits: the fallback, which proves nothing, is never used.
    HeaderValue::from_str(&format!("{said}{BEFORE_PROOF}{proof}"))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What the one hop header says, and its proof.
fn proven(headers: &HeaderMap) -> Option<(&str, &str)> {
    let mut given = headers.get_all(HOP).iter();
    let (value, None) = (given.next()?, given.next()) else { return None };
    value.to_str().ok()?.split_once(BEFORE_PROOF)
}

fn of_command<'a>(
    said: &'a str,
    HopRequest { path, headers, body }: HopRequest<'a>,
) -> Vec<&'a [u8]> {
    let mut parts = vec![said.as_bytes(), path.as_bytes()];
    extend(&mut parts, headers, &OF_COMMANDS);
    parts.push(body);
    parts
}

fn of_answer<'a>(
    nonce: &'a str,
    said: &'a str,
    status: &'a str,
    HopResponse { headers, body, .. }: HopResponse<'a>,
) -> Vec<&'a [u8]> {
    let mut parts = vec![nonce.as_bytes(), said.as_bytes(), status.as_bytes()];
    extend(&mut parts, headers, &OF_ANSWERS);
    parts.push(body);
    parts
}

/// Each value after its name, then a part that ends the headers.
fn extend<'a>(parts: &mut Vec<&'a [u8]>, headers: &'a HeaderMap, names: &'a [HeaderName]) {
    for name in names {
        parts.extend(
            headers
                .get_all(name)
                .iter()
                .flat_map(|value| [name.as_str().as_bytes(), value.as_bytes()]),
        );
    }
    parts.push(b"");
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, nonce, sent_ms, within_ms, minted } = self;
        write!(f, "to={to}, nonce={nonce}, sent={sent_ms}, within={within_ms}, minted={minted}")
    }
}

/// Of what has been proven: an instance of another release may say it otherwise.
impl FromStr for Hop {
    type Err = ();

    fn from_str(said: &str) -> Result<Self, ()> {
        let mut members = said.split(", ");
        let mut member = |name: &str| {
            members.next().and_then(|member| member.strip_prefix(name)?.strip_prefix('=')).ok_or(())
        };
        let hop = Self {
            to: member("to")?.parse().map_err(drop)?,
            nonce: member("nonce")?.parse().map_err(drop)?,
            sent_ms: member("sent")?.parse().map_err(drop)?,
            within_ms: member("within")?.parse().map_err(drop)?,
            minted: member("minted")?.parse().map_err(drop)?,
        };
        if members.next().is_none() { Ok(hop) } else { Err(()) }
    }
}

impl End {
    const ALL: [Self; 4] = [Self::Answered, Self::MayWait, Self::NotThere, Self::Stale];

    fn said(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::MayWait => "may-wait",
            Self::NotThere => "not-there",
            Self::Stale => "stale",
        }
    }
}

#[cfg(test)]
mod tests;
