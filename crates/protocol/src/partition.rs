//! Which partition a key belongs to: murmur2 as the Java client computes it
//! (`org.apache.kafka.common.utils.Utils`).

/// The partition of `key` among `partitions`, the Java client's default for a keyed record. Zero
/// partitions count as one.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// MurmurHash2, 32 bits, seed 0x9747b28c, over the bytes in little-endian words.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // The hash is defined modulo 2^32, the length with it.
    let length = u32::try_from(data.len() & 0xffff_ffff).unwrap_or(u32::MAX);
    let mut h = SEED ^ length;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if rest.len() == 3 {
        h ^= u32::from(rest[2]) << 16;
    }
    if rest.len() >= 2 {
        h ^= u32::from(rest[1]) << 8;
    }
    if !rest.is_empty() {
        h = (h ^ u32::from(rest[0])).wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// From Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn hashes_as_the_java_client() {
        let vectors: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            // Bytes that are negative in Java.
            (b"\xff\x80\x00\xfe\xc3", 329_906_331),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key).cast_signed(), hash, "{key:?}");
        }
    }

    #[test]
    fn partitions_as_the_java_client() {
        let vectors: Vec<Value> =
            serde_json::from_str(include_str!("../vectors/partitions.json")).unwrap();
        for vector in &vectors {
            let key = vector["key"].as_str().unwrap().as_bytes();
            assert_eq!(
                Some(i64::from(murmur2(key).cast_signed())),
                vector["murmur2"].as_i64(),
                "{vector}"
            );
            assert_eq!(Some(u64::from(partition_of(key, 8))), vector["of_8"].as_u64(), "{vector}");
            assert_eq!(
                Some(u64::from(partition_of(key, 12))),
                vector["of_12"].as_u64(),
                "{vector}"
            );
        }
        assert!(
            vectors.iter().any(|v| v["murmur2"].as_i64() < Some(0)),
            "the sign bit must be masked, not negated"
        );
    }

    #[test]
    fn no_partitions_count_as_one() {
        assert_eq!(partition_of(b"foobar", 0), 0);
        assert_eq!(partition_of(b"foobar", 1), 0);
    }
}
