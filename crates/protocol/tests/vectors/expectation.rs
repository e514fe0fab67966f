//! What a golden record says, as JSON, and as an entry.

use highwater_protocol::{
    entry::{Body, CommandMetadata, Entry, EventBody, OutcomeBody, Part, Verdict},
    time::Micros,
    wire::{Fingerprint, Meta, Reason, RecordedEvent, Wire},
};
use serde_json::{Value, json};
use uuid::Uuid;

/// The entry, its `ce_source` and its `ce_id`.
pub fn entry(e: &Value) -> (Entry<Wire>, String, Uuid) {
    let body = match text(&e["kind"]) {
        "fence" => Body::Fence,
        "barrier" => Body::Barrier,
        "sealed" => Body::Sealed,
        "event" => Body::Event(event(e)),
        "rejected" => Body::Outcome(outcome(e, Verdict::Rejected)),
        "unchanged" => Body::Outcome(outcome(e, Verdict::Unchanged)),
        other => panic!("no such kind: {other}"),
    };
    let event_id = body.metadata().map_or(Uuid::nil(), |metadata| metadata.meta.event_id);
    let source = e.pointer("/event/ce_source").map_or("", text).to_owned();
    let entry = Entry {
        epoch: e["epoch"].as_u64().unwrap(),
        writer: id(&e["writer"]),
        seq: e["seq"].as_u64(),
        drained: e["drained"].as_u64(),
        body,
    };
    (entry, source, event_id)
}

/// The other way round.
pub fn of(entry: &Entry<Wire>, source: Option<&str>) -> Value {
    let kind = match &entry.body {
        Body::Fence => "fence",
        Body::Barrier => "barrier",
        Body::Sealed => "sealed",
        Body::Unknown => "unknown",
        Body::Event(_) => "event",
        Body::Outcome(outcome) if outcome.verdict == Verdict::Rejected => "rejected",
        Body::Outcome(_) => "unchanged",
    };
    let mut e = json!({
        "kind": kind, "epoch": entry.epoch, "writer": entry.writer, "seq": entry.seq,
        "drained": entry.drained,
    });
    if let Some(metadata) = entry.body.metadata() {
        put_metadata(&mut e, metadata);
    }
    match &entry.body {
        Body::Event(event) => {
            e["version"] = event.version.into();
            e["commit"] = format!("{}/{}", event.part.index, event.part.of).into();
            e["value"] = String::from_utf8(event.event.data.clone()).unwrap().into();
            let meta = &event.metadata.meta;
            e["event"] = json!({
                "id": meta.event_id, "ce_source": source, "type": event.event.event_type,
                "schema": event.event.schema, "time": event.time.to_text(),
                "traceparent": meta.traceparent,
            });
        }
        Body::Outcome(outcome) => {
            e["version"] = outcome.version.into();
            e["value"] = String::from_utf8(outcome.reason.0.clone()).unwrap().into();
        }
        Body::Fence | Body::Barrier | Body::Sealed | Body::Unknown => {}
    }
    e
}

fn put_metadata(e: &mut Value, metadata: &CommandMetadata<Wire>) {
    let hmac: String = metadata.fingerprint.hmac.iter().map(|b| format!("{b:02x}")).collect();
    e["aggregate"] = json!(metadata.aggregate);
    e["command"] = json!(metadata.command);
    e["fingerprint"] = json!({"key_number": metadata.fingerprint.key_number, "hmac": hmac});
    e["actor"] = json!(metadata.meta.actor);
    e["correlation"] = json!(metadata.meta.correlation);
    e["causation"] = json!(metadata.meta.causation);
    e["source"] = json!(metadata.source);
}

fn event(e: &Value) -> EventBody<Wire> {
    let (index, of) = text(&e["commit"]).split_once('/').unwrap();
    let event = RecordedEvent {
        event_type: text(&e["event"]["type"]).to_owned().into(),
        schema: text(&e["event"]["schema"]).to_owned().into(),
        data: text(&e["value"]).into(),
    };
    EventBody {
        metadata: metadata(e),
        version: e["version"].as_u64().unwrap(),
        part: Part { index: index.parse().unwrap(), of: of.parse().unwrap() },
        time: Micros::from_text(text(&e["event"]["time"]).as_bytes()).unwrap(),
        event,
    }
}

fn outcome(e: &Value, verdict: Verdict) -> OutcomeBody<Wire> {
    OutcomeBody {
        metadata: metadata(e),
        version: e["version"].as_u64().unwrap(),
        verdict,
        reason: Reason(text(&e["value"]).into()),
    }
}

fn metadata(e: &Value) -> CommandMetadata<Wire> {
    let fingerprint = &e["fingerprint"];
    CommandMetadata {
        aggregate: id(&e["aggregate"]),
        command: id(&e["command"]),
        fingerprint: Fingerprint {
            key_number: u16::try_from(fingerprint["key_number"].as_u64().unwrap()).unwrap(),
            hmac: crate::reading::hex(text(&fingerprint["hmac"])).try_into().unwrap(),
        },
        meta: Meta {
            event_id: e.pointer("/event/id").map_or(Uuid::nil(), id),
            actor: id(&e["actor"]),
            correlation: id(&e["correlation"]),
            causation: id(&e["causation"]),
            traceparent: e.pointer("/event/traceparent").and_then(Value::as_str).map(str::to_owned),
        },
        source: e["source"].as_u64(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

fn id(value: &Value) -> Uuid {
    Uuid::parse_str(text(value)).unwrap()
}
