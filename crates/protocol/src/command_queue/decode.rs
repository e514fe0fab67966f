//! From records to commands. What cannot be read says why, and keeps what an outcome needs, as far
//! as that can be read.

use uuid::Uuid;

use super::{AcceptedCommand, MAX_EXPECTED};
use crate::{
    entry::CommandMetadata,
    record::Record,
    time::Micros,
    wire::{
        Defect, Fingerprint, Meta, Wire,
        decode::{Headers, fingerprint, kind, number, traceparent, uuid_text},
    },
    writer::Expected,
};

/// Why a record is not a command for this reader.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer release: no reader of this release may pass it before an upgrade.
    #[error("a record of kind {kind:?} is newer than this release: upgrade readers first")]
    Newer { kind: String },
    #[error("{defect}")]
    Undecodable {
        defect: Defect,
        /// Whose outcome can be recorded: command id and aggregate id could be read. What else
        /// could not be is zeros.
        metadata: Option<Box<CommandMetadata<Wire>>>,
    },
}

/// A command, or why the record is none.
pub fn decode(record: Record) -> Result<AcceptedCommand, DecodeError> {
    let headers = Headers(&record.headers);
    match headers.one("hw-kind").and_then(kind) {
        Ok(b"command") => {}
        Ok(other) => {
            return Err(DecodeError::Newer { kind: String::from_utf8_lossy(other).into_owned() });
        }
        Err(defect) => return Err(undecodable(&record, defect)),
    }
    match command(&record) {
        Ok(command) => Ok(AcceptedCommand { body: record.value.unwrap_or_default(), ..command }),
        Err(defect) => Err(undecodable(&record, defect)),
    }
}

/// All but the body.
fn command(record: &Record) -> Result<AcceptedCommand, Defect> {
    let headers = Headers(&record.headers);
    let aggregate = record.key.as_deref().and_then(uuid_text).ok_or(Defect::Key)?;
    if record.value.is_none() {
        return Err(Defect::Value);
    }
    let (name, version) =
        schema(headers.text("hw-schema")?).ok_or(Defect::Malformed("hw-schema"))?;
    Ok(AcceptedCommand {
        aggregate,
        command: headers.id("hw-command")?,
        name,
        version,
        fingerprint: fingerprint(headers.one("hw-fingerprint")?)?,
        caller_key: match headers.one("hw-key")? {
            b"caller" => true,
            b"minted" => false,
            _ => return Err(Defect::Malformed("hw-key")),
        },
        expected: headers.optional("hw-expected")?.map_or(Ok(Expected::Anything), expected)?,
        actor: headers.id("hw-actor")?,
        scopes: headers.optional("hw-scopes")?.map_or(Ok(Vec::new()), scopes)?,
        deadline: Micros::from_text(headers.one("hw-deadline")?)
            .ok_or(Defect::Malformed("hw-deadline"))?,
        correlation: headers.id("hw-correlation")?,
        traceparent: headers.optional("traceparent").ok().flatten().and_then(traceparent),
        body: Vec::new(),
    })
}

fn undecodable(record: &Record, defect: Defect) -> DecodeError {
    let headers = Headers(&record.headers);
    let aggregate = record.key.as_deref().and_then(uuid_text);
    let metadata = headers.id("hw-command").ok().zip(aggregate).map(|(command, aggregate)| {
        let nothing = Fingerprint { key_number: 0, hmac: [0; 32] };
        Box::new(CommandMetadata {
            aggregate,
            command,
            fingerprint: headers.one("hw-fingerprint").and_then(fingerprint).unwrap_or(nothing),
            meta: Meta {
                actor: headers.id("hw-actor").unwrap_or_default(),
                correlation: headers.id("hw-correlation").unwrap_or(command),
                causation: command,
                event_id: Uuid::nil(),
                traceparent: None,
            },
            source: None,
        })
    });
    DecodeError::Undecodable { defect, metadata }
}

/// `<name>.v<version>`, the version from 1.
fn schema(stem: &str) -> Option<(String, u32)> {
    let (name, version) = stem.rsplit_once(".v")?;
    let version = u32::try_from(number("hw-schema", version.as_bytes()).ok()?).ok()?;
    (!name.is_empty() && version > 0).then(|| (name.to_owned(), version))
}

/// `*`, or versions with commas between them.
fn expected(value: &[u8]) -> Result<Expected, Defect> {
    if value == b"*" {
        return Ok(Expected::Exists);
    }
    let versions: Vec<_> = value
        .split(|b| *b == b',')
        .map(|version| number("hw-expected", version))
        .collect::<Result<_, _>>()?;
    if versions.len() > MAX_EXPECTED {
        Err(Defect::Malformed("hw-expected"))
    } else {
        Ok(Expected::OneOf(versions))
    }
}

/// Scope tokens (RFC 6749, section 3.3) with single spaces between them.
fn scopes(value: &[u8]) -> Result<Vec<String>, Defect> {
    let token = |token: &[u8]| {
        let valid = !token.is_empty()
            && token.iter().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        String::from_utf8(token.to_vec())
            .ok()
            .filter(|_| valid)
            .ok_or(Defect::Malformed("hw-scopes"))
    };
    value.split(|b| *b == b' ').map(token).collect()
}
