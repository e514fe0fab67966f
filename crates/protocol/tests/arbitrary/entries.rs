//! Arbitrary entries of a real log, as far as they can be encoded.

use highwater_protocol::{
    entry::{Body, CommandMetadata, Entry, EventBody, OutcomeBody, Part, Verdict},
    time::Micros,
    wire::{Fingerprint, MAX_COMMIT_EVENTS, Meta, Reason, RecordedEvent, Wire},
};
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

pub fn plain_event() -> Entry<Wire> {
    let id = Uuid::from_u128;
    let meta = Meta {
        event_id: id(9),
        actor: id(1),
        correlation: id(2),
        causation: id(3),
        traceparent: None,
    };
    let fingerprint = Fingerprint { key_number: 1, hmac: [7; 32] };
    let metadata =
        CommandMetadata { aggregate: id(4), command: id(5), fingerprint, meta, source: None };
    let event = RecordedEvent {
        event_type: "note.written".into(),
        schema: "note.written.v1".into(),
        data: b"{}".to_vec(),
    };
    let body =
        Body::Event(EventBody { metadata, version: 1, part: Part::WHOLE, time: Micros(0), event });
    Entry { epoch: 1, writer: id(6), seq: Some(0), drained: None, body }
}

/// The `ce_id` to encode it with.
pub fn event_id(entry: &Entry<Wire>) -> Uuid {
    entry.body.metadata().map_or(Uuid::nil(), |metadata| metadata.meta.event_id)
}

pub fn any() -> impl Strategy<Value = Entry<Wire>> {
    let body = prop_oneof![
        Just(Body::Fence),
        Just(Body::Barrier),
        Just(Body::Sealed),
        event().prop_map(Body::Event),
        event().prop_map(Body::Event),
        outcome().prop_map(Body::Outcome),
    ];
    (number(), id(), number(), prop::option::of(number()), body).prop_map(
        |(epoch, writer, seq, drained, body)| {
            let fence = body == Body::Fence;
            Entry {
                epoch,
                writer,
                seq: (!fence).then_some(seq),
                drained: drained.filter(|_| !fence),
                body,
            }
        },
    )
}

fn event() -> impl Strategy<Value = EventBody<Wire>> {
    let trace = prop::option::of("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}");
    let part = prop_oneof![
        Just(Part::WHOLE),
        (2..=MAX_COMMIT_EVENTS)
            .prop_flat_map(|of| (1..=of).prop_map(move |index| Part { index, of }))
    ];
    let event = ("\\PC{1,20}", "\\PC{1,20}", vec(any_byte(), 0..50));
    let time = (-62_167_219_200_000_000_i64..=253_402_300_799_999_999).prop_map(Micros);
    (metadata(), id(), trace, number(), part, time, event).prop_map(
        |(mut metadata, event_id, trace, version, part, time, (event_type, schema, data))| {
            (metadata.meta.event_id, metadata.meta.traceparent) = (event_id, trace);
            let event =
                RecordedEvent { event_type: event_type.into(), schema: schema.into(), data };
            EventBody { metadata, version: version.max(1), part, time, event }
        },
    )
}

fn outcome() -> impl Strategy<Value = OutcomeBody<Wire>> {
    (metadata(), number(), prop::bool::ANY, vec(any_byte(), 0..50)).prop_map(
        |(metadata, version, rejected, reason)| {
            let verdict = if rejected { Verdict::Rejected } else { Verdict::Unchanged };
            OutcomeBody { metadata, version, verdict, reason: Reason(reason) }
        },
    )
}

fn metadata() -> impl Strategy<Value = CommandMetadata<Wire>> {
    let fingerprint = (proptest::num::u16::ANY, prop::array::uniform32(any_byte()));
    (id(), id(), fingerprint, (id(), id(), id()), prop::option::of(number())).prop_map(
        |(aggregate, command, (key_number, hmac), (actor, correlation, causation), source)| {
            let meta =
                Meta { event_id: Uuid::nil(), actor, correlation, causation, traceparent: None };
            CommandMetadata {
                aggregate,
                command,
                fingerprint: Fingerprint { key_number, hmac },
                meta,
                source,
            }
        },
    )
}

fn id() -> impl Strategy<Value = Uuid> {
    proptest::num::u128::ANY.prop_map(Uuid::from_u128)
}

fn any_byte() -> proptest::num::u8::Any {
    proptest::num::u8::ANY
}

/// What the log can hold, its largest value among it.
fn number() -> impl Strategy<Value = u64> {
    let largest = i64::MAX.unsigned_abs();
    prop_oneof![0..100_u64, 0..=largest, Just(largest)]
}
