//! A category of counters: each adds so many to itself, as so many events. Included by `#[path]`.

use highwater_command::category::Category;
use highwater_http::problem::FieldError;
use highwater_protocol::{
    domain::{Decision, Domain, Durable, Unreadable},
    time::Micros,
    wire::{Reason, RecordedEvent, Wire},
};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Counters;

/// Adds one, as so many events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Add {
    pub events: usize,
    pub must_exist: bool,
}

impl Domain<Wire> for Counters {
    type State = u64;
    type Command = Add;

    fn must_exist(&self, add: &Add) -> bool {
        add.must_exist
    }

    fn decide(
        &self,
        state: Option<&u64>,
        add: &Add,
        _: Micros,
    ) -> Result<Decision<u64, RecordedEvent>, Reason> {
        if add.events == 0 {
            return Err(Reason(br#"{"code":"counter.nothing","detail":"adds nothing"}"#.to_vec()));
        }
        let event = || RecordedEvent {
            event_type: "counter.added".into(),
            schema: "counter.added.v1".into(),
            data: b"{}".to_vec(),
        };
        let count = state.copied().unwrap_or(0) + add.events as u64;
        Ok(Decision::Change { events: (0..add.events).map(|_| event()).collect(), state: count })
    }

    fn evolve(&self, state: Option<&u64>, _: &RecordedEvent) -> Result<u64, Unreadable> {
        Ok(state.copied().unwrap_or(0) + 1)
    }
}

impl Durable for Counters {
    const FORMAT: i16 = 1;

    fn serialize(&self, state: &u64) -> Vec<u8> {
        state.to_be_bytes().to_vec()
    }

    fn deserialize(&self, serialized: &[u8]) -> Result<u64, Unreadable> {
        let bytes = serialized
            .try_into()
            .map_err(|_| Unreadable::Malformed { what: "counter".into(), why: "length".into() })?;
        Ok(u64::from_be_bytes(bytes))
    }
}

impl Category for Counters {
    const NAME: &'static str = "counter";

    fn schemas() -> Vec<(String, String)> {
        [("counter.add.v1", ADD), ("counter.raise.v3", RAISE)]
            .map(|(stem, text)| (stem.to_owned(), text.to_owned()))
            .to_vec()
    }

    fn parse(_: &str, _: u32, body: &Value, _: Micros) -> Result<Add, Vec<FieldError>> {
        let events = usize::try_from(body["events"].as_u64().unwrap_or(1)).unwrap();
        Ok(Add { events, must_exist: body["must_exist"] == true })
    }
}

const ADD: &str = r#"{"$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object", "additionalProperties": false,
    "properties": {"id": {"type": "string"}, "events": {"type": "integer"},
        "must_exist": {"type": "boolean"}},
    "x-highwater": {"creates": true, "expectedVersion": "optional"}}"#;

/// The same on a counter that is there; versions 1 and 2 are not served any more.
const RAISE: &str = r#"{"$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object", "additionalProperties": false,
    "properties": {"events": {"type": "integer"}, "must_exist": {"type": "boolean"}},
    "x-highwater": {"creates": false, "expectedVersion": "required"}}"#;
