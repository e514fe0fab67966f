//! One record of the log as bytes. Knows nothing of what the bytes mean.

mod short;

use std::borrow::Cow;

pub use short::Short;

/// A record as it is handed to the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

/// One header. Names may repeat in a record; the fold voids what must not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    pub name: Cow<'static, str>,
    pub value: Short,
}

/// A record as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    pub offset: u64,
    /// When the log appended it (Kafka's LogAppendTime), milliseconds since the Unix epoch.
    pub appended_at_ms: i64,
    pub record: Record,
}

impl Header {
    pub fn new(name: impl Into<Cow<'static, str>>, value: impl Into<Short>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

impl Record {
    /// Bytes that count against budgets: key, value, and headers with their names.
    pub fn size_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|h| h.name.len() + h.value.len()).sum();
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len) + headers
    }

    /// The value of the header `name` if it is there exactly once.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.headers.iter().filter(|h| h.name == name);
        let first = found.next()?;
        found.next().is_none().then_some(first.value.as_slice())
    }
}
