//! Vouchers, their holders, and counters: what events of them say, and what they leave behind.

use highwater_protocol::{
    domain::{Decision, Domain, Durable, Unreadable},
    time::Micros,
    wire::{Reason, RecordedEvent, Wire},
};
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

/// A event of any of the categories, as its latest version says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Issued(Issued),
    GivenAway(GivenAway),
    Redeemed,
    /// Says what it takes back.
    Withdrawn(Issued),
    Registered(Named),
    Renamed(Named),
    Left,
    Counted(Counted),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    pub day: String,
    pub kind: String,
    pub worth: i64,
}

/// There was but one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuedV1 {
    day: String,
    worth: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenAway {
    pub to: Uuid,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub name: String,
}

/// With what it left behind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    pub by: i64,
    pub count: i64,
}

impl Event {
    pub fn decode(event: &RecordedEvent) -> Result<Self, Unreadable> {
        Ok(match &*event.schema {
            "voucher.issued.v1" => {
                let IssuedV1 { day, worth } = read(event)?;
                Self::Issued(Issued { day, kind: "plain".to_owned(), worth })
            }
            "voucher.issued.v2" => Self::Issued(read(event)?),
            "voucher.given-away.v1" => Self::GivenAway(read(event)?),
            "voucher.redeemed.v1" => Self::Redeemed,
            "voucher.withdrawn.v1" => Self::Withdrawn(read(event)?),
            "holder.registered.v1" => Self::Registered(read(event)?),
            "holder.renamed.v1" => Self::Renamed(read(event)?),
            "holder.left.v1" => Self::Left,
            "counter.counted.v1" => Self::Counted(read(event)?),
            newer => return Err(Unreadable::Newer { what: newer.to_owned() }),
        })
    }
}

fn read<T: DeserializeOwned>(event: &RecordedEvent) -> Result<T, Unreadable> {
    serde_json::from_slice(&event.data).map_err(|error| Unreadable::Malformed {
        what: event.schema.to_string(),
        why: error.to_string(),
    })
}

/// The rules of each category: a state is all that its events said, in their sequence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Said;

impl Domain<Wire> for Said {
    type State = String;
    type Command = ();

    fn must_exist(&self, (): &()) -> bool {
        false
    }

    fn decide(
        &self,
        _: Option<&String>,
        (): &(),
        _: Micros,
    ) -> Result<Decision<String, RecordedEvent>, Reason> {
        Ok(Decision::Nothing)
    }

    fn evolve(&self, state: Option<&String>, event: &RecordedEvent) -> Result<String, Unreadable> {
        let said = Event::decode(event)?;
        Ok(format!("{}{said:?}\n", state.map_or("", String::as_str)))
    }
}

impl Durable for Said {
    const FORMAT: i16 = 2;

    fn serialize(&self, state: &String) -> Vec<u8> {
        state.clone().into_bytes()
    }

    fn deserialize(&self, serialized: &[u8]) -> Result<String, Unreadable> {
        String::from_utf8(serialized.to_vec()).map_err(|error| Unreadable::Malformed {
            what: "a state".to_owned(),
            why: error.to_string(),
        })
    }
}
