//! A category of support cases: opened, accepted, resolved, closed, reopened; or withdrawn. With a
//! command that creates in two versions, commands that must be told the version, and one body with
//! members of every kind.

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

/// The steps of a case take no longer than that in all, which no schema can say.
const SECONDS_IN_ALL: u64 = 100;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cases;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Case {
    stage: Stage,
    /// What `describe` said last.
    described: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Stage {
    Opened,
    Accepted,
    Resolved,
    Closed,
    Reopened,
    Withdrawn,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaseCommand {
    verb: Verb,
    /// The body: the events keep it as it is.
    data: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Verb {
    /// With `true` it is accepted at once: two events of one commit.
    Open(bool),
    Describe,
    Accept,
    Resolve,
    Close,
    Reopen,
    Withdraw,
}

impl Domain<Wire> for Cases {
    type State = Case;
    type Command = CaseCommand;

    fn must_exist(&self, command: &CaseCommand) -> bool {
        !matches!(command.verb, Verb::Open(_))
    }

    fn decide(
        &self,
        state: Option<&Case>,
        command: &CaseCommand,
        _: Micros,
    ) -> Result<Decision<Case, RecordedEvent>, Reason> {
        let happened = happened(state, command)?;
        let events: Vec<_> = happened.iter().map(|name| event(name, &command.data)).collect();
        let after = events.iter().try_fold(state.cloned(), |before, event| {
            self.evolve(before.as_ref(), event).map(Some)
        });
        Ok(match after.expect("what is decided can be read") {
            Some(state) if !events.is_empty() => Decision::Change { events, state },
            _ => Decision::Nothing,
        })
    }

    fn evolve(&self, state: Option<&Case>, event: &RecordedEvent) -> Result<Case, Unreadable> {
        let described = state.and_then(|case| case.described.clone());
        let stage = match (event.event_type.as_ref(), state) {
            ("case.opened", _) => Stage::Opened,
            ("case.accepted", _) => Stage::Accepted,
            ("case.resolved", _) => Stage::Resolved,
            ("case.closed", _) => Stage::Closed,
            ("case.reopened", _) => Stage::Reopened,
            ("case.withdrawn", _) => Stage::Withdrawn,
            ("case.described", Some(case)) => {
                let data = String::from_utf8_lossy(&event.data).into_owned();
                return Ok(Case { described: Some(data), ..*case });
            }
            (other, _) => return Err(Unreadable::Newer { what: other.to_owned() }),
        };
        Ok(Case { stage, described })
    }
}

/// The names of what happens: none where there is nothing to do.
fn happened(
    state: Option<&Case>,
    command: &CaseCommand,
) -> Result<&'static [&'static str], Reason> {
    let Some(case) = state else {
        return match command.verb {
            Verb::Open(false) => Ok(&["opened"]),
            Verb::Open(true) => Ok(&["opened", "accepted"]),
            _ => Err(reason("not-found", "there is no such case")),
        };
    };
    let stage = case.stage;
    let is_resolved = matches!(stage, Stage::Resolved | Stage::Closed | Stage::Reopened);
    let happens: &'static [&'static str] = match (command.verb, stage) {
        (Verb::Open(_), _) => {
            return Err(reason("already-exists", "there is a case with this id already"));
        }
        (Verb::Describe, _) if case.described.as_ref() == Some(&command.data) => &[],
        (Verb::Describe, _) => &["described"],
        (Verb::Accept, Stage::Accepted)
        | (Verb::Close, Stage::Closed | Stage::Reopened)
        | (Verb::Reopen, Stage::Reopened)
        | (Verb::Withdraw, Stage::Withdrawn) => &[],
        (Verb::Accept, Stage::Opened) => &["accepted"],
        (Verb::Resolve, Stage::Accepted) => &["resolved"],
        (Verb::Close, Stage::Resolved) => &["closed"],
        (Verb::Reopen, Stage::Closed) => &["reopened"],
        (Verb::Withdraw, Stage::Opened | Stage::Accepted) => &["withdrawn"],
        (_, Stage::Withdrawn) => {
            return Err(reason("already-withdrawn", "the case was withdrawn"));
        }
        _ if is_resolved => return Err(reason("already-resolved", "the case was resolved")),
        _ => return Err(reason("too-early", "the case has not come so far")),
    };
    Ok(happens)
}

fn event(name: &str, data: &str) -> RecordedEvent {
    RecordedEvent {
        event_type: format!("case.{name}").into(),
        schema: format!("case.{name}.v1").into(),
        data: data.as_bytes().to_vec(),
    }
}

fn reason(code: &str, detail: &str) -> Reason {
    Reason(json!({"code": format!("case.{code}"), "detail": detail}).to_string().into_bytes())
}

impl Durable for Cases {
    const FORMAT: i16 = 1;

    fn serialize(&self, state: &Case) -> Vec<u8> {
        serde_json::to_vec(state).expect("a state is JSON")
    }

    fn deserialize(&self, serialized: &[u8]) -> Result<Case, Unreadable> {
        serde_json::from_slice(serialized).map_err(|error| Unreadable::Malformed {
            what: "case".to_owned(),
            why: error.to_string(),
        })
    }
}

impl Category for Cases {
    const NAME: &'static str = "case";

    fn schemas() -> Vec<(String, String)> {
        let reason = || json!({"reason": schema::text(500)});
        let nothing = || json!({});
        [
            ("case.open.v1", schema::creating(members(1), &OPEN_REQUIRED)),
            ("case.open.v2", schema::creating(members(2), &OPEN_REQUIRED)),
            ("case.describe.v1", schema::optional(described(), &["title"])),
            ("case.accept.v1", schema::optional(nothing(), &[])),
            ("case.resolve.v1", schema::required(json!({"note": schema::text(100)}), &[])),
            ("case.close.v1", schema::optional(nothing(), &[])),
            ("case.reopen.v1", schema::required(reason(), &["reason"])),
            ("case.withdraw.v1", schema::required(reason(), &["reason"])),
        ]
        .map(|(stem, text)| (stem.to_owned(), text))
        .to_vec()
    }

    fn parse(
        command: &str,
        _: u32,
        body: &Value,
        _: Micros,
    ) -> Result<CaseCommand, Vec<FieldError>> {
        let verb = match command {
            "open" => Verb::Open(body["accept"] == true),
            "describe" => Verb::Describe,
            "accept" => Verb::Accept,
            "resolve" => Verb::Resolve,
            "close" => Verb::Close,
            "reopen" => Verb::Reopen,
            "withdraw" => Verb::Withdraw,
            other => return Err(vec![FieldError::pointer("", format!("no command {other}"))]),
        };
        let steps = body["steps"].as_array().into_iter().flatten();
        let seconds: u64 = steps.filter_map(|step| step["seconds"].as_u64()).sum();
        if seconds > SECONDS_IN_ALL {
            let detail = format!("must be at most {SECONDS_IN_ALL} seconds in all");
            return Err(vec![FieldError::pointer("/steps", detail)]);
        }
        Ok(CaseCommand { verb, data: body.to_string() })
    }
}

const OPEN_REQUIRED: [&str; 3] = ["reporter_id", "severity", "steps"];

/// Of `open`: `accept` came with version 2.
fn members(version: u32) -> Value {
    let step = schema::object(
        json!({
            "text": schema::text(100),
            "seconds": {"type": "integer", "minimum": 1, "maximum": 3_600},
            "cost_minor": {"type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64},
        }),
        &["text", "seconds", "cost_minor"],
    );
    let mut members = json!({
        "id": schema::uuid(),
        "reporter_id": schema::uuid(),
        "severity": {"type": "string", "pattern": "^[A-Z]{3,8}$"},
        "title": schema::text(200),
        "steps": {"type": "array", "minItems": 1, "maxItems": 5, "items": step},
    });
    if version > 1 {
        members["accept"] = json!({"type": "boolean"});
    }
    members
}

fn described() -> Value {
    let note = json!({"type": ["string", "null"], "minLength": 1, "maxLength": 100});
    json!({"title": schema::text(200), "note": note, "size": schema::text(100)})
}
