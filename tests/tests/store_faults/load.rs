//! Which commands are sent: a mix over 200 aggregates, half of it on ten of them. Learns from the
//! answers, as a client would.

use std::{collections::HashMap, sync::Mutex};

use highwater_protocol::partition::partition_of;
use highwater_runtime::{
    clock::{Ids, SystemIds},
    identity::DeploymentKeys,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Answer, Place, Position};

pub const AGGREGATES: usize = 200;
pub const HOT: usize = 10;
const PARTITIONS: u32 = 8;
/// Until there are tokens, every caller is this one.
pub const PRINCIPAL: &str = "anonymous";

/// One command, as it is sent each time.
#[derive(Clone, Debug)]
pub struct Request {
    pub category: &'static str,
    pub aggregate: Uuid,
    pub place: Place,
    pub creates: bool,
    pub name: &'static str,
    pub body: Value,
    pub if_match: Option<u64>,
    pub key: String,
    slot: usize,
}

/// What is known of an aggregate from the answers.
#[derive(Clone, Debug)]
pub struct Known {
    pub category: &'static str,
    pub version: u64,
    pub position: Position,
    ended: bool,
}

pub struct Load {
    keys: DeploymentKeys,
    state: Mutex<State>,
}

struct State {
    random: u64,
    slots: Vec<Slot>,
    known: HashMap<Uuid, Known>,
}

#[derive(Clone, Default)]
struct Slot {
    aggregate: Option<Uuid>,
    creating: bool,
}

impl Request {
    pub fn path(&self) -> String {
        let collection = format!("/v1/{}s", self.category);
        if self.creates {
            collection
        } else {
            format!("{collection}/{}/{}", self.aggregate, self.name)
        }
    }

    /// By the version that the body is of.
    pub fn media_type(&self) -> &'static str {
        if self.body.get("confirm").is_some() {
            "application/vnd.highwater.order.place.v2+json"
        } else {
            "application/json"
        }
    }
}

impl Load {
    pub fn new(keys: DeploymentKeys) -> Self {
        let random = u64::from_le_bytes(SystemIds.v4().as_bytes()[..8].try_into().unwrap()) | 1;
        eprintln!("load: seed {random}");
        Self {
            keys,
            state: Mutex::new(State {
                random,
                slots: vec![Slot::default(); AGGREGATES],
                known: HashMap::new(),
            }),
        }
    }

    /// The aggregate of the first slot, a hot one.
    pub fn hottest(&self) -> Option<Place> {
        let state = self.state.lock().unwrap();
        Some(place(category(0), state.slots[0].aggregate?))
    }

    pub fn next(&self) -> Request {
        let mut state = self.state.lock().unwrap();
        loop {
            let slot = if state.below(2) == 0 {
                state.below(HOT)
            } else {
                HOT + state.below(AGGREGATES - HOT)
            };
            let known = state.slots[slot]
                .aggregate
                .and_then(|id| Some((id, state.known.get(&id)?.clone())));
            match known {
                Some((id, known)) if !known.ended || state.below(3) == 0 => {
                    return state.act(slot, id, &known);
                }
                _ if state.slots[slot].creating => {}
                _ => {
                    state.slots[slot].creating = true;
                    return state.create(slot, &self.keys);
                }
            }
        }
    }

    pub fn learn(&self, request: &Request, answer: &Answer) {
        let mut state = self.state.lock().unwrap();
        if request.creates {
            state.slots[request.slot].creating = false;
        }
        let (Some(position), Some(version)) = (&answer.position, answer.version()) else { return };
        if !(200..300).contains(&answer.status) {
            return;
        }
        let ended = ["cancelled", "delivered"]
            .iter()
            .any(|last| answer.events().iter().any(|event| event.ends_with(last)));
        let known = state.known.entry(request.aggregate).or_insert_with(|| Known {
            category: request.category,
            version,
            position: position.clone(),
            ended: false,
        });
        known.version = known.version.max(version);
        known.position.offset = known.position.offset.max(position.offset);
        known.ended |= ended;
        if request.creates {
            state.slots[request.slot].aggregate = Some(request.aggregate);
        }
    }

