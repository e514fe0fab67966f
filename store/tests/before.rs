//! What the rules and contracts said before they were written on the facade, byte for byte: events
//! in their latest version, states in format 1, answers of every command in every state.
//! `golden/before.tsv` was written by the release before, and does not change.

#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

#[path = "support/contracts.rs"]
mod contracts;

use std::{fmt::Write as _, fs, path::PathBuf};

use contracts::{rewritten, stored};
use highwater::{
    Aggregate, Rules,
    protocol::{
        domain::{Decision, Domain, Durable},
        time::Micros,
        wire::{Reason, RecordedEvent},
    },
};
use serde_json::{Value, json};
use store::{Order, Product, Stock};

const NOW: i64 = 1_795_383_264_000_000;
const MAX: i64 = 9_007_199_254_740_991;

/// The lines of the file, as this release writes them.
#[derive(Default)]
struct Said(String);

impl Said {
    fn line(&mut self, kind: &str, label: &str, what: &str, bytes: Vec<u8>) {
        writeln!(self.0, "{kind}\t{label}\t{what}\t{}", String::from_utf8(bytes).unwrap()).unwrap();
    }

    /// The state after each of these samples; the last one.
    fn walk<A: Aggregate>(&mut self, label: &str, events: &[(&str, &str)]) -> Option<A> {
        let rules = Rules::<A>::new();
        let mut state: Option<A> = None;
        for (stem, name) in events {
            let next = rules.evolve(state.as_ref(), &sample(stem, name)).unwrap();
            self.line("state", label, &format!("{stem}/{name}"), rules.serialize(&next));
            state = Some(next);
        }
        state
    }

    /// What becomes of a command.
    fn decide<A: Aggregate>(
        &mut self,
        label: &str,
        state: Option<&A>,
        (name, version, body): (&str, u32, &Value),
        at: i64,
    ) {
        let rules = Rules::<A>::new();
        let command = Rules::<A>::parse(name, version, body, Micros(NOW)).unwrap();
        match rules.decide(state, &command, Micros(at)) {
            Err(Reason(reason)) => self.line("reason", label, "", reason),
            Ok(Decision::Nothing) => self.line("nothing", label, "", Vec::new()),
            Ok(Decision::Change { events, state }) => {
                for event in events {
                    self.line("event", label, &event.schema, event.data);
                }
                self.line("after", label, "", rules.serialize(&state));
            }
        }
    }
}

fn folder(kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas/samples").join(kind)
}

fn names(path: PathBuf) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn sample(stem: &str, name: &str) -> RecordedEvent {
    stored(stem, fs::read(folder("events").join(stem).join(name)).unwrap())
}

fn body(stem: &str, name: &str) -> Value {
    serde_json::from_slice(&fs::read(folder("commands").join(stem).join(name)).unwrap()).unwrap()
}

#[test]
fn every_byte_is_as_before() {
    let mut said = Said::default();
    for stem in names(folder("events")) {
        for name in names(folder("events").join(&stem)) {
            let again = rewritten(&sample(&stem, &name)).unwrap();
            said.line("rewritten", &format!("{stem}/{name}"), &again.schema, again.data);
        }
    }
    orders(&mut said);
    products(&mut said);
    stock(&mut said);
    let before = include_str!("golden/before.tsv");
    for (now, before) in said.0.lines().zip(before.lines()) {
        assert_eq!(now, before);
    }
    assert_eq!(said.0.lines().count(), before.lines().count());
}

fn orders(said: &mut Said) {
    let placed = ("order.placed.v2", "three-lines.json");
    let confirmed = ("order.confirmed.v1", "confirmed.json");
    let shipped = ("order.shipped.v1", "with-tracking.json");
    let delivered = ("order.delivered.v1", "delivered.json");
    let returned = ("order.returned.v1", "returned.json");
    let cancelled = ("order.cancelled.v1", "two-departments.json");
    let first = ("order.placed.v1", "largest-amount.json");
    let states: [Option<Order>; 6] = [
        said.walk("placed", &[placed]),
        said.walk("returned", &[first, confirmed, shipped, delivered, returned]),
        said.walk("cancelled", &[placed, cancelled]),
        said.walk("confirmed", &[placed, confirmed]),
        said.walk("shipped", &[placed, confirmed, shipped]),
        said.walk("delivered", &[placed, confirmed, shipped, delivered]),
    ];
    let [placed, returned, cancelled, confirmed, shipped, delivered] = states;
    let states = [
        ("none", None),
        ("placed", placed.as_ref()),
        ("confirmed", confirmed.as_ref()),
        ("shipped", shipped.as_ref()),
        ("delivered", delivered.as_ref()),
        ("returned", returned.as_ref()),
        ("cancelled", cancelled.as_ref()),
    ];
    for (label, state) in states {
        for (name, version, file) in [
            ("place", 1, "three-lines.json"),
            ("place", 1, "import.json"),
            ("place", 2, "confirmed.json"),
            ("confirm", 1, "confirm.json"),
            ("cancel", 1, "cancel.json"),
            ("ship", 1, "bare.json"),
            ("ship", 1, "with-tracking.json"),
            ("deliver", 1, "deliver.json"),
            ("return", 1, "return.json"),
        ] {
            let stem = format!("order.{name}.v{version}");
            let command = (name, version, &body(&stem, file));
            said.decide(&format!("{stem}/{file} on {label}"), state, command, NOW);
        }
    }
    let mut twice = body("order.place.v1", "three-lines.json");
    twice["lines"][2]["product_id"] = twice["lines"][0]["product_id"].clone();
    said.decide::<Order>("duplicate", None, ("place", 1, &twice), NOW);
    let late = NOW + 31 * 86_400_000_000;
    let give_back = json!({ "reason": "r" });
    said.decide("too late", delivered.as_ref(), ("return", 1, &give_back), late);
}

