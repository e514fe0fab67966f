//! Owns `Prefer` (RFC 7240): `respond-async`, `wait=<seconds>`, `stale`. Preferences that we do not know are ignored, as the RFC says.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::problem::Problem;

const SHOWN: &str = "Prefer";
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prefer {
    pub respond_async: bool,
    /// How long the caller would wait. The server bounds it.
    pub wait: Option<Duration>,
    /// A stale answer is better than none.
    pub stale: bool,
}

impl Prefer {
    pub const NAME: HeaderName = HeaderName::from_static("prefer");

    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(text) = super::text(headers, &Self::NAME, SHOWN)? else { return Ok(Self::default()) };
        Self::parse(&text)
    }

    /// Of a preference given twice the first counts.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut prefer = Self::default();
        for preference in split_list(text) {
            // Parameters follow a semicolon; none of ours has any.
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, value) = match preference.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
                None => (preference.trim(), None),
            };
            match (name.to_ascii_lowercase().as_str(), value) {
                ("respond-async", None | Some("")) => prefer.respond_async = true,
                ("stale", None | Some("")) => prefer.stale = true,
                ("wait", value) => {
                    let wait = seconds(value.unwrap_or_default())?;
                    prefer.wait.get_or_insert(wait);
                }
                ("respond-async" | "stale", Some(_)) => {
                    return Err(Problem::bad_header(SHOWN, format!("{} takes no value", name.to_ascii_lowercase())));
                }
                _ => {}
            }
        }
        Ok(prefer)
    }

    /// For `Preference-Applied`; `None` when nothing was asked for.
    pub fn applied(&self) -> Option<HeaderValue> {
        let mut applied = Vec::new();
        if self.respond_async {
            applied.push("respond-async".to_owned());
        }
        if let Some(wait) = self.wait {
            applied.push(format!("wait={}", wait.as_secs()));
        }
        if self.stale {
            applied.push("stale".to_owned());
        }
        if applied.is_empty() { None } else { HeaderValue::from_str(&applied.join(", ")).ok() }
    }
}

/// Splits at commas outside quotes.
fn split_list(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items
}

fn seconds(text: &str) -> Result<Duration, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: Option<u32> = text.parse().ok().filter(|_| digits);
    let seconds = seconds.ok_or_else(|| Problem::bad_header(SHOWN, "wait takes whole seconds, as in wait=5"))?;
    Ok(Duration::from_secs(u64::from(seconds)))
}
