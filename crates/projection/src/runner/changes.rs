//! What a transaction changed, as one notification for caches (`highwater_tables::changes`). Pure.

use std::collections::{BTreeMap, BTreeSet};

use highwater_tables::changes::{self, Change, key_of};

use super::{Job, TopicPartition};
use crate::rows;

/// More keys than these are not named: the partition is.
const MOST_KEYS: usize = 500;

/// The notification of a transaction; `None` if nothing visible is in it.
pub fn text(jobs: &[Job]) -> Option<String> {
    let mut left = MOST_KEYS;
    let runs = by_topic_partition(jobs);
    changes::text(runs.iter().filter_map(|((topic_partition, offset), run)| {
        item(topic_partition, *offset, run, &mut left)
    }))
}

/// What ends at the same place, of one projection each.
fn by_topic_partition(jobs: &[Job]) -> BTreeMap<(&TopicPartition, u64), Vec<&Job>> {
    let mut runs: BTreeMap<(&TopicPartition, u64), Vec<&Job>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| !job.items().is_empty()) {
        runs.entry((&job.key.topic_partition, job.to.offset)).or_default().push(job);
    }
    runs
}

/// `None`: rejections change no row.
fn item<'a>(
    topic_partition: &'a TopicPartition,
    offset: u64,
    run: &[&'a Job],
    left: &mut usize,
) -> Option<Change<'a>> {
    // The projection that began first has what the others have, and more.
    let longest = run.iter().max_by_key(|job| job.items().len())?;
    let ids = rows::touched(&[longest.slice()]);
    let keys: BTreeSet<u64> = ids.iter().map(|id| key_of(*id)).collect();
    if keys.is_empty() {
        return None;
    }
    let rest = left.checked_sub(keys.len());
    *left = rest.unwrap_or(*left);
    Some(Change {
        projections: run.iter().map(|job| job.key.projection).collect(),
        category: &topic_partition.category,
        partition: topic_partition.partition,
        offset,
        keys: rest.map(|_| keys),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use highwater_protocol::{
        entry::{CommandMetadata, EventBody, OutcomeBody, Part, Verdict},
        fold::Commit,
        position::Position,
        time::Micros,
        wire::{Fingerprint, Meta, Reason, RecordedEvent},
    };
    use uuid::Uuid;

    use super::*;
    use crate::runner::{Item, Key, What};

    fn item(id: u128) -> Item {
        let metadata = CommandMetadata {
            aggregate: Uuid::from_u128(id),
            command: Uuid::nil(),
            fingerprint: Fingerprint { key_number: 0, hmac: [0; 32] },
            meta: Meta::default(),
            source: None,
        };
        let event =
            RecordedEvent { event_type: "a".into(), schema: "a.v1".into(), data: Vec::new() };
        let body = EventBody { metadata, version: 1, part: Part::WHOLE, time: Micros(0), event };
        Item {
            what: What::Commit(Commit { first: 7, end: 8, last_seq: 7, events: vec![body] }),
            after: Position::start(),
        }
    }

    fn job(
        projection: &'static str,
        partition: u32,
        offset: u64,
        ids: impl IntoIterator<Item = u128>,
    ) -> Job {
        let items: Arc<[Item]> = ids.into_iter().map(item).collect();
        let key = Key { projection, topic_partition: TopicPartition::of_events("x", partition) };
        let to = Position { offset, ..Position::start() };
        Job { key, from: Position::start(), to, end: items.len(), first: 0, items }
    }

    #[test]
    fn names_projections_partitions_offsets_and_keys() {
        let jobs = [
            job("a", 1, 8, [1, 0xf_0123_4567_89ab, 1]),
            job("b", 1, 8, [1, 0xf_0123_4567_89ab, 1]),
            job("b", 2, 5, [2]),
        ];
        let expected = "a,b=x/1@8:000000000001.0123456789ab b=x/2@5:000000000002";
        assert_eq!(text(&jobs).as_deref(), Some(expected));
        assert_eq!(text(&[job("a", 1, 8, [])]), None);
    }

    #[test]
    fn what_changes_no_row_is_not_named() {
        let mut rejected = job("a", 1, 8, [1]);
        let What::Commit(commit) = item(1).what else { return };
        let body = OutcomeBody {
            metadata: commit.events[0].metadata.clone(),
            version: 1,
            verdict: Verdict::Rejected,
            reason: Reason(b"{}".to_vec()),
        };
        rejected.items =
            vec![Item { what: What::Outcome { offset: 7, body }, after: Position::start() }].into();
        assert_eq!(text(std::slice::from_ref(&rejected)), None);
        assert_eq!(text(&[rejected, job("a", 2, 5, [2])]).as_deref(), Some("a=x/2@5:000000000002"));
    }

    #[test]
    fn a_projection_that_began_earlier_names_its_keys_too() {
        assert_eq!(
            text(&[job("a", 1, 8, [2]), job("b", 1, 8, [1, 2])]).as_deref(),
            Some("a,b=x/1@8:000000000001.000000000002")
        );
    }

    #[test]
    fn stays_within_what_postgres_takes() {
        let whole = text(&[job("a", 1, 8, 0..501), job("a", 2, 8, 0..500)]).unwrap_or_default();
        assert!(whole.starts_with("a=x/1@8:* a=x/2@8:000000000000."), "{whole}");
        let jobs: Vec<Job> = (0..1_000).map(|partition| job("a", partition, 8, 0..600)).collect();
        assert_eq!(text(&jobs).as_deref(), Some("*"));
    }
}
