//! From librdkafka's messages to records.

use std::panic::{AssertUnwindSafe, catch_unwind};

use highwater_protocol::{
    record::{Header, Record, StoredRecord},
    wire,
};
use rdkafka::message::{BorrowedMessage, Headers, Message};

/// A copy of `message`.
pub fn stored(message: &BorrowedMessage<'_>) -> StoredRecord {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        (0..headers.count()).map(|at| header(headers, at)).collect()
    });
    let record = Record {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    };
    // An offset of a consumed message is never negative.
    let offset = u64::try_from(message.offset()).unwrap_or(u64::MAX);
    StoredRecord { offset, appended_at_ms: message.timestamp().to_millis().unwrap_or(0), record }
}

/// rdkafka panics at a header whose name is not UTF-8. Such a header is none of ours, and a foreign
/// record must not end a reader.
fn header(headers: &impl Headers, at: usize) -> Header {
    let read = catch_unwind(AssertUnwindSafe(|| {
        headers.try_get(at).map(|header| {
            Header::new(wire::header_name(header.key), header.value.unwrap_or_default())
        })
    }));
    read.ok().flatten().unwrap_or_else(|| Header::new("\u{fffd}", Vec::new()))
}
