//! The container of golden records: lengths as big-endian u32, `ffffffff` for what is absent.

use highwater_protocol::record::{Header, Record};

const ABSENT: u32 = u32::MAX;

pub fn pack(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, record.key.as_deref());
    put(&mut out, record.value.as_deref());
    out.extend(u32::try_from(record.headers.len()).unwrap().to_be_bytes());
    for header in &record.headers {
        put(&mut out, Some(header.name.as_bytes()));
        put(&mut out, Some(&header.value));
    }
    out
}

/// `None`: not in this form, to the last byte.
pub fn unpack(mut bytes: &[u8]) -> Option<Record> {
    let rest = &mut bytes;
    let (key, value) = (take(rest)?, take(rest)?);
    let count = number(rest)?;
    let header =
        |rest: &mut &[u8]| Some(Header::new(String::from_utf8(take(rest)??).ok()?, take(rest)??));
    let headers = (0..count).map(|_| header(rest)).collect::<Option<Vec<_>>>()?;
    rest.is_empty().then_some(Record { key, value, headers })
}

fn put(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.extend(bytes.map_or(ABSENT, |bytes| u32::try_from(bytes.len()).unwrap()).to_be_bytes());
    out.extend(bytes.unwrap_or_default());
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

fn take(rest: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let length = number(rest)?;
    if length == ABSENT {
        return Some(None);
    }
    let (bytes, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(Some(bytes.to_vec()))
}
