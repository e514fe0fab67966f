//! The projection that owners load from: the state of every aggregate and the outcome of every
//! command, exactly the fold at the checkpoint. It never halts for one aggregate: what it cannot
//! evolve is stored as unreadable. A newer release's events pause the partition.

mod dedup_filter;
mod outcomes;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use highwater_protocol::{domain::Unreadable, wire::RecordedEvent};
use highwater_tables::snapshots::{self, Name, Row, StoredSnapshot};

use super::aggregates::Aggregates;
use crate::runner::{Failure, PostgresTx, Projection, Slice, Start, TopicPartition};
use outcomes::Outcomes;

/// Names the checkpoints that the owners read.
pub const NAME: &str = highwater_tables::checkpoints::SNAPSHOTS;

pub struct Snapshots {
    categories: Vec<&'static str>,
    aggregates: BTreeMap<&'static str, Box<dyn Aggregates>>,
    filters: dedup_filter::Due,
}

impl Snapshots {
    pub fn of(aggregates: Vec<Box<dyn Aggregates>>) -> Self {
        let aggregates: BTreeMap<_, _> =
            aggregates.into_iter().map(|rules| (rules.category(), rules)).collect();
        Self {
            categories: aggregates.keys().copied().collect(),
            aggregates,
            filters: dedup_filter::Due::default(),
        }
    }

    /// So many outcomes are added to a filter in one transaction.
    pub fn with_filters_of(mut self, most_rows: i64) -> Self {
        self.filters.most_rows = most_rows;
        self
    }

    fn rules(&self, category: &str) -> Result<&dyn Aggregates, Failure> {
        self.aggregates
            .get(category)
            .map(|rules| &**rules)
            .ok_or_else(|| Failure::Deterministic(format!("no rules for {category}")))
    }

    async fn write(&self, tx: &mut PostgresTx, slices: &[Slice<'_>]) -> Result<(), Failure> {
        let touched = events_by_aggregate(slices)?;
        let before = snapshots::find(tx, touched.keys()).await?;
        let mut rows = Vec::with_capacity(touched.len());
        for (name, (partition, events)) in touched {
            let rules = self.rules(&name.category)?;
            let snapshot = advance(rules, before.get(&name), &events)?;
            rows.push(Row { name, partition, format: rules.format(), snapshot });
        }
        snapshots::upsert(tx, rows).await?;
        let mut outcomes = Outcomes::default();
        for slice in slices {
            slice.items.iter().try_for_each(|item| outcomes.add(slice.topic_partition, item))?;
        }
        outcomes.write(tx).await?;
        self.filters.write(tx, slices).await
    }

    /// States of an older form are not converted: the partition is folded again, from the
    /// beginning.
    async fn resume_partition(
        &self,
        tx: &mut PostgresTx,
        topic_partition: &TopicPartition,
    ) -> Result<Start, Failure> {
        let (partition, format) =
            (number(topic_partition.partition)?, self.rules(&topic_partition.category)?.format());
        let category = &*topic_partition.category;
        let Some(formats) = snapshots::formats(tx, category, partition).await? else {
            return Ok(Start::AtCheckpoint);
        };
        if formats.newest > format {
            return Err(Failure::Newer(format!(
                "snapshots of {topic_partition} were written by a newer release: upgrade readers first"
            )));
        }
        if formats.oldest == format {
            return Ok(Start::AtCheckpoint);
        }
        snapshots::delete_partition(tx, category, partition).await?;
        highwater_tables::outcomes::delete_partition(tx, category, partition).await?;
        self.filters.start_over(tx, topic_partition).await?;
        Ok(Start::Over)
    }
}

impl Projection<PostgresTx> for Snapshots {
    fn name(&self) -> &'static str {
        NAME
    }

    fn categories(&self) -> &[&'static str] {
        &self.categories
    }

    /// Owners decide by them: a state that lacks an event is none, and says why itself.
    fn parks(&self) -> bool {
        false
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.write(tx, slices))
    }

    fn resume<'a>(
        &'a self,
        tx: &'a mut PostgresTx,
        topic_partition: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<Start, Failure>> {
        Box::pin(self.resume_partition(tx, topic_partition))
    }
}

/// Versions and events of one aggregate.
type Events<'a> = Vec<(i64, &'a RecordedEvent)>;