    /// One of the aggregates of which an answer told, another one for each `turn`.
    pub fn any_known(&self, turn: usize) -> Option<(Uuid, Known)> {
        let state = self.state.lock().unwrap();
        let id = state
            .slots
            .iter()
            .cycle()
            .skip(turn % AGGREGATES)
            .take(AGGREGATES)
            .find_map(|slot| slot.aggregate)?;
        Some((id, state.known.get(&id)?.clone()))
    }

    /// Every aggregate of which an answer told.
    pub fn known(&self) -> HashMap<Uuid, Known> {
        self.state.lock().unwrap().known.clone()
    }
}

impl State {
    /// xorshift64*.
    fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let high = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % n
    }

    fn create(&mut self, slot: usize, keys: &DeploymentKeys) -> Request {
        let (category, key) = (category(slot), SystemIds.v4().to_string());
        let mut body = if category == "product" { self.product() } else { self.order() };
        // A commit of two events. What is replaced may be a release that does not know it.
        if category == "order"
            && self.below(2) == 0
            && std::env::var_os("HIGHWATER_FAULTS_BEFORE").is_none()
        {
            body["confirm"] = json!(true);
        }
        let aggregate = if self.below(4) == 0 {
            let id = SystemIds.v4();
            body["id"] = json!(id);
            id
        } else {
            keys.create_id(PRINCIPAL, category, &key)
        };
        let name = if category == "product" { "create" } else { "place" };
        Request {
            category,
            aggregate,
            place: place(category, aggregate),
            creates: true,
            name,
            body,
            if_match: None,
            key,
            slot,
        }
    }

    fn act(&mut self, slot: usize, aggregate: Uuid, known: &Known) -> Request {
        let (name, body) =
            if known.category == "product" { self.change_product() } else { self.change_order() };
        let demanded = ["cancel", "ship"].contains(&name);
        let if_match = (demanded || self.below(4) == 0).then_some(known.version);
        let (category, place) = (known.category, place(known.category, aggregate));
        Request {
            category,
            aggregate,
            place,
            creates: false,
            name,
            body,
            if_match,
            key: SystemIds.v4().to_string(),
            slot,
        }
    }

    fn product(&mut self) -> Value {
        json!({"name": format!("Bread {}", self.below(1_000)), "department": "GROCERY",
               "unit_price_minor": self.below(10_000), "currency": "USD", "brand": "Private",
               "category": "BAKED BREAD/BUNS/ROLLS"})
    }

    fn order(&mut self) -> Value {
        let lines: Vec<Value> = ["GROCERY", "DRUG GM", "GROCERY"]
            .iter()
            .map(|department| {
                json!({"product_id": SystemIds.v4(), "department": department,
                       "quantity": 1 + self.below(9), "unit_price_minor": self.below(5_000)})
            })
            .collect();
        json!({"customer_id": SystemIds.v4(), "currency": "USD", "lines": lines})
    }

    fn change_product(&mut self) -> (&'static str, Value) {
        match self.below(10) {
            // Few prices: some change nothing.
            0..=5 => ("set-price", json!({"unit_price_minor": self.below(20), "currency": "USD"})),
            6 => ("set-price", json!({"unit_price_minor": 1, "currency": "EUR"})),
            7 => (
                "describe",
                json!({"brand": null, "package_size": format!("{} g", self.below(1_000))}),
            ),
            _ => (
                "describe",
                json!({"name": format!("Bread {}", self.below(1_000)), "brand": "Own",
                       "description": "Sliced.\nKeep dry."}),
            ),
        }
    }

    fn change_order(&mut self) -> (&'static str, Value) {
        match self.below(20) {
            0..=6 => ("confirm", json!({})),
            7..=8 => ("cancel", json!({"reason": "out of stock"})),
            9..=14 => {
                ("ship", json!({"carrier": "DHL", "tracking": self.below(1_000_000).to_string()}))
            }
            _ => ("deliver", json!({})),
        }
    }
}

fn category(slot: usize) -> &'static str {
    if slot.is_multiple_of(2) { "product" } else { "order" }
}

fn place(category: &'static str, aggregate: Uuid) -> Place {
    (category, partition_of(aggregate.to_string().as_bytes(), PARTITIONS))
}
