//! How a record is written in the local store and on its socket: lengths as u32, big endian.
//! Interprets no header.
//!
//! `appended_at_ms i64 | key | value | count u32 | (name, value)*`, where key and value are `u32
//! length, bytes`, and a length of `u32::MAX` says that there is none.

use highwater_protocol::{
    record::{Header, Record, StoredRecord},
    wire,
};

const NONE: u32 = u32::MAX;

/// Appends the bytes of `record` to `out`.
pub fn encode(appended_at_ms: i64, record: &Record, out: &mut Vec<u8>) {
    out.extend(appended_at_ms.to_be_bytes());
    put(out, record.key.as_deref());
    put(out, record.value.as_deref());
    out.extend(length(record.headers.len()).to_be_bytes());
    for header in &record.headers {
        put(out, Some(header.name.as_bytes()));
        put(out, Some(&header.value));
    }
}

/// When the record in `bytes` was appended.
pub fn appended_at_ms(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?))
}

/// The record in `bytes`, all of them; `None` if that is not what they are.
pub fn decode(offset: u64, bytes: &[u8]) -> Option<StoredRecord> {
    let mut rest = bytes;
    let appended_at_ms = i64::from_be_bytes(take(&mut rest, 8)?.try_into().ok()?);
    let (key, value) =
        (borrow(&mut rest)?.map(<[u8]>::to_vec), borrow(&mut rest)?.map(<[u8]>::to_vec));
    let count = number(&mut rest)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let name = std::str::from_utf8(borrow(&mut rest)??).ok()?;
        headers.push(Header::new(wire::header_name(name), borrow(&mut rest)??));
    }
    rest.is_empty().then_some(StoredRecord {
        offset,
        appended_at_ms,
        record: Record { key, value, headers },
    })
}

fn put(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return out.extend(NONE.to_be_bytes()) };
    out.extend(length(bytes.len()).to_be_bytes());
    out.extend(bytes);
}

/// Records are refused long before they are this long.
fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(NONE)
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
}

#[expect(clippy::option_option, reason = "outside: malformed; inside: there is none")]
fn borrow<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match number(rest)? {
        NONE => Some(None),
        n => Some(Some(take(rest, usize::try_from(n).ok()?)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        vec![
            Record::default(),
            Record {
                key: Some(Vec::new()),
                value: None,
                headers: vec![Header::new("", Vec::new())],
            },
            Record {
                key: Some(b"k".to_vec()),
                value: Some(vec![0; 300]),
                headers: vec![
                    Header::new("hw-kind", "event"),
                    Header::new("hw-kind", vec![255, 0]),
                ],
            },
        ]
    }

    #[test]
    fn reads_back_what_it_wrote() {
        for record in records() {
            let mut bytes = Vec::new();
            encode(-7, &record, &mut bytes);
            assert_eq!(
                decode(3, &bytes),
                Some(StoredRecord { offset: 3, appended_at_ms: -7, record })
            );
        }
    }

    #[test]
    fn refuses_every_prefix_and_any_tail() {
        for record in records() {
            let mut bytes = Vec::new();
            encode(1, &record, &mut bytes);
            for n in 0..bytes.len() {
                assert_eq!(decode(0, &bytes[..n]), None, "{n} of {} bytes", bytes.len());
            }
            bytes.push(0);
            assert_eq!(decode(0, &bytes), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = decode(0, &bytes);
        }

        /// Lengths and counts that claim more than there is allocate nothing.
        #[test]
        fn a_wrong_byte_never_panics(at in 0_usize..60, byte in proptest::num::u8::ANY) {
            let mut bytes = Vec::new();
            encode(1, &records()[2], &mut bytes);
            bytes[at] = byte;
            let _ = decode(0, &bytes);
        }
    }
}
