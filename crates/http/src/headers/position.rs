//! Owns `Highwater-Min-Position` and `Highwater-Position`: `category/partition@n`, everything below
//! offset n is included. `category/partition@n:m` is short for that partition and the next one, and
//! so on.

use std::collections::btree_map::{BTreeMap, Entry};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::json::shorten;
use crate::number::canonical;
use crate::problem::Problem;

const SHOWN: &str = "Highwater-Min-Position";
pub const MIN_POSITION: HeaderName = HeaderName::from_static("highwater-min-position");
pub const HIGHWATER_POSITION: HeaderName = HeaderName::from_static("highwater-position");

/// An answer's header stays below this.
const LONGEST: usize = 2_048;
const MOST: usize = 256;
const FORM: &str = "category/partition@offset, with numbers as 7 and not as 07";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartitionPosition {
    pub category: String,
    pub partition: u32,
    /// The first offset that is not included.
    pub offset: u64,
}

impl PartitionPosition {
    pub fn new(category: impl Into<String>, partition: u32, offset: u64) -> Self {
        Self { category: category.into(), partition, offset }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let (category, rest) = text.split_once('/')?;
        let (partition, offset) = rest.split_once('@')?;
        let named =
            !category.is_empty() && category.len() <= 100 && category.bytes().all(is_category_byte);
        if !named {
            return None;
        }
        Some(Self {
            category: category.to_owned(),
            partition: canonical(partition)?,
            offset: canonical(offset)?,
        })
    }

    pub fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl std::fmt::Display for PartitionPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}@{}", self.category, self.partition, self.offset)
    }
}

/// What a reader wants included: at most one offset a partition, the largest given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MinPosition(pub Vec<PartitionPosition>);

impl MinPosition {
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(text) = super::text(headers, &MIN_POSITION, SHOWN)? else { return Ok(None) };
        Self::parse(&text).map(Some)
    }

    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut positions: Vec<PartitionPosition> = Vec::new();
        let mut known = BTreeMap::new();
        for item in text.split(',') {
            let item = item.trim();
            let run = run(item).ok_or_else(|| {
                Problem::bad_header(SHOWN, format!("\"{}\" is not {FORM}", shorten(item)))
            })?;
            for position in run {
                match known.entry((position.category.clone(), position.partition)) {
                    Entry::Occupied(at) => {
                        let at: &mut PartitionPosition = &mut positions[*at.get()];
                        at.offset = at.offset.max(position.offset);
                    }
                    Entry::Vacant(_) if positions.len() == MOST => {
                        return Err(Problem::bad_header(
                            SHOWN,
                            format!("names more than {MOST} partitions"),
                        ));
                    }
                    Entry::Vacant(new) => {
                        new.insert(positions.len());
                        positions.push(position);
                    }
                }
            }
        }
        Ok(Self(positions))
    }
}

/// A list for `Highwater-Position`. `None` when it would be longer than 2 KiB.
pub fn format_positions(positions: &[PartitionPosition]) -> Option<HeaderValue> {
    let text = positions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if text.len() > LONGEST { None } else { HeaderValue::from_str(&text).ok() }
}

/// `category/0@n:m...`: the offsets of all partitions of a category, from the first one on, as
/// [`MinPosition`] reads them. `None` when it would be longer than 2 KiB, or name more partitions
/// than are read.
pub fn format_compact(category: &str, offsets: &[u64]) -> Option<HeaderValue> {
    let count = offsets.len();
    let offsets = offsets.iter().map(ToString::to_string).collect::<Vec<_>>().join(":");
    let text = format!("{category}/0@{offsets}");
    if count == 0 || count > MOST || text.len() > LONGEST {
        None
    } else {
        HeaderValue::from_str(&text).ok()
    }
}

/// One item of a list: a position, or the offsets of several partitions in a row.
fn run(item: &str) -> Option<Vec<PartitionPosition>> {
    let (named, offsets) = item.split_once('@')?;
    let first = PartitionPosition::parse(&format!("{named}@0"))?;
    let mut run = Vec::new();
    for (at, offset) in offsets.split(':').enumerate().take(MOST + 1) {
        let partition = first.partition.checked_add(u32::try_from(at).ok()?)?;
        run.push(PartitionPosition {
            category: first.category.clone(),
            partition,
            offset: canonical(offset)?,
        });
    }
    Some(run)
}

fn is_category_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}
