//! Owns `Prefer` (RFC 7240): `respond-async`, `wait=<seconds>`, `stale`. What is not known or not
//! understood is ignored, as the RFC says.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

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

    /// Never refuses: what is not understood is as if it were not there (RFC 7240, section 2).
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        for value in headers.get_all(&Self::NAME) {
            prefer.add(value.to_str().unwrap_or_default());
        }
        prefer
    }

    /// Of a preference given twice the first counts.
    fn add(&mut self, text: &str) {
        for preference in split(text, b',') {
            // Parameters follow a semicolon; none of ours has any.
            let preference = split(preference, b';')[0];
            let (name, value) = match preference.split_once('=') {
                Some((name, value)) => (name.trim(), unquoted(value.trim())),
                None => (preference.trim(), ""),
            };
            match name.to_ascii_lowercase().as_str() {
                "respond-async" if value.is_empty() => self.respond_async = true,
                "stale" if value.is_empty() => self.stale = true,
                "wait" => self.wait = self.wait.or_else(|| seconds(value)),
                _ => {}
            }
        }
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

/// Splits outside quotes; at least one part.
fn split(text: &str, separator: u8) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if byte == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A token and the same characters in quotes are the same word (RFC 7240, section 2).
fn unquoted(word: &str) -> &str {
    word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(word)
}

/// Digits only.
fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u32 = text.parse().ok().filter(|_| digits)?;
    Some(Duration::from_secs(u64::from(seconds)))
}
