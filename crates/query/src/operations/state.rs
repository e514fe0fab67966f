//! What the tables know of a command, and what state that is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use highwater_http::headers::PartitionPosition;
use highwater_tables::{
    checkpoints::ProjectionOffset, operations, outcomes, postgres::Connections,
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::ACCEPTED;
use crate::principal::Viewers;

/// A rejection with this code was none of the store's rules: no owner decided the command in time.
const EXPIRED: &str = "operation.expired";

/// As the tables had it at one moment.
pub(super) struct OperationRecords {
    accepted: Option<Accepted>,
    outcome: Option<Outcome>,
    /// Only if nothing else was found.
    checkpoints: Checkpoints,
}

struct Accepted {
    actor: Option<Uuid>,
    pending: Pending,
}

struct Outcome {
    actor: Option<Uuid>,
    decided: Decided,
}

/// Accepted and not decided, as far as it is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) accepted: PartitionPosition,
    pub(super) accepted_at: Option<DateTime<Utc>>,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) aggregate: Uuid,
    /// After it, or on which it was decided.
    pub(super) version: u64,
    pub(super) position: PartitionPosition,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// With type and version of each event; none if there was nothing to do.
    Succeeded(Value),
    /// With the reason as it was recorded.
    Rejected(Map<String, Value>),
    Expired(Map<String, Value>),
}

/// How far the two topics were read, by category and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoints {
    pub(super) commands: BTreeMap<(String, u32), u64>,
    pub(super) events: BTreeMap<(String, u32), u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Pending(Pending),
    Decided(Box<Decided>),
    /// Nothing is known up to there.
    Unknown(Checkpoints),
}

impl OperationRecords {
    /// One statement: what it does not find is not there up to the checkpoints that it returns.
    pub(super) async fn load(pool: &Connections, id: Uuid) -> Result<Self, sqlx::Error> {
        let found = operations::look_up(&mut *pool.acquire().await?, id).await?;
        Ok(Self {
            accepted: found.queued.map(Accepted::of),
            outcome: found.outcome.map(Outcome::of),
            checkpoints: Checkpoints::of(found.checkpoints),
        })
    }

    pub(super) fn is_decided(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether the caller may know of it. Where a command was sent twice, its first record counts.
    pub(super) fn may_be_seen(&self, viewers: &Viewers) -> bool {
        match (&self.outcome, &self.accepted) {
            (Some(outcome), _) => viewers.may_see(outcome.actor),
            (None, Some(accepted)) => viewers.may_see(accepted.actor),
            (None, None) => true,
        }
    }

    /// If the command lies in the command queue below `claimed`, as the caller says.
    pub(super) fn state(self, claimed: Option<&PartitionPosition>) -> State {
        if let Some(outcome) = self.outcome {
            return State::Decided(Box::new(outcome.decided));
        }
        if let Some(accepted) = self.accepted {
            return State::Pending(accepted.pending);
        }
        let unread = claimed.filter(|claimed| {
            let key = (claimed.category.clone(), claimed.partition);
            self.checkpoints.commands.get(&key).copied().unwrap_or(0) < claimed.offset
        });
        match unread {
            Some(claimed) => State::Pending(Pending {
                accepted: claimed.clone(),
                accepted_at: None,
                expires_at: None,
            }),
            None => State::Unknown(self.checkpoints),
        }
    }
}

impl Accepted {
    fn of(queued: operations::QueuedCommand) -> Self {
        let accepted = PartitionPosition {
            category: queued.category,
            partition: queued.partition,
            offset: queued.next_offset,
        };
        let (accepted_at, expires_at) = (Some(queued.accepted_at), queued.deadline);
        let pending = Pending { accepted, accepted_at, expires_at };
        Self { actor: Some(queued.actor), pending }
    }
}

impl Outcome {
    fn of(outcome: operations::Outcome) -> Self {
        let position = PartitionPosition {
            category: outcome.category,
            partition: outcome.partition,
            offset: outcome.next_offset,
        };
        let decided = Decided {
            aggregate: outcome.aggregate,
            version: outcome.version,
            position,
            verdict: Verdict::of(outcome.verdict, outcome.events, outcome.reason),
        };
        Self { actor: outcome.actor, decided }
    }
}

impl Verdict {
    fn of(
        verdict: Option<outcomes::Verdict>,
        events: Option<Value>,
        reason: Option<Value>,
    ) -> Self {
        let reason = match reason {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        match verdict {
            Some(outcomes::Verdict::Accepted) => {
                Self::Succeeded(events.unwrap_or_else(|| Value::Array(Vec::new())))
            }
            Some(outcomes::Verdict::Unchanged) => Self::Succeeded(Value::Array(Vec::new())),
            _ if reason.get("code").and_then(Value::as_str) == Some(EXPIRED) => {
                Self::Expired(reason)
            }
            _ => Self::Rejected(reason),
        }
    }
}

impl Checkpoints {
    fn of(all: Vec<ProjectionOffset>) -> Self {
        let mut checkpoints = Self::default();
        for ProjectionOffset { projection, category, partition, offset } in all {
            let of = if projection == ACCEPTED {
                &mut checkpoints.commands
            } else {
                &mut checkpoints.events
            };
            of.insert((category, partition), offset);
        }
        checkpoints
    }
}

#[cfg(test)]
mod tests {
    use highwater_runtime::identity::DeploymentKeys;
    use serde_json::json;

    use super::*;
    use crate::operations::OUTCOMES;

    fn at(partition: u32, offset: u64) -> PartitionPosition {
        PartitionPosition { category: "thing".to_owned(), partition, offset }
    }

    fn decided() -> Decided {
        Decided {
            aggregate: Uuid::from_u128(7),
            version: 2,
            position: at(3, 43),
            verdict: Verdict::Succeeded(json!([])),
        }
    }