/// With the partition of each.
fn events_by_aggregate<'a>(
    slices: &[Slice<'a>],
) -> Result<BTreeMap<Name, (i32, Events<'a>)>, Failure> {
    let mut touched: BTreeMap<Name, (i32, Events<'a>)> = BTreeMap::new();
    for slice in slices {
        let partition = number(slice.topic_partition.partition)?;
        for (_, event) in slice.events() {
            let name = Name {
                category: slice.topic_partition.category.to_string(),
                id: event.metadata.aggregate,
            };
            let (_, events) = touched.entry(name).or_insert_with(|| (partition, Vec::new()));
            events.push((i64::try_from(event.version).unwrap_or(i64::MAX), &event.event));
        }
    }
    Ok(touched)
}

/// The stored form after `events`. What is unreadable stays so: its state is unknown from there on.
fn advance(
    rules: &dyn Aggregates,
    before: Option<&StoredSnapshot>,
    events: &Events<'_>,
) -> Result<StoredSnapshot, Failure> {
    let mut has = before.map_or(0, |stored| stored.version);
    let events: Vec<&(i64, &RecordedEvent)> =
        events.iter().filter(|(version, _)| *version > has).collect();
    let mut gap = None;
    for (version, _) in &events {
        if *version != has + 1 {
            gap = gap.or(Some(format!("version {version} follows {has}")));
        }
        has = *version;
    }
    let events: Vec<&RecordedEvent> = events.into_iter().map(|(_, event)| *event).collect();
    let state = match (before.map(|stored| &stored.state), gap) {
        (Some(Err(unreadable)), _) => Err(unreadable.clone()),
        (_, Some(gap)) => Err(gap),
        (Some(Ok(serialized)), None) if events.is_empty() => Ok(serialized.clone()),
        (serialized, None) => {
            match rules.fold(serialized.and_then(|state| state.as_deref().ok()), &events) {
                Ok(state) => Ok(state),
                Err(newer @ Unreadable::Newer { .. }) => return Err(newer.into()),
                Err(malformed @ Unreadable::Malformed { .. }) => {
                    Err(malformed.to_string().replace('\0', "\u{fffd}"))
                }
            }
        }
    };
    Ok(StoredSnapshot { version: has, state })
}

fn number(partition: u32) -> Result<i32, Failure> {
    i32::try_from(partition).map_err(|error| Failure::Deterministic(error.to_string()))
}

#[cfg(test)]
mod tests {
    use highwater_protocol::{
        entry::{CommandMetadata, EventBody, Part},
        fold::Commit,
        position::Position,
        time::Micros,
        wire::{Fingerprint, Meta},
    };
    use uuid::Uuid;

    use super::*;
    use crate::runner::{Item, Source, What};

    /// Its state is how many events it has seen; the type of an event says what is wrong with it.
    struct Counting;

    impl Aggregates for Counting {
        fn category(&self) -> &'static str {
            "thing"
        }

        fn format(&self) -> i16 {
            1
        }

        fn fold(
            &self,
            state: Option<&[u8]>,
            events: &[&RecordedEvent],
        ) -> Result<Vec<u8>, Unreadable> {
            let mut seen = state.map_or(0, |state| state[0]);
            for event in events {
                match event.event_type.as_ref() {
                    "newer" => return Err(Unreadable::Newer { what: "newer".to_owned() }),
                    "bad" => {
                        return Err(Unreadable::Malformed {
                            what: "bad".to_owned(),
                            why: "with a \0".to_owned(),
                        });
                    }
                    _ => seen += 1,
                }
            }
            Ok(vec![seen])
        }
    }

    fn event(event_type: &'static str) -> RecordedEvent {
        RecordedEvent { event_type: event_type.into(), schema: event_type.into(), data: Vec::new() }
    }

    fn after(
        before: Option<&StoredSnapshot>,
        events: &[(i64, &'static str)],
    ) -> Result<StoredSnapshot, Failure> {
        let events: Vec<(i64, RecordedEvent)> =
            events.iter().map(|(version, event_type)| (*version, event(event_type))).collect();
        advance(
            &Counting,
            before,
            &events.iter().map(|(version, event)| (*version, event)).collect(),
        )
    }

    #[test]
    fn events_that_are_in_already_are_skipped() -> Result<(), Failure> {
        let three = after(None, &[(1, "good"), (2, "good"), (3, "good")])?;
        assert_eq!(three, StoredSnapshot { version: 3, state: Ok(vec![3]) });
        assert_eq!(
            after(Some(&three), &[(2, "good"), (3, "bad"), (4, "good")])?,
            StoredSnapshot { version: 4, state: Ok(vec![4]) }
        );
        assert_eq!(after(Some(&three), &[(3, "good")])?, three);
        Ok(())
    }

    #[test]
    fn what_cannot_be_read_is_unreadable_from_there_on() -> Result<(), Failure> {
        let bad = after(None, &[(1, "good"), (2, "bad")])?;
        assert_eq!(bad.version, 2);
        // Postgres holds no NUL in text.
        assert!(bad.state.as_ref().is_err_and(|why| why.contains("bad") && !why.contains('\0')));
        let later = after(Some(&bad), &[(3, "good")])?;
        assert_eq!((later.version, later.state), (3, bad.state));
        let gap = after(None, &[(1, "good"), (3, "good")])?;
        assert_eq!((gap.version, gap.state.is_err()), (3, true));
        Ok(())
    }

    #[test]
    fn events_that_follow_each_other_make_no_gap() -> Result<(), Failure> {
        let first = after(None, &[(1, "good")])?;
        for version in [3, 5] {
            assert!(
                after(Some(&first), &[(version, "good")])?
                    .state
                    .is_err_and(|why| why == format!("version {version} follows 1"))
            );
        }
        // The first gap is said, and what is behind it counts on.
        let gaps = after(Some(&first), &[(3, "good"), (7, "good")])?;
        assert_eq!(
            gaps,
            StoredSnapshot { version: 7, state: Err("version 3 follows 1".to_owned()) }
        );
        Ok(())
    }

    fn item(aggregate: u128, version: u64) -> Item {
        let metadata = CommandMetadata {
            aggregate: Uuid::from_u128(aggregate),
            command: Uuid::nil(),
            fingerprint: Fingerprint { key_number: 0, hmac: [0; 32] },
            meta: Meta::default(),
            source: None,
        };
        let body = EventBody {
            metadata,
            version,
            part: Part::WHOLE,
            time: Micros(0),
            event: event("good"),
        };
        Item {
            what: What::Commit(Commit { first: 7, end: 8, last_seq: 7, events: vec![body] }),
            after: Position::start(),
        }
    }

    #[test]
    fn events_are_put_together_by_their_aggregates_and_in_sequence() -> Result<(), Failure> {
        let (one, other) =
            (TopicPartition::of_events("thing", 3), TopicPartition::of_events("other", 4));
        let (first, second) =
            ([item(1, 1), item(2, 5), item(1, 2)], [item(1, 9), item(1, u64::MAX)]);
        let slices = [
            Slice { topic_partition: &one, items: &first },
            Slice { topic_partition: &other, items: &second },
        ];
        let found = events_by_aggregate(&slices)?;
        let found: Vec<_> = found
            .into_iter()
            .map(|(name, (partition, events))| {
                let versions: Vec<i64> = events.iter().map(|(version, _)| *version).collect();
                (name.category, name.id.as_u128(), partition, versions)
            })
            .collect();
        let of = |category: &str, id, partition, versions| {
            (category.to_owned(), id, partition, versions)
        };
        assert_eq!(
            found,
            [
                of("other", 1, 4, vec![9, i64::MAX]),
                of("thing", 1, 3, vec![1, 2]),
                of("thing", 2, 3, vec![5])
            ]
        );
        let beyond = TopicPartition::of_events("thing", u32::MAX);
        let refused = events_by_aggregate(&[Slice { topic_partition: &beyond, items: &[] }]);
        assert!(matches!(refused, Err(Failure::Deterministic(_))));
        Ok(())
    }

    #[test]
    fn every_category_with_rules_is_read_from_its_events() {
        let snapshots = Snapshots::of(vec![Box::new(Counting)]);
        assert_eq!(
            (snapshots.name(), snapshots.categories(), snapshots.source()),
            ("snapshots", &["thing"][..], Source::Events)
        );
        assert!(snapshots.rules("thing").is_ok_and(|rules| rules.category() == "thing"));
        assert!(matches!(snapshots.rules("other"), Err(Failure::Deterministic(_))));
    }

    #[test]
    fn what_a_newer_release_wrote_is_told_apart_from_what_is_wrong() {
        assert!(matches!(after(None, &[(1, "newer")]), Err(Failure::Newer(_))));
    }
}
