//! Records of the protocol, made by hand: what a writer would append.

use std::sync::Arc;

use highwater_log::{Appended, Log, Partition, Reply, Ticket};
use highwater_protocol::{
    entry::{Body, CommandMetadata, Entry, EventBody, Part},
    record::Record,
    time::Micros,
    wire::{Fingerprint, Meta, RecordedEvent, Wire, encode},
};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::fixture::soon;

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub fn fence(epoch: u64, writer: Uuid) -> Record {
    record(Entry { epoch, writer, seq: None, drained: None, body: Body::Fence })
}

pub fn barrier(epoch: u64, writer: Uuid, seq: u64) -> Record {
    record(Entry { epoch, writer, seq: Some(seq), drained: None, body: Body::Barrier })
}

/// The `index`-th of `of` events of command `command` on aggregate `aggregate`.
pub fn event(
    epoch: u64,
    writer: Uuid,
    seq: u64,
    aggregate: u128,
    command: u128,
    version: u64,
    (index, of): (u32, u32),
) -> Record {
    let metadata = CommandMetadata {
        aggregate: id(aggregate),
        command: id(command),
        fingerprint: Fingerprint { key_number: 1, hmac: [7; 32] },
        meta: Meta::default(),
        source: None,
    };
    let event = RecordedEvent {
        event_type: "thing.happened".into(),
        schema: "thing.happened.v1".into(),
        data: b"{}".to_vec(),
    };
    let body =
        EventBody { metadata, version, part: Part { index, of }, time: Micros(1_000_000), event };
    record(Entry { epoch, writer, seq: Some(seq), drained: None, body: Body::Event(body) })
}

fn record(entry: Entry<Wire>) -> Record {
    encode(&entry, "/test/thing", id(99))
}

/// Appends all and waits until they are acknowledged.
pub async fn write(log: &Arc<dyn Log>, partition: &Partition, records: Vec<Record>) {
    let (to, mut reports) = mpsc::unbounded_channel();
    let n = records.len();
    for record in records {
        log.append(
            partition,
            record,
            Reply { ticket: Ticket { writer: id(0), seq: None }, to: to.clone() },
        )
        .unwrap();
    }
    for _ in 0..n {
        assert!(matches!(soon(reports.recv()).await.unwrap().result.unwrap(), Appended::At(_)));
    }
}

/// Two epochs, two commits of three events with a void between their records, a torn commit, and
/// junk.
pub fn eventful(first: Uuid, second: Uuid) -> Vec<Record> {
    vec![
        Record::default(),
        fence(1, first),
        event(1, first, 0, 1, 1, 1, (1, 1)),
        event(1, first, 1, 2, 2, 1, (1, 3)),
        event(9, first, 2, 2, 2, 2, (2, 3)),
        event(1, first, 2, 2, 2, 2, (2, 3)),
        event(1, first, 3, 2, 2, 3, (3, 3)),
        barrier(1, first, 4),
        event(1, first, 5, 1, 3, 2, (1, 2)),
        fence(2, second),
        event(1, first, 6, 1, 3, 3, (2, 2)),
        event(2, second, 0, 1, 3, 2, (1, 2)),
        Record::default(),
        event(2, second, 1, 1, 3, 3, (2, 2)),
    ]
}
