//! Which partition a key belongs to: murmur2 as Kafka's Java client computes it, written once more
//! for the audit.

/// The partition, of `partitions`, that records with this key lie in.
pub fn partition_for(key: &[u8], partitions: u32) -> u32 {
    let positive = hash(key) & (u32::MAX >> 1);
    positive.checked_rem(partitions).unwrap_or(0)
}

fn hash(key: &[u8]) -> u32 {
    let mix = |state: u32, word: u32| {
        let word = word.wrapping_mul(0x5bd1_e995);
        state.wrapping_mul(0x5bd1_e995) ^ (word ^ (word >> 24)).wrapping_mul(0x5bd1_e995)
    };
    let (words, rest) = key.as_chunks::<4>();
    // The seed is mixed with the length modulo 2^32.
    let start = 0x9747_b28c ^ (key.len() & 0xffff_ffff) as u32;
    let mut state = words.iter().fold(start, |state, word| mix(state, u32::from_le_bytes(*word)));
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        state = (state ^ tail).wrapping_mul(0x5bd1_e995);
    }
    state = (state ^ (state >> 13)).wrapping_mul(0x5bd1_e995);
    state ^ (state >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own test of this hash (`UtilsTest.testMurmur2`), all remainders of a
    /// length by four among them.
    #[test]
    fn hashes_as_kafka_does() {
        assert_eq!(hash(b"21").cast_signed(), -973_932_308);
        assert_eq!(hash(b"foobar").cast_signed(), -790_332_482);
        assert_eq!(hash(b"a-little-bit-long-string").cast_signed(), -985_981_536);
        assert_eq!(hash(b"a-little-bit-longer-string").cast_signed(), -1_486_304_829);
        assert_eq!(
            hash(b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8").cast_signed(),
            -58_897_971
        );
        assert_eq!(hash(b"abc").cast_signed(), 479_470_107);
    }

    #[test]
    fn no_partitions_are_no_panic() {
        assert_eq!(partition_for(b"21", 0), 0);
    }
}
