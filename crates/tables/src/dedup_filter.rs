//! Which ids have been seen: Bloom filters in segments, in the form in which they are stored. May
//! hold too much, never too little.
//!
//! | module | what it owns |
//! |---|---|
//! | `table` | segments as rows of `seen_filters` |
//! | `load` | a filter as an owner loads it, with the outcomes since |

mod load;
mod table;

use fastbloom::BloomFilter;
use uuid::Uuid;

pub use self::{
    load::{OwnerFilter, load},
    table::{delete_partition, last, upsert},
};

/// Ids of the first segment; each later one has room for twice as many, up to [`MOST_IDS`].
const FIRST_IDS: usize = 16_384;
const MOST_IDS: usize = 1 << 20;
/// 14.4 bits an id and 10 hashes: one false answer in a thousand.
const BITS_PER_ID: usize = 15;
const HASHES: u32 = 10;
/// Part of the stored form: never changes.
const SEED: u128 = 0x6869_6768_7761_7465_7220_7365_656e_2031;

/// One filter of fixed size.
#[derive(Clone, Debug)]
pub struct Segment {
    number: u32,
    ids: u64,
    bits: BloomFilter,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment {number} has {found} bytes instead of {expected}")]
pub struct WrongSize {
    pub number: u32,
    pub found: usize,
    pub expected: usize,
}

impl Segment {
    pub fn empty(number: u32) -> Self {
        let words = vec![0; words_of(number)];
        Self { number, ids: 0, bits: BloomFilter::from_vec(words).seed(&SEED).hashes(HASHES) }
    }

    pub fn from_bytes(number: u32, ids: u64, bytes: &[u8]) -> Result<Self, WrongSize> {
        let expected = words_of(number) * 8;
        if bytes.len() != expected {
            return Err(WrongSize { number, found: bytes.len(), expected });
        }
        let words = bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
            .collect();
        Ok(Self { number, ids, bits: BloomFilter::from_vec(words).seed(&SEED).hashes(HASHES) })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.bits.as_slice().iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// Distinct ids, as far as the filter can tell.
    pub fn ids(&self) -> u64 {
        self.ids
    }

    pub fn size_bytes(&self) -> usize {
        words_of(self.number) * 8
    }

    pub fn is_full(&self) -> bool {
        self.ids >= capacity(self.number) as u64
    }

    pub fn add(&mut self, id: Uuid) {
        if !self.bits.insert(id.as_bytes()) {
            self.ids += 1;
        }
    }

    pub fn may_contain(&self, id: Uuid) -> bool {
        self.bits.contains(id.as_bytes())
    }
}

/// All segments of a partition, as an owner holds them.
#[derive(Clone, Debug)]
pub struct DedupFilter {
    segments: Vec<Segment>,
    limit_bytes: usize,
    /// Beyond the limit nothing is kept: everything may have been seen.
    blind: bool,
}

impl DedupFilter {
    /// `segments` in their sequence.
    pub fn new(segments: Vec<Segment>, limit_bytes: usize) -> Self {
        let mut filter = Self { segments, limit_bytes, blind: false };
        filter.check_size();
        filter
    }

    /// Knows nothing, so everything may have been seen.
    pub fn blind() -> Self {
        Self { segments: Vec::new(), limit_bytes: 0, blind: true }
    }

    pub fn add(&mut self, id: Uuid) {
        if self.blind || self.segments.iter().any(|segment| segment.may_contain(id)) {
            return;
        }
        if self.segments.last().is_none_or(Segment::is_full) {
            let number = self.segments.last().map_or(0, |last| last.number + 1);
            self.segments.push(Segment::empty(number));
            self.check_size();
        }
        if let Some(last) = self.segments.last_mut() {
            last.add(id);
        }
    }

    /// `false`: it was never added.
    pub fn may_contain(&self, id: Uuid) -> bool {
        self.blind || self.segments.iter().any(|segment| segment.may_contain(id))
    }

    pub fn size_bytes(&self) -> usize {
        self.segments.iter().map(Segment::size_bytes).sum()
    }

    fn check_size(&mut self) {
        if self.size_bytes() > self.limit_bytes {
            *self = Self::blind();
        }
    }
}

fn capacity(number: u32) -> usize {
    FIRST_IDS.checked_shl(number).filter(|_| number < 16).map_or(MOST_IDS, |ids| ids.min(MOST_IDS))
}

fn words_of(number: u32) -> usize {
    (capacity(number) * BITS_PER_ID).div_ceil(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_0c61_0c5e_8b1d))
    }

    #[test]
    fn nothing_that_was_added_is_forgotten_over_many_segments() {
        let mut filter = DedupFilter::new(Vec::new(), 1 << 20);
        (0..60_000).for_each(|n| filter.add(id(n)));
        assert!(filter.segments.len() >= 3, "{} segments", filter.segments.len());
        assert!((0..60_000).all(|n| filter.may_contain(id(n))));
        let wrong = (100_000..200_000).filter(|n| filter.may_contain(id(*n))).count();
        assert!(wrong < 500, "{wrong} of 100,000 were never added");
    }

    #[test]
    fn the_stored_form_answers_the_same() -> Result<(), WrongSize> {
        let mut segment = Segment::empty(1);
        (0..20_000).for_each(|n| segment.add(id(n)));
        let stored = Segment::from_bytes(1, segment.ids(), &segment.to_bytes())?;
        assert!((0..60_000).all(|n| stored.may_contain(id(n)) == segment.may_contain(id(n))));
        assert_eq!(stored.to_bytes(), segment.to_bytes());
        assert_eq!(
            Segment::from_bytes(0, 0, &segment.to_bytes()).map(|_| ()),
            Err(WrongSize { number: 0, found: 61_440, expected: 30_720 })
        );
        Ok(())
    }

    /// Filters outlive releases: another library, seed or size would make owners forget.
    #[test]
    fn the_stored_form_never_changes() {
        let mut segment = Segment::empty(0);
        segment.add(Uuid::from_u128(0x0190_163d_8694_739b_aea5_966c_26f8_ad91));
        let set: Vec<_> = segment
            .to_bytes()
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte != 0)
            .map(|(at, byte)| (at, *byte))
            .collect();
        let golden = [
            (1434, 4),
            (2886, 1),
            (3891, 8),
            (10216, 8),
            (15640, 16),
            (16416, 2),
            (16770, 1),
            (20963, 64),
            (22565, 4),
            (26962, 128),
        ];
        assert_eq!(set, golden);
    }

    #[test]
    fn beyond_its_limit_everything_may_have_been_seen() {
        let mut filter = DedupFilter::new(Vec::new(), 100_000);
        assert!(!filter.may_contain(id(1)));
        (0..100_000).for_each(|n| filter.add(id(n)));
        assert!(filter.may_contain(id(5_000_000)));
        assert_eq!(filter.size_bytes(), 0);
    }
}
