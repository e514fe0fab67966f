//! Rows of `outcomes`: what each command came to.

use std::collections::{BTreeMap, btree_map::Entry};

use highwater_tables::outcomes::{self, Row};
use uuid::Uuid;

use crate::runner::{Failure, Item, PostgresTx, TopicPartition, What};

/// Each command once: the first record of it is the answer.
#[derive(Default)]
pub(super) struct Outcomes(BTreeMap<Uuid, Row>);

impl Outcomes {
    pub(super) fn add(
        &mut self,
        topic_partition: &TopicPartition,
        item: &Item,
    ) -> Result<(), Failure> {
        let TopicPartition { category, partition, .. } = topic_partition;
        let made = match &item.what {
            What::Commit(commit) => Row::of_commit(category, *partition, commit),
            What::Outcome { offset, body } => {
                Row::of_record(category, *partition, *offset, body).map(Some)
            }
            What::Accepted { .. } => Ok(None),
        };
        let made = made.map_err(|error| Failure::Deterministic(error.to_string()))?;
        if let Some(row) = made
            && let Entry::Vacant(free) = self.0.entry(row.command)
        {
            free.insert(row);
        }
        Ok(())
    }

    pub(super) async fn write(self, tx: &mut PostgresTx) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let rows: Vec<Row> = self.0.into_values().collect();
        Ok(outcomes::insert(tx, &rows).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use highwater_protocol::{
        entry::{CommandMetadata, EventBody, OutcomeBody, Part, Verdict},
        fold::Commit,
        position::Position,
        time::Micros,
        wire::{Fingerprint, Meta, Reason, RecordedEvent, Wire},
    };
    use highwater_tables::outcomes;

    use super::*;

    fn metadata(command: u128) -> CommandMetadata<Wire> {
        CommandMetadata {
            aggregate: Uuid::from_u128(1),
            command: Uuid::from_u128(command),
            fingerprint: Fingerprint { key_number: 3, hmac: [7; 32] },
            meta: Meta { actor: Uuid::from_u128(2), ..Meta::default() },
            source: None,
        }
    }

    fn committed(command: u128, versions: RangeInclusive<u64>, end: u64) -> Item {
        let event = |version| EventBody {
            metadata: metadata(command),
            version,
            part: Part::WHOLE,
            time: Micros(0),
            event: RecordedEvent {
                event_type: "thing.made".into(),
                schema: "thing.made.v1".into(),
                data: Vec::new(),
            },
        };
        let events: Vec<_> = versions.map(event).collect();
        let first = end - events.len() as u64;
        Item {
            what: What::Commit(Commit { first, end, last_seq: end, events }),
            after: Position::start(),
        }
    }

    fn decided(command: u128, verdict: Verdict, offset: u64) -> Item {
        let body = OutcomeBody {
            metadata: metadata(command),
            version: 4,
            verdict,
            reason: Reason(br#"{"code":"a.b"}"#.to_vec()),
        };
        Item { what: What::Outcome { offset, body }, after: Position::start() }
    }

    fn of(items: &[Item]) -> Result<Vec<(u128, outcomes::Verdict, i64)>, Failure> {
        let mut outcomes = Outcomes::default();
        let topic_partition = TopicPartition::of_events("thing", 3);
        items.iter().try_for_each(|item| outcomes.add(&topic_partition, item))?;
        let rows = outcomes.0.into_iter();
        Ok(rows.map(|(command, row)| (command.as_u128(), row.verdict, row.next_offset)).collect())
    }

    #[test]
    fn an_outcome_is_that_of_its_command_and_ends_where_its_record_does() -> Result<(), Failure> {
        let items = [
            committed(1, 5..=6, 12),
            decided(2, Verdict::Rejected, 20),
            decided(3, Verdict::Unchanged, 21),
        ];
        let expected = [
            (1, outcomes::Verdict::Accepted, 12),
            (2, outcomes::Verdict::Rejected, 21),
            (3, outcomes::Verdict::Unchanged, 22),
        ];
        assert_eq!(of(&items)?, expected);
        Ok(())
    }

    #[test]
    fn the_first_record_of_a_command_is_its_answer_and_what_is_no_outcome_is_none()
    -> Result<(), Failure> {
        let nothing = Item {
            what: What::Commit(Commit { first: 1, end: 1, last_seq: 0, events: Vec::new() }),
            after: Position::start(),
        };
        let accepted = What::Accepted {
            offset: 3,
            appended_at_ms: 0,
            command: highwater_protocol::command_queue::decode(Default::default()).map(Box::new),
        };
        let accepted = Item { what: accepted, after: Position::start() };
        let items = [
            nothing,
            accepted,
            decided(1, Verdict::Rejected, 20),
            committed(1, 1..=1, 30),
            decided(1, Verdict::Unchanged, 31),
        ];
        assert_eq!(of(&items)?, [(1, outcomes::Verdict::Rejected, 21)]);
        Ok(())
    }

    #[test]
    fn numbers_that_no_column_holds_are_refused() {
        let large = u64::MAX / 2 + 1;
        for item in [committed(1, large..=large, 12), decided(1, Verdict::Rejected, large - 1)] {
            assert!(matches!(of(&[item]), Err(Failure::Deterministic(_))));
        }
        let mut outcomes = Outcomes::default();
        let beyond = TopicPartition::of_events("thing", u32::MAX);
        assert!(matches!(
            outcomes.add(&beyond, &committed(1, 5..=5, 12)),
            Err(Failure::Deterministic(_))
        ));
    }
}
