//! One hop to the instance that a hint names. The owner checks the request again, as if it had come from the caller.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use tokio::{sync::Notify, time::Instant};

use super::hints::Hint;

/// On a request that another instance sent on: it is not sent on again.
pub const HOPS: HeaderName = HeaderName::from_static("highwater-hops");
/// On such a request: the key was minted by the instance that took it in.
pub const KEY_MINTED: HeaderName = HeaderName::from_static("highwater-key-minted");
/// On the answer of an instance that does not own the partition: nothing was decided.
pub const NOT_OWNER: HeaderName = HeaderName::from_static("highwater-not-owner");

/// On a 503 to a forwarded request: the command may wait in the lane instead.
pub const MAY_WAIT: HeaderName = HeaderName::from_static("highwater-may-wait");

/// Headers that belong to one connection (RFC 9110, 7.6.1), or that the client library writes itself.
const DROPPED: [HeaderName; 8] = [
    header::HOST,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::TE,
    header::UPGRADE,
    header::EXPECT,
    header::ACCEPT_ENCODING,
];

pub struct Forwarder {
    client: reqwest::Client,
    allowed: Vec<String>,
    /// Told when a peer could not be connected to.
    pub unreached: Notify,
}

/// What became of the hop.
pub enum Hop {
    /// `may_wait`: with 503, and the command may wait in the lane instead.
    Answered { response: Box<Response>, may_wait: bool },
    /// Nothing was decided there: not the owner, or nobody listens.
    NotThere,
    /// It may have been decided.
    Unknown,
}

impl Forwarder {
    pub fn new(allowed: Vec<String>, connect_timeout: Duration) -> Result<Self, reqwest::Error> {
        let client =
            reqwest::Client::builder().connect_timeout(connect_timeout).redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        Ok(Self { client, allowed, unreached: Notify::new() })
    }

    /// Whether a hint may be followed at all.
    pub fn allows(&self, hint: &Hint) -> bool {
        let Ok(url) = reqwest::Url::parse(&hint.url) else { return false };
        let Some(host) = url.host_str() else { return false };
        let with_port = url.port_or_known_default().map(|port| format!("{host}:{port}"));
        matches!(url.scheme(), "http" | "https")
            && self.allowed.iter().any(|allowed| allowed == host || Some(allowed) == with_port.as_ref())
    }

    /// Sends the request on, with `headers` as they came and the key that names it.
    pub async fn send(&self, hint: &Hint, path: &str, mut headers: HeaderMap, body: axum::body::Bytes, until: Instant) -> Hop {
        for name in DROPPED {
            headers.remove(name);
        }
        headers.insert(HOPS, HeaderValue::from_static("1"));
        let timeout = until.saturating_duration_since(Instant::now());
        let url = format!("{}{path}", hint.url.trim_end_matches('/'));
        let sent = self.client.post(url).headers(headers).body(body).timeout(timeout).send().await;
        match sent {
            Ok(response) if response.headers().contains_key(NOT_OWNER) => Hop::NotThere,
            Ok(response) => answer(response).await,
            Err(error) if error.is_connect() => {
                self.unreached.notify_one();
                Hop::NotThere
            }
            Err(error) => {
                tracing::debug!(%error, url = hint.url, "a forwarded command was not answered");
                Hop::Unknown
            }
        }
    }
}

async fn answer(response: reqwest::Response) -> Hop {
    let status = StatusCode::from_u16(response.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut headers = response.headers().clone();
    for name in DROPPED {
        headers.remove(name);
    }
    let may_wait = headers.remove(MAY_WAIT).is_some();
    let Ok(body) = response.bytes().await else { return Hop::Unknown };
    let mut relayed = Response::new(Body::from(body));
    *relayed.status_mut() = status;
    *relayed.headers_mut() = headers;
    Hop::Answered { response: Box::new(relayed), may_wait }
}
