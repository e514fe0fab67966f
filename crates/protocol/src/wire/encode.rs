//! From entries to records. The sequence of the headers is that of the golden records.

use uuid::Uuid;

use super::{Fingerprint, SCHEMA_PREFIX, Wire};
use crate::{
    entry::{Body, CommandMetadata, Entry, EventBody, OutcomeBody, Part, Verdict},
    record::{Header, Record, Short},
};

/// Of an event of a queued command that is one of several.
const MOST_HEADERS: usize = 21;

/// Encodes `entry` for the category whose `ce_source` is `source`. `event_id` becomes `ce_id` of an
/// event.
pub fn encode(entry: &Entry<Wire>, source: &str, event_id: Uuid) -> Record {
    let mut record = Record { headers: Vec::with_capacity(MOST_HEADERS), ..Record::default() };
    if let Body::Event(event) = &entry.body {
        cloud_event(&mut record.headers, event, source, event_id);
    }
    let kind = kind_of(&entry.body);
    put(&mut record.headers, "hw-kind", kind);
    put_number(&mut record.headers, "hw-epoch", entry.epoch);
    put(&mut record.headers, "hw-writer", *entry.writer.as_bytes());
    if let Some(seq) = entry.seq {
        put_number(&mut record.headers, "hw-seq", seq);
    }
    if let Some(drained) = entry.drained {
        put_number(&mut record.headers, "hw-drained", drained);
    }
    if let Some(metadata) = entry.body.metadata() {
        record.key = Some(metadata.aggregate.hyphenated().to_string().into_bytes());
        put_metadata(&mut record.headers, metadata);
    }
    match &entry.body {
        Body::Event(event) => {
            put_number(&mut record.headers, "hw-version", event.version);
            if event.part != Part::WHOLE {
                put(
                    &mut record.headers,
                    "hw-commit",
                    Short::display(format_args!("{}/{}", event.part.index, event.part.of)),
                );
            }
            record.value = Some(event.event.data.clone());
        }
        Body::Outcome(outcome) => {
            put_number(&mut record.headers, "hw-version", outcome.version);
            record.value = Some(outcome.reason.0.clone());
        }
        Body::Fence | Body::Barrier | Body::Sealed | Body::Unknown => {}
    }
    record
}

fn kind_of(body: &Body<Wire>) -> &'static str {
    match body {
        Body::Fence => "fence",
        Body::Barrier => "barrier",
        Body::Sealed => "sealed",
        Body::Unknown => "unknown",
        Body::Event(_) => "event",
        Body::Outcome(OutcomeBody { verdict: Verdict::Rejected, .. }) => "rejected",
        Body::Outcome(OutcomeBody { verdict: Verdict::Unchanged, .. }) => "unchanged",
    }
}

fn cloud_event(headers: &mut Vec<Header>, event: &EventBody<Wire>, source: &str, event_id: Uuid) {
    put(headers, "content-type", "application/json");
    put(headers, "ce_specversion", "1.0");
    put(headers, "ce_id", Short::display(event_id.hyphenated()));
    put(headers, "ce_source", source);
    put(headers, "ce_type", event.event.event_type.as_bytes());
    put(headers, "ce_subject", Short::display(event.metadata.aggregate.hyphenated()));
    put(headers, "ce_time", Short::display(event.time));
    put(
        headers,
        "ce_dataschema",
        Short::display(format_args!("{SCHEMA_PREFIX}{}", event.event.schema)),
    );
    if let Some(traceparent) = &event.metadata.meta.traceparent {
        put(headers, "traceparent", traceparent.as_bytes());
    }
}

fn put_metadata(headers: &mut Vec<Header>, metadata: &CommandMetadata<Wire>) {
    put(headers, "hw-command", *metadata.command.as_bytes());
    put(headers, "hw-fingerprint", fingerprint(&metadata.fingerprint));
    put(headers, "hw-actor", *metadata.meta.actor.as_bytes());
    put(headers, "hw-correlation", *metadata.meta.correlation.as_bytes());
    put(headers, "hw-causation", *metadata.meta.causation.as_bytes());
    if let Some(source) = metadata.source {
        put_number(headers, "hw-source", source);
    }
}

/// Key number, HMAC.
pub(crate) fn fingerprint(fingerprint: &Fingerprint) -> [u8; 34] {
    let mut bytes = [0; 34];
    let (key_number, hmac) = bytes.split_at_mut(2);
    key_number.copy_from_slice(&fingerprint.key_number.to_be_bytes());
    hmac.copy_from_slice(&fingerprint.hmac);
    bytes
}

pub(crate) fn put(headers: &mut Vec<Header>, name: &'static str, value: impl Into<Short>) {
    headers.push(Header::new(name, value));
}

fn put_number(headers: &mut Vec<Header>, name: &'static str, value: u64) {
    put(headers, name, Short::display(value));
}
