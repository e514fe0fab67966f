//! What the tables know of a command, and what state that is.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use service::headers::PartitionPosition;
use service::postgres::Connections;
use sqlx::types::Json;
use uuid::Uuid;

use super::{ACCEPTED, OUTCOMES};
use crate::{database::GENERATION, principal::Viewers};

/// A rejection with this code was none of the store's rules: nobody decided the command in time.
const EXPIRED: &str = "operation.expired";

/// As the tables had it at one moment.
pub(super) struct Found {
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

/// Projection, category, partition, offset.
type Checkpoint = (String, String, u32, u64);

impl Found {
    /// One statement: what it does not find is not there up to the checkpoints that it returns.
    pub(super) async fn load(pool: &Connections, id: Uuid) -> Result<Self, sqlx::Error> {
        let row = sqlx::query!(
            r#"SELECT a.category AS "lane_category?", a.partition AS "lane_partition?", a.next_offset AS "lane_offset?",
                      a.actor AS "lane_actor?", a.accepted_at AS "accepted_at?", a.deadline,
                      o.category AS "category?", o.partition AS "partition?", o.next_offset AS "next_offset?", o.aggregate_id AS "aggregate?",
                      o.version AS "version?", o.verdict AS "verdict?", o.actor, o.events, o.reason,
                      CASE WHEN a.command_id IS NULL AND o.command_id IS NULL THEN (
                          SELECT jsonb_agg(jsonb_build_array(c.projection, c.category, c.partition, c.next_offset))
                          FROM checkpoints c WHERE c.generation = $2 AND c.projection IN ($3, $4)
                      ) END AS "checkpoints: Json<Vec<Checkpoint>>"
               FROM (SELECT $1::uuid AS id) asked
               LEFT JOIN operations a ON a.command_id = asked.id
               LEFT JOIN outcomes o ON o.command_id = asked.id"#,
            id,
            GENERATION,
            ACCEPTED,
            OUTCOMES,
        )
        .fetch_one(&mut *pool.acquire().await?)
        .await?;
        let accepted = || {
            let accepted = position(row.lane_category?, row.lane_partition?, row.lane_offset?)?;
            let pending = Pending { accepted, accepted_at: row.accepted_at, expires_at: row.deadline };
            Some(Accepted { actor: row.lane_actor, pending })
        };
        let outcome = || {
            let verdict = Verdict::of(&row.verdict?, row.events, row.reason);
            let position = position(row.category?, row.partition?, row.next_offset?)?;
            let decided = Decided { aggregate: row.aggregate?, version: row.version?.unsigned_abs(), position, verdict };
            Some(Outcome { actor: row.actor, decided })
        };
        let checkpoints = Checkpoints::of(row.checkpoints.map(|Json(all)| all).unwrap_or_default());
        Ok(Self { accepted: accepted(), outcome: outcome(), checkpoints })
    }

    pub(super) fn is_decided(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether who asks may know of it. Where a command was sent twice, its first record counts.
    pub(super) fn may_be_seen(&self, viewers: &Viewers) -> bool {
        match (&self.outcome, &self.accepted) {
            (Some(outcome), _) => viewers.may_see(outcome.actor),
            (None, Some(accepted)) => viewers.may_see(accepted.actor),
            (None, None) => true,
        }
    }

    /// If the command lies in the lane below `claimed`, as the caller says.
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
            Some(claimed) => State::Pending(Pending { accepted: claimed.clone(), accepted_at: None, expires_at: None }),
            None => State::Unknown(self.checkpoints),
        }
    }
}

impl Verdict {
    fn of(verdict: &str, events: Option<Value>, reason: Option<Value>) -> Self {
        let reason = match reason {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        match verdict {
            "accepted" => Self::Succeeded(events.unwrap_or_else(|| Value::Array(Vec::new()))),
            "unchanged" => Self::Succeeded(Value::Array(Vec::new())),
            _ if reason.get("code").and_then(Value::as_str) == Some(EXPIRED) => Self::Expired(reason),
            _ => Self::Rejected(reason),
        }
    }
}

impl Checkpoints {
    fn of(all: Vec<Checkpoint>) -> Self {
        let mut checkpoints = Self::default();
        for (projection, category, partition, offset) in all {
            let of = if projection == ACCEPTED { &mut checkpoints.commands } else { &mut checkpoints.events };
            of.insert((category, partition), offset);
        }
        checkpoints
    }
}

fn position(category: String, partition: i32, offset: i64) -> Option<PartitionPosition> {
    Some(PartitionPosition { category, partition: u32::try_from(partition).ok()?, offset: u64::try_from(offset).ok()? })
}
