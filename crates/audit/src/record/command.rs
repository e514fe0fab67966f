//! One record of `commands`, read as docs/log-format.md says ("The command queue"): who asks
//! for what, and until when. Never looks at another record.

use highwater_protocol::record::Record;

use super::{Headers, Id, Time, Unreadable, decimal, id_text, is_text, is_time};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandRecord {
    /// Of a release that knows more.
    Newer,
    /// Not even whose command it is.
    Nothing,
    Command(Command),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub aggregate: Id,
    pub command: Id,
    pub actor: Id,
    /// None: what else it says cannot be read, so it is rejected.
    pub deadline: Option<Time>,
}

impl CommandRecord {
    pub fn of(record: &Record) -> Self {
        let headers = Headers::of(record);
        let kind = headers.demand("hw-kind").unwrap_or_default();
        if kind != b"command"
            && !kind.is_empty()
            && kind.iter().all(|b| b.is_ascii_lowercase() || *b == b'-')
        {
            return Self::Newer;
        }
        let aggregate = record.key.as_deref().and_then(id_text);
        let (Some(aggregate), Ok(command)) = (aggregate, headers.id("hw-command")) else {
            return Self::Nothing;
        };
        let actor = headers.id("hw-actor").unwrap_or_default();
        Self::Command(Command {
            aggregate,
            command,
            actor,
            deadline: deadline(&headers, record).ok(),
        })
    }
}

/// Of a record whose every part is in its encoding.
fn deadline(headers: &Headers<'_>, record: &Record) -> Result<Time, Unreadable> {
    headers.in_form("hw-kind", |value| value == b"command")?;
    headers.in_form("hw-schema", is_schema)?;
    headers.in_form("hw-fingerprint", |value| value.len() == 34)?;
    headers.in_form("hw-key", |value| [b"caller".as_slice(), b"minted"].contains(&value))?;
    for name in ["hw-actor", "hw-correlation"] {
        headers.id(name)?;
    }
    for (name, form) in
        [("hw-expected", is_expected as fn(&[u8]) -> bool), ("hw-scopes", are_scopes)]
    {
        if !headers.optional(name)?.is_none_or(form) {
            return Err(Unreadable::Malformed(name));
        }
    }
    if record.value.is_none() {
        return Err(Unreadable::NoValue);
    }
    let deadline: Option<Time> = headers.demand("hw-deadline")?.try_into().ok();
    deadline.filter(is_time).ok_or(Unreadable::Malformed("hw-deadline"))
}

/// `<name>.v<version>`, the version from 1 below 2^32.
fn is_schema(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    text.rsplit_once(".v").is_some_and(|(name, version)| {
        let version = decimal(version.as_bytes())
            .is_some_and(|version| (1..=u64::from(u32::MAX)).contains(&version));
        is_text(name.as_bytes()) && version
    })
}

/// `*`, or 1 to 256 integers with commas between them.
fn is_expected(value: &[u8]) -> bool {
    let versions: Vec<_> = value.split(|b| *b == b',').map(decimal).collect();
    value == b"*" || (versions.len() <= 256 && versions.iter().all(Option::is_some))
}

/// Scope tokens (RFC 6749, section 3.3) with single spaces between them.
fn are_scopes(value: &[u8]) -> bool {
    value.split(|b| *b == b' ').all(|token| {
        !token.is_empty() && token.iter().all(|b| (0x21..=0x7e).contains(b) && !b"\"\\".contains(b))
    })
}
