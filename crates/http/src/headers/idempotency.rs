//! Owns `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a structured string (RFC
//! 9651), or the bare characters.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Item, ItemSerializer, StringRef};
use uuid::Uuid;

use crate::problem::Problem;

const SHOWN: &str = "Idempotency-Key";
const LONGEST: usize = 255;

/// 1 to 255 printable ASCII characters. Quoted and bare forms of the same key are the same key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub const NAME: HeaderName = HeaderName::from_static("idempotency-key");
    pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

    /// `None` when the caller gave none.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let mut given = headers.get_all(Self::NAME).iter();
        let Some(value) = given.next() else { return Ok(None) };
        if given.next().is_some() {
            return Err(Problem::bad_header(SHOWN, "given more than once"));
        }
        let text = value.to_str().map_err(|_| {
            Problem::bad_header(SHOWN, "holds characters that are not printable ASCII")
        })?;
        Self::parse(text).map(Some)
    }

    pub fn parse(text: &str) -> Result<Self, Problem> {
        let text = text.trim_matches([' ', '\t']);
        let key = if text.starts_with('"') { unquoted(text)? } else { text.to_owned() };
        if key.is_empty() || key.len() > LONGEST {
            return Err(Problem::bad_header(
                SHOWN,
                format!("must have 1 to {LONGEST} characters, has {}", key.len()),
            ));
        }
        if !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(Problem::bad_header(
                SHOWN,
                "holds characters that are not printable ASCII",
            ));
        }
        Ok(Self(key))
    }

    /// For a request that came without one.
    pub fn minted(id: Uuid) -> Self {
        Self(id.to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a structured string: quoted.
    pub fn to_header(&self) -> HeaderValue {
        let quoted =
            StringRef::from_str(&self.0).map(|key| ItemSerializer::new().bare_item(key).finish());
        // Printable ASCII by construction, so the fallback is never used.
        let value = quoted.ok().and_then(|quoted| HeaderValue::try_from(quoted).ok());
        value.unwrap_or_else(|| HeaderValue::from_static("\"\""))
    }
}

impl std::fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Its parameters, of which none is known, are ignored.
fn unquoted(text: &str) -> Result<String, Problem> {
    match sfv::Parser::new(text).parse::<sfv::Item>() {
        Ok(Item { bare_item: BareItem::String(key), .. }) => Ok(key.into()),
        _ => Err(Problem::bad_header(
            SHOWN,
            "the quoted form must end with its quote, and escape \" and \\ inside",
        )),
    }
}
