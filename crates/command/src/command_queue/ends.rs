//! Where the partitions of `commands` end, as far as is known: asked for at most once a second
//! each, and known from every append.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// How old the end of a partition may be that the length of the command queue is told by.
const AGE: Duration = Duration::from_secs(1);

/// By partition.
#[derive(Default)]
pub struct Ends(Mutex<BTreeMap<u32, End>>);

/// Where it ended when it was last asked, or appended to.
#[derive(Default)]
struct End {
    offset: u64,
    asked: Option<Instant>,
}

impl Ends {
    /// The end as last heard; `Err`: it is time that one request asks again, which is this one.
    pub fn known(&self, partition: u32) -> Result<u64, u64> {
        let mut ends = self.0.lock();
        let end = ends.entry(partition).or_default();
        if end.asked.is_some_and(|asked| asked.elapsed() < AGE) {
            return Ok(end.offset);
        }
        end.asked = Some(Instant::now());
        Err(end.offset)
    }

    /// The farthest that was heard of.
    pub fn heard(&self, partition: u32, offset: u64) -> u64 {
        let mut ends = self.0.lock();
        let end = ends.entry(partition).or_default();
        end.offset = end.offset.max(offset);
        end.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_request_a_second_asks_where_a_partition_ends() {
        let ends = Ends::default();
        assert_eq!(ends.known(3), Err(0));
        assert_eq!(ends.heard(3, 7), 7);
        tokio::time::advance(AGE - Duration::from_millis(1)).await;
        assert_eq!(ends.known(3), Ok(7), "the others take what is known");
        assert_eq!(ends.known(4), Err(0), "of each partition for itself");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(ends.known(3), Err(7));
        assert_eq!(ends.known(3), Ok(7));
    }

    #[test]
    fn what_was_appended_counts_and_an_end_never_goes_back() {
        let ends = Ends::default();
        assert_eq!(ends.heard(3, 7), 7);
        assert_eq!(ends.heard(3, 5), 7, "said before the append was heard of");
        assert_eq!(ends.known(3), Err(7));
    }
}