fn products(said: &mut Said) {
    let created: Option<Product> = said.walk(
        "created",
        &[
            ("product.created.v1", "full.json"),
            ("product.described.v1", "bare.json"),
            ("product.described.v1", "full.json"),
            ("product.price-set.v1", "raised.json"),
        ],
    );
    let gone: Option<Product> = said.walk(
        "gone",
        &[("product.created.v1", "bare.json"), ("product.discontinued.v1", "discontinued.json")],
    );
    for (label, state) in [("none", None), ("created", created.as_ref()), ("gone", gone.as_ref())] {
        for (name, file) in [
            ("create", "bare.json"),
            ("create", "full.json"),
            ("describe", "change-and-clear.json"),
            ("describe", "nothing.json"),
            ("discontinue", "discontinue.json"),
            ("set-price", "raise.json"),
        ] {
            let stem = format!("product.{name}.v1");
            let command = (name, 1, &body(&stem, file));
            said.decide(&format!("{stem}/{file} on {label}"), state, command, NOW);
        }
        let euros = json!({ "unit_price_minor": 1, "currency": "EUR" });
        said.decide(&format!("set-price EUR on {label}"), state, ("set-price", 1, &euros), NOW);
    }
}

fn stock(said: &mut Said) {
    let received = ("stock.received.v1", "first.json");
    let reserved = ("stock.reserved.v1", "reserved.json");
    let stock: Option<Stock> = said.walk("stock", &[received, reserved]);
    let full: Option<Stock> = said.walk(
        "full",
        &[
            ("stock.received.v1", "largest.json"),
            ("stock.adjusted.v1", "added.json"),
            reserved,
            ("stock.released.v1", "released.json"),
            reserved,
            ("stock.shipped.v1", "shipped.json"),
            ("stock.adjusted.v1", "taken-away.json"),
        ],
    );
    let another = "1D0F3A52-6c1b-5e4f-8a90-2b7c4d5e0001";
    for (label, state) in [("none", None), ("stock", stock.as_ref()), ("full", full.as_ref())] {
        for (name, file) in [
            ("receive", "receive.json"),
            ("reserve", "reserve.json"),
            ("release", "release.json"),
            ("ship", "ship.json"),
            ("adjust", "add.json"),
            ("adjust", "take-away.json"),
        ] {
            let stem = format!("stock.{name}.v1");
            let command = (name, 1, &body(&stem, file));
            said.decide(&format!("{stem}/{file} on {label}"), state, command, NOW);
        }
        for delta in [0, -MAX, MAX] {
            let adjust = json!({ "delta": delta, "reason": "r" });
            let what = format!("adjust {delta} on {label}");
            said.decide(&what, state, ("adjust", 1, &adjust), NOW);
        }
        for (name, quantity) in [("another", 5), ("most", MAX)] {
            let reserve = json!({ "order_id": another, "quantity": quantity });
            let what = format!("reserve {name} on {label}");
            said.decide(&what, state, ("reserve", 1, &reserve), NOW);
        }
        let release = json!({ "order_id": another });
        said.decide(&format!("release another on {label}"), state, ("release", 1, &release), NOW);
    }
    let reserve = json!({ "order_id": "ffffffff-6c1b-5e4f-8a90-2b7c4d5e0001", "quantity": 1 });
    said.decide("too many", Some(&crowded()), ("reserve", 1, &reserve), NOW);
}

/// With 10,000 reservations.
fn crowded() -> Stock {
    let id = |n: u32| format!("1d0f3a52-6c1b-5e4f-8a90-2b7c4d5e{n:04x}");
    let reservations: Value = (0..10_000).map(|n| (id(n), json!(1))).collect();
    let levels = json!({ "on_hand": 10_001, "reserved": 10_000 });
    let serialized = json!({ "levels": levels, "reservations": reservations });
    Rules::<Stock>::new().deserialize(serialized.to_string().as_bytes()).unwrap()
}
