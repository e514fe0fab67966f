//! A category that no command creates: what is counted first begins a tally.

use std::collections::BTreeMap;

use highwater_command::category::Category;
use highwater_http::problem::FieldError;
use highwater_protocol::{
    domain::{Decision, Domain, Durable, Unreadable},
    time::Micros,
    wire::{Reason, RecordedEvent, Wire},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::schema;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tallies;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tally {
    units: i64,
    /// By holder: they are no other holder's.
    held: BTreeMap<String, i64>,
}

/// Events are commands in the past tense, with the same members.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TallyCommand {
    Count { units: i64 },
    Hold { by: String, units: i64 },
    Release { by: String },
    Correct { delta: i64, reason: String },
}

impl Tally {
    fn free(&self) -> i64 {
        self.units - self.held.values().sum::<i64>()
    }
}

impl Domain<Wire> for Tallies {
    type State = Tally;
    type Command = TallyCommand;

    fn must_exist(&self, command: &TallyCommand) -> bool {
        !matches!(command, TallyCommand::Count { .. })
    }

    fn decide(
        &self,
        state: Option<&Tally>,
        command: &TallyCommand,
        _: Micros,
    ) -> Result<Decision<Tally, RecordedEvent>, Reason> {
        let free = state.map_or(0, Tally::free);
        let is_held = |by: &String| state.is_some_and(|tally| tally.held.contains_key(by));
        let name = match command {
            TallyCommand::Count { .. } => "counted",
            TallyCommand::Hold { by, .. } if is_held(by) => return Err(reason("held", free)),
            TallyCommand::Hold { units, .. } if *units > free => {
                return Err(reason("insufficient", free));
            }
            TallyCommand::Hold { .. } => "held",
            TallyCommand::Release { by } if !is_held(by) => return Err(reason("not-held", free)),
            TallyCommand::Release { .. } => "released",
            TallyCommand::Correct { delta, .. } if free + delta < 0 => {
                return Err(reason("insufficient", free));
            }
            TallyCommand::Correct { .. } => "corrected",
        };
        let event = RecordedEvent {
            event_type: format!("tally.{name}").into(),
            schema: format!("tally.{name}.v1").into(),
            data: serde_json::to_vec(command).expect("a command is JSON"),
        };
        let state = self.evolve(state, &event).expect("what is decided can be read");
        Ok(Decision::Change { events: vec![event], state })
    }

    fn evolve(&self, state: Option<&Tally>, event: &RecordedEvent) -> Result<Tally, Unreadable> {
        let mut tally = state.cloned().unwrap_or_default();
        match serde_json::from_slice(&event.data).map_err(|error| malformed(&error))? {
            TallyCommand::Count { units } => tally.units += units,
            TallyCommand::Hold { by, units } => {
                tally.held.insert(by, units);
            }
            TallyCommand::Release { by } => {
                tally.held.remove(&by);
            }
            TallyCommand::Correct { delta, .. } => tally.units += delta,
        }
        Ok(tally)
    }
}

/// With a member of its own.
fn reason(code: &str, free: i64) -> Reason {
    let code = format!("tally.{code}");
    Reason(json!({"code": code, "detail": "not as it is", "free": free}).to_string().into_bytes())
}

fn malformed(error: &serde_json::Error) -> Unreadable {
    Unreadable::Malformed { what: "tally".to_owned(), why: error.to_string() }
}

impl Durable for Tallies {
    const FORMAT: i16 = 1;

    fn serialize(&self, state: &Tally) -> Vec<u8> {
        serde_json::to_vec(state).expect("a state is JSON")
    }

    fn deserialize(&self, serialized: &[u8]) -> Result<Tally, Unreadable> {
        serde_json::from_slice(serialized).map_err(|error| malformed(&error))
    }
}

impl Category for Tallies {
    const NAME: &'static str = "tally";

    fn schemas() -> Vec<(String, String)> {
        let by = schema::uuid;
        let delta = json!({"type": "integer", "minimum": -1_000_000, "maximum": 1_000_000});
        let correct = json!({"delta": delta, "reason": schema::text(500)});
        [
            ("tally.count.v1", json!({"units": schema::count()}), vec!["units"]),
            ("tally.hold.v1", json!({"by": by(), "units": schema::count()}), vec!["by", "units"]),
            ("tally.release.v1", json!({"by": by()}), vec!["by"]),
            ("tally.correct.v1", correct, vec!["delta", "reason"]),
        ]
        .map(|(stem, members, needed)| (stem.to_owned(), schema::optional(members, &needed)))
        .to_vec()
    }

    fn parse(
        command: &str,
        _: u32,
        body: &Value,
        _: Micros,
    ) -> Result<TallyCommand, Vec<FieldError>> {
        let mut tagged = body.clone();
        tagged["kind"] = command.into();
        serde_json::from_value(tagged)
            .map_err(|error| vec![FieldError::pointer("", error.to_string())])
    }
}
