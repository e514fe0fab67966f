//! Owns the extractor of JSON bodies: media type (415), size (413), strictness (400). Must never
//! look at a schema: that is the handler's.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header, request::Parts};
use futures_util::StreamExt;
use mediatype::ReadParams;
use serde_json::{Map, Value};

use crate::heavy;
use crate::json;
use crate::number::canonical;
use crate::problem::Problem;

/// The largest body unless [`BodyLimit`] says otherwise.
pub const DEFAULT_BODY_LIMIT: usize = 256 * 1024;
/// How much of a body that is too large is read and thrown away.
const DRAINED: usize = 2 * 1024 * 1024;
const JSON: &str = "application/json";
const VENDOR_PREFIX: &str = "vnd.highwater.";

/// Request extension, set by the layers: the largest body in bytes.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

/// What the media type says about the version of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`, or no body at all: the oldest version that is served.
    Plain,
    /// `application/vnd.highwater.<name>.v<version>+json`.
    Versioned { name: String, version: u32 },
    /// Another `application/*+json`.
    Other(String),
}

/// A body read strictly. An empty one is `{}`.
#[derive(Debug, Clone)]
pub struct StrictJson {
    pub value: Value,
    /// As received; `{}` when nothing was.
    pub bytes: Bytes,
    pub media: MediaType,
}

impl<S: Send + Sync> FromRequest<S> for StrictJson {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        Self::read(&head, body).await
    }
}

impl StrictJson {
    /// For a handler that takes the head of the request apart itself.
    pub async fn read(head: &Parts, body: Body) -> Result<Self, Problem> {
        let media = media_type(&head.headers)?;
        let limit = head.extensions.get::<BodyLimit>().map_or(DEFAULT_BODY_LIMIT, |limit| limit.0);
        let bytes = collect(&head.headers, body, limit).await?;
        if bytes.is_empty() {
            let empty = Bytes::from_static(b"{}");
            return Ok(Self {
                value: Value::Object(Map::new()),
                bytes: empty,
                media: media.unwrap_or(MediaType::Plain),
            });
        }
        let Some(media) = media else {
            return Err(Problem::unsupported_media_type(
                "a body needs Content-Type: application/json",
            ));
        };
        let value = if heavy::is_large(bytes.len()) {
            let bytes = bytes.clone();
            Box::pin(heavy::done(move || json::parse(&bytes))).await
        } else {
            json::parse(&bytes)
        };
        Ok(Self { value: value?, bytes, media })
    }
}

/// Reads on for a while past the limit: a caller that still sends when the connection closes sees a
/// reset, not the 413.
async fn collect(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Problem> {
    let announced = announced(headers);
    if announced.is_some_and(|length| length > limit.max(DRAINED) as u64)
        || expects_continue(headers, announced, limit)
    {
        return Err(Problem::too_large(limit));
    }
    let mut frames = body.into_data_stream();
    // What comes in one frame is not copied. No room is made for what is only announced.
    let (mut first, mut rest, mut received) = (Bytes::new(), Vec::new(), 0_usize);
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| {
            Problem::bad_request("body.unreadable", "the body ended early or could not be read")
        })?;
        received = received.saturating_add(frame.len());
        if received > limit.max(DRAINED) {
            break;
        }
        if received > limit {
            (first, rest) = (Bytes::new(), Vec::new());
        } else if received == frame.len() {
            first = frame;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&frame);
        }
    }
    match received {
        _ if received > limit => Err(Problem::too_large(limit)),
        _ if rest.is_empty() => Ok(first),
        _ => Ok(rest.into()),
    }
}

/// The caller waits for our word before it sends a body that is too large.
fn expects_continue(headers: &HeaderMap, announced: Option<u64>, limit: usize) -> bool {
    headers.contains_key(header::EXPECT) && announced.is_some_and(|length| length > limit as u64)
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `None` when the header is absent.
fn media_type(headers: &HeaderMap) -> Result<Option<MediaType>, Problem> {
    let mut given = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(Problem::bad_header("Content-Type", "given more than once"));
    }
    let text = value.to_str().map_err(|_| refused("something that is not text"))?;
    parse_media_type(text).map(Some).ok_or_else(|| refused(text))
}

fn refused(given: &str) -> Problem {
    Problem::unsupported_media_type(format!(
        "Content-Type must be application/json or \
         application/{VENDOR_PREFIX}<command>.v<version>+json, in UTF-8; it is {}",
        json::shorten(given)
    ))
}

fn parse_media_type(text: &str) -> Option<MediaType> {
    // Nearly every body, without taking anything apart.
    if text == JSON {
        return Some(MediaType::Plain);
    }
    // Parameters may be empty (RFC 9110, 5.6.6); the library knows that of the last one alone.
    let parsed = mediatype::MediaType::parse(text.trim_end_matches([';', ' ', '\t'])).ok()?;
    let is_utf8 = |(name, value): (mediatype::Name, mediatype::Value)| {
        name != mediatype::names::CHARSET || value.unquoted_str().eq_ignore_ascii_case("utf-8")
    };
    if parsed.ty != mediatype::names::APPLICATION || !parsed.params().all(is_utf8) {
        return None;
    }
    let Some(suffix) = parsed.suffix else {
        return Some(MediaType::Plain).filter(|_| parsed.subty == mediatype::names::JSON);
    };
    let name = parsed.subty.as_str().to_ascii_lowercase();
    if suffix != mediatype::names::JSON {
        return None;
    }
    match name.strip_prefix(VENDOR_PREFIX) {
        None => Some(MediaType::Other(format!("application/{name}+json"))),
        Some(versioned) => {
            let (name, version) = versioned.rsplit_once(".v")?;
            let version = canonical(version).filter(|version| *version > 0)?;
            Some(MediaType::Versioned { name: name.to_owned(), version })
                .filter(|_| !name.is_empty())
        }
    }
}

#[cfg(test)]
#[path = "body/tests.rs"]
mod tests;