    fn pending() -> Pending {
        Pending { accepted: at(3, 17), accepted_at: None, expires_at: None }
    }

    fn found(outcome: Option<Option<Uuid>>, accepted: Option<Option<Uuid>>) -> OperationRecords {
        OperationRecords {
            accepted: accepted.map(|actor| Accepted { actor, pending: pending() }),
            outcome: outcome.map(|actor| Outcome { actor, decided: decided() }),
            checkpoints: Checkpoints::of(vec![of(ACCEPTED, 17)]),
        }
    }

    fn of(projection: &str, offset: u64) -> ProjectionOffset {
        let (projection, category) = (projection.to_owned(), "thing".to_owned());
        ProjectionOffset { projection, category, partition: 3, offset }
    }

    #[test]
    fn an_outcome_is_final_whatever_the_command_queue_says_and_what_was_accepted_is_pending() {
        let all = [
            (found(Some(None), Some(None)), true),
            (found(Some(None), None), true),
            (found(None, Some(None)), false),
        ];
        for (found, is_decided) in all {
            assert_eq!(found.is_decided(), is_decided);
            let state = if is_decided {
                State::Decided(Box::new(decided()))
            } else {
                State::Pending(pending())
            };
            assert_eq!(found.state(Some(&at(3, 99))), state);
        }
    }

    #[test]
    fn what_is_not_found_is_pending_where_the_queue_was_not_read_so_far_and_unknown_elsewhere() {
        let claimed = |partition, offset| found(None, None).state(Some(&at(partition, offset)));
        let unread =
            |accepted| State::Pending(Pending { accepted, accepted_at: None, expires_at: None });
        let unknown = || State::Unknown(found(None, None).checkpoints);
        assert_eq!(
            (claimed(3, 16), claimed(3, 17), claimed(3, 18)),
            (unknown(), unknown(), unread(at(3, 18)))
        );
        assert_eq!(claimed(4, 1), unread(at(4, 1)), "nothing of it was read");
        assert_eq!(found(None, None).state(None), unknown());
    }

    #[test]
    fn only_who_sent_it_sees_it_and_the_record_of_its_outcome_says_who_that_was()
    -> Result<(), highwater_runtime::identity::Error> {
        let keys = DeploymentKeys::parse(&format!("1:{}", "a".repeat(64)))?;
        let (viewers, mine, theirs) =
            (Viewers::new(Some(&keys)), Some(keys.actor_id("anonymous")), Some(Uuid::from_u128(9)));
        for (outcome, accepted, seen) in [
            (None, None, true),
            (None, Some(mine), true),
            (None, Some(theirs), false),
            (Some(mine), Some(theirs), true),
            (Some(theirs), Some(mine), false),
            (Some(theirs), None, false),
        ] {
            assert_eq!(
                found(outcome, accepted).may_be_seen(&viewers),
                seen,
                "{outcome:?} {accepted:?}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_verdict_has_what_was_recorded_with_it() {
        let (events, reason) = (
            json!([{"type": "thing.done", "version": 2}]),
            json!({"code": "thing.no", "detail": "no"}),
        );
        let expired = json!({"code": EXPIRED, "detail": "late"});
        let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
        for (verdict, events, reason, expected) in [
            (
                Some(outcomes::Verdict::Accepted),
                Some(events.clone()),
                None,
                Verdict::Succeeded(events.clone()),
            ),
            (Some(outcomes::Verdict::Accepted), None, None, Verdict::Succeeded(json!([]))),
            (
                Some(outcomes::Verdict::Unchanged),
                Some(events),
                Some(reason.clone()),
                Verdict::Succeeded(json!([])),
            ),
            (
                Some(outcomes::Verdict::Rejected),
                None,
                Some(reason.clone()),
                Verdict::Rejected(members(&reason)),
            ),
            // What this release does not know is no success.
            (None, None, Some(reason.clone()), Verdict::Rejected(members(&reason))),
            (
                Some(outcomes::Verdict::Rejected),
                None,
                Some(expired.clone()),
                Verdict::Expired(members(&expired)),
            ),
            (
                Some(outcomes::Verdict::Rejected),
                None,
                Some(json!("no object")),
                Verdict::Rejected(Map::new()),
            ),
        ] {
            assert_eq!(Verdict::of(verdict, events, reason), expected, "{verdict:?}");
        }
    }

    #[test]
    fn the_checkpoints_of_the_two_topics_are_kept_apart() {
        let checkpoints = Checkpoints::of(vec![of(ACCEPTED, 17), of(OUTCOMES, 43)]);
        let one = |offset| BTreeMap::from([(("thing".to_owned(), 3), offset)]);
        assert_eq!((checkpoints.commands, checkpoints.events), (one(17), one(43)));
    }

    #[test]
    fn what_the_tables_say_of_a_command_is_kept_with_who_sent_it() {
        let (actor, time) = (Uuid::from_u128(9), DateTime::UNIX_EPOCH);
        let accepted = Accepted::of(operations::QueuedCommand {
            category: "thing".to_owned(),
            partition: 3,
            next_offset: 17,
            actor,
            accepted_at: time,
            deadline: None,
        });
        let waits = Pending { accepted_at: Some(time), ..pending() };
        assert_eq!((accepted.actor, accepted.pending), (Some(actor), waits));
        let outcome = Outcome::of(operations::Outcome {
            category: "thing".to_owned(),
            partition: 3,
            next_offset: 43,
            aggregate: Uuid::from_u128(7),
            version: 2,
            actor: None,
            verdict: Some(outcomes::Verdict::Unchanged),
            events: None,
            reason: None,
        });
        assert_eq!((outcome.actor, outcome.decided), (None, decided()));
    }
}
