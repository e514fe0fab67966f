//! Rows of `outcomes`: what each command came to. Never fails for what a reason says.

use std::collections::{BTreeMap, btree_map::Entry};

use highwater_protocol::{
    entry::{CommandMetadata, Verdict},
    fold::Commit,
    wire::Wire,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::number;
use crate::runner::{Failure, Item, PostgresTx, TopicPartition, What};

/// Each command once: the first record of it is the answer.
#[derive(Default)]
pub(super) struct Outcomes(BTreeMap<Uuid, Outcome>);

struct Outcome {
    category: String,
    partition: i32,
    aggregate: Uuid,
    fingerprint_key: i32,
    fingerprint: Vec<u8>,
    actor: Uuid,
    verdict: &'static str,
    version: i64,
    next_offset: i64,
    events: Option<Value>,
    reason: Option<Value>,
}

impl Outcomes {
    pub(super) fn add(
        &mut self,
        topic_partition: &TopicPartition,
        item: &Item,
    ) -> Result<(), Failure> {
        let made = match &item.what {
            What::Commit(commit) => accepted(topic_partition, commit)?,
            What::Outcome { offset, body } => {
                let verdict = match body.verdict {
                    Verdict::Rejected => "rejected",
                    Verdict::Unchanged => "unchanged",
                };
                let outcome = Outcome::new(
                    topic_partition,
                    &body.metadata,
                    verdict,
                    body.version,
                    offset + 1,
                )?;
                Some((
                    body.metadata.command,
                    Outcome { reason: Some(as_json(&body.reason.0)), ..outcome },
                ))
            }
            What::Accepted { .. } => None,
        };
        if let Some((command, outcome)) = made
            && let Entry::Vacant(free) = self.0.entry(command)
        {
            free.insert(outcome);
        }
        Ok(())
    }

    pub(super) async fn write(self, tx: &mut PostgresTx) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let commands: Vec<Uuid> = self.0.keys().copied().collect();
        let rows: Vec<Outcome> = self.0.into_values().collect();
        let column = |pick: fn(&Outcome) -> i64| rows.iter().map(pick).collect::<Vec<i64>>();
        sqlx::query!(
            "INSERT INTO outcomes (command_id, category, partition, aggregate_id, fingerprint_key, \
             fingerprint, verdict, version,
                                   next_offset, events, reason, actor)
             SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::int[], $4::uuid[], $5::int[], \
             $6::bytea[], $7::text[], $8::bigint[],
                                  $9::bigint[], $10::jsonb[], $11::jsonb[], $12::uuid[])
             ON CONFLICT (command_id) DO NOTHING",
            &commands,
            &rows.iter().map(|row| row.category.clone()).collect::<Vec<String>>(),
            &rows.iter().map(|row| row.partition).collect::<Vec<i32>>(),
            &rows.iter().map(|row| row.aggregate).collect::<Vec<Uuid>>(),
            &rows.iter().map(|row| row.fingerprint_key).collect::<Vec<i32>>(),
            &rows.iter().map(|row| row.fingerprint.clone()).collect::<Vec<Vec<u8>>>(),
            &rows.iter().map(|row| row.verdict.to_owned()).collect::<Vec<String>>(),
            &column(|row| row.version),
            &column(|row| row.next_offset),
            &rows.iter().map(|row| row.events.clone()).collect::<Vec<_>>() as &[Option<Value>],
            &rows.iter().map(|row| row.reason.clone()).collect::<Vec<_>>() as &[Option<Value>],
            &rows.iter().map(|row| row.actor).collect::<Vec<Uuid>>(),
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

impl Outcome {
    fn new(
        topic_partition: &TopicPartition,
        metadata: &CommandMetadata<Wire>,
        verdict: &'static str,
        version: u64,
        next_offset: u64,
    ) -> Result<Self, Failure> {
        let big =
            |n: u64| i64::try_from(n).map_err(|error| Failure::Deterministic(error.to_string()));
        Ok(Self {
            category: topic_partition.category.to_string(),
            partition: number(topic_partition.partition)?,
            aggregate: metadata.aggregate,
            fingerprint_key: i32::from(metadata.fingerprint.key_number),
            fingerprint: metadata.fingerprint.hmac.to_vec(),
            actor: metadata.meta.actor,
            verdict,
            version: big(version)?,
            next_offset: big(next_offset)?,
            events: None,
            reason: None,
        })
    }
}

fn accepted(
    topic_partition: &TopicPartition,
    commit: &Commit<Wire>,
) -> Result<Option<(Uuid, Outcome)>, Failure> {
    let Some(last) = commit.events.last() else { return Ok(None) };
    let events = commit
        .events
        .iter()
        .map(
            |event| json!({"type": without_nul(&event.event.event_type), "version": event.version}),
        )
        .collect();
    let outcome =
        Outcome::new(topic_partition, &last.metadata, "accepted", last.version, commit.end)?;
    Ok(Some((last.metadata.command, Outcome { events: Some(events), ..outcome })))
}

/// The recorded reason as `jsonb` can hold it: NUL is replaced, and what is no JSON is kept as
/// text.
fn as_json(bytes: &[u8]) -> Value {
    match serde_json::from_slice(bytes) {
        Ok(value) => clean(value),
        Err(_) => {
            json!({"code": "unreadable", "detail": without_nul(&String::from_utf8_lossy(bytes))})
        }
    }
}

fn clean(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(&text)),
        Value::Array(items) => items.into_iter().map(clean).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (without_nul(&name), clean(value))).collect()
        }
        other => other,
    }
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use highwater_protocol::{
        entry::{EventBody, OutcomeBody, Part},
        position::Position,
        time::Micros,
        wire::{Fingerprint, Meta, Reason, RecordedEvent},
    };

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

    fn committed(command: u128, versions: std::ops::RangeInclusive<u64>, end: u64) -> Item {
        let event = |version| EventBody {
            metadata: metadata(command),
            version,
            part: Part::WHOLE,
            time: Micros(0),
            event: RecordedEvent {
                event_type: "thing\0made".into(),
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

    fn of(items: &[Item]) -> Result<Vec<(u128, Outcome)>, Failure> {
        let mut outcomes = Outcomes::default();
        let topic_partition = TopicPartition::of_events("thing", 3);
        items.iter().try_for_each(|item| outcomes.add(&topic_partition, item))?;
        Ok(outcomes.0.into_iter().map(|(command, outcome)| (command.as_u128(), outcome)).collect())
    }

    #[test]
    fn an_outcome_says_what_its_record_says_and_where_it_ends() -> Result<(), Failure> {
        let events = json!([
            {"type": "thing\u{fffd}made", "version": 5},
            {"type": "thing\u{fffd}made", "version": 6},
        ]);
        let reason = json!({"code": "a.b"});
        let items = [
            committed(1, 5..=6, 12),
            decided(2, Verdict::Rejected, 20),
            decided(3, Verdict::Unchanged, 21),
        ];
        let found: Vec<_> = of(&items)?
            .into_iter()
            .map(|(command, row)| {
                assert_eq!(
                    (&*row.category, row.partition, row.aggregate),
                    ("thing", 3, Uuid::from_u128(1))
                );
                assert_eq!(
                    (row.fingerprint_key, row.fingerprint, row.actor),
                    (3, vec![7; 32], Uuid::from_u128(2))
                );
                (command, row.verdict, row.version, row.next_offset, row.events, row.reason)
            })
            .collect();
        let expected = [
            (1, "accepted", 6, 12, Some(events), None),
            (2, "rejected", 4, 21, None, Some(reason.clone())),
            (3, "unchanged", 4, 22, None, Some(reason)),
        ];
        assert_eq!(found, expected);
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
        let found: Vec<_> = of(&items)?
            .into_iter()
            .map(|(command, row)| (command, row.verdict, row.next_offset))
            .collect();
        assert_eq!(found, [(1, "rejected", 21)]);
        Ok(())
    }

    #[test]
    fn numbers_that_no_column_holds_are_refused() {
        let large = u64::MAX / 2 + 1;
        for item in [
            committed(1, large..=large, 12),
            committed(1, 5..=5, large),
            decided(1, Verdict::Rejected, large - 1),
        ] {
            assert!(matches!(of(&[item]), Err(Failure::Deterministic(_))));
        }
        assert_eq!(
            of(&[committed(1, 5..=5, large - 1)]).map_or(0, |found| found[0].1.next_offset),
            i64::MAX
        );
        let mut outcomes = Outcomes::default();
        let beyond = TopicPartition::of_events("thing", u32::MAX);
        assert!(matches!(
            outcomes.add(&beyond, &committed(1, 5..=5, 12)),
            Err(Failure::Deterministic(_))
        ));
    }

    #[test]
    fn a_reason_is_kept_as_far_as_jsonb_can_hold_it() {
        for (recorded, kept) in [
            (&br#"{"code":"a.b","detail":"c"}"#[..], json!({"code": "a.b", "detail": "c"})),
            (
                br#"{"code":"a\u0000b","more":[{"\u0000":1}]}"#,
                json!({"code": "a\u{fffd}b", "more": [{"\u{fffd}": 1}]}),
            ),
            (b"\xff\0no json", json!({"code": "unreadable", "detail": "\u{fffd}\u{fffd}no json"})),
            (
                br#"{"code":"\ud800"}"#,
                json!({"code": "unreadable", "detail": "{\"code\":\"\\ud800\"}"}),
            ),
        ] {
            assert_eq!(as_json(recorded), kept);
        }
    }
}
