//! Whatever commands come, in whatever sequence and at whatever time: what is decided keeps its
//! schema and can be read back, and a state survives its snapshot.

#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect has failed")]

use std::{collections::HashMap, sync::LazyLock};

use events::{order::OrderCommand, product::ProductCommand, stock::StockCommand};
use highwater::{
    Rules, contracts,
    protocol::{
        domain::{Decision, Durable},
        time::Micros,
        wire::RecordedEvent,
    },
    value::MAX,
};
use jsonschema::Validator;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use store::{Order, Product, Stock};

/// 2026-11-22T21:34:24Z
const START: i64 = 1_795_383_264_000_000;
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

static SCHEMAS: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let events = contracts::events(&store::categories()).into_iter();
    events
        .map(|event| (event.stem, jsonschema::validator_for(&event.schema.to_value()).unwrap()))
        .collect()
});

fn keeps_its_schema(event: &RecordedEvent) -> bool {
    serde_json::from_slice(&event.data)
        .is_ok_and(|data| SCHEMAS[event.schema.as_ref()].is_valid(&data))
}

fn order_command() -> impl Strategy<Value = OrderCommand> {
    let simple = select(vec![
        ("confirm", 1, json!({})),
        ("cancel", 1, json!({ "reason": "r" })),
        ("ship", 1, json!({})),
        ("ship", 1, json!({ "carrier": "DHL", "tracking": "0034" })),
        ("deliver", 1, json!({})),
        ("return", 1, json!({ "reason": "r" })),
    ]);
    prop_oneof![
        1 => lines().prop_map(|lines| {
            ("place", 1, json!({ "customer_id": id(0), "currency": "USD", "lines": lines }))
        }),
        1 => (lines(), any::<bool>()).prop_map(|(lines, confirm)| {
            let body = json!({
                "customer_id": id(0), "currency": "USD", "lines": lines, "confirm": confirm,
            });
            ("place", 2, body)
        }),
        6 => simple,
    ]
    .prop_map(|(name, version, body)| {
        Rules::<Order>::parse(name, version, &body, Micros(START)).unwrap()
    })
}

fn lines() -> impl Strategy<Value = Vec<Value>> {
    let line =
        (0..9_u8, select(vec!["GROCERY", "DRUG GM", "Käse"]), 1..1_000_000_u32, 0..1_000_000_u32)
            .prop_map(|(product, department, quantity, price)| {
                json!({
                    "product_id": id(product), "department": department, "quantity": quantity,
                    "unit_price_minor": price,
                })
            });
    prop::collection::vec(line, 1..6)
}

fn id(n: u8) -> String {
    format!("5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a{n:02}")
}

fn product_command() -> impl Strategy<Value = ProductCommand> {
    let text = prop_oneof![Just(json!("A")), Just(json!("B"))];
    let optional = prop_oneof![text.clone(), Just(json!(null))];
    let describe = prop::collection::btree_map(
        select(vec!["brand", "category", "description", "package_size"]),
        optional,
        0..4,
    );
    let describe = (describe, prop::option::of(text)).prop_map(|(fields, name)| {
        let mut body = json!(fields);
        if let Some(name) = name {
            body["name"] = name;
        }
        ("describe", body)
    });
    let create = json!({
        "name": "A", "department": "D", "unit_price_minor": 1, "currency": "USD", "brand": "B",
    });
    let price = (0..3_u8, select(vec!["USD", "USD", "EUR"]));
    prop_oneof![
        2 => Just(("create", create)),
        4 => describe,
        4 => price.prop_map(|(price, currency)| {
            ("set-price", json!({ "unit_price_minor": price, "currency": currency }))
        }),
        1 => Just(("discontinue", json!({}))),
    ]
    .prop_map(|(name, body)| Rules::<Product>::parse(name, 1, &body, Micros(START)).unwrap())
}

fn stock_command() -> impl Strategy<Value = StockCommand> {
    let quantity = || prop_oneof![9 => 1..9_i64, 1 => Just(MAX - 8)];
    let delta = prop_oneof![9 => -9..9_i64, 1 => select(vec![-MAX, MAX])];
    prop_oneof![
        2 => quantity().prop_map(|quantity| ("receive", json!({ "quantity": quantity }))),
        4 => (0..5_u8, quantity()).prop_map(|(order, quantity)| {
            ("reserve", json!({ "order_id": id(order), "quantity": quantity }))
        }),
        2 => (0..5_u8).prop_map(|order| ("release", json!({ "order_id": id(order) }))),
        2 => (0..5_u8).prop_map(|order| ("ship", json!({ "order_id": id(order) }))),
        2 => delta.prop_map(|delta| ("adjust", json!({ "delta": delta, "reason": "r" }))),
    ]
    .prop_map(|(name, body)| Rules::<Stock>::parse(name, 1, &body, Micros(START)).unwrap())
}

/// Lives through `commands`, each `days` after the one before; `adds` to say which of them count as
/// often as they are given, `holds` to look at every state.
fn live<D: Durable>(
    domain: &D,
    commands: Vec<(D::Command, i64)>,
    adds: impl Fn(&D::Command) -> bool,
    holds: impl Fn(&D::State) -> bool,
) -> Result<(), TestCaseError> {
    let (mut state, mut at) = (None::<D::State>, Micros(START));
    for (command, days) in commands {
        at.0 += days * DAY_MICROS;
        let decided = domain.decide(state.as_ref(), &command, at);
        prop_assert_eq!(
            &decided,
            &domain.decide(state.as_ref(), &command, at),
            "deciding is deterministic"
        );
        let Ok(Decision::Change { events, state: after }) = decided else { continue };
        prop_assert!(!events.is_empty());
        let mut read = state;
        for event in &events {
            prop_assert!(keeps_its_schema(event), "{event:?}");
            read = Some(
                domain
                    .evolve(read.as_ref(), event)
                    .map_err(|error| TestCaseError::fail(error.to_string()))?,
            );
        }
        prop_assert_eq!(read.as_ref(), Some(&after), "the log says what was decided");
        let deserialized = domain.deserialize(&domain.serialize(&after));
        prop_assert_eq!(deserialized.as_ref(), Ok(&after), "a snapshot is the state");
        prop_assert!(holds(&after), "{after:?}");
        let again = domain.decide(Some(&after), &command, at);
        prop_assert!(
            adds(&command) || !matches!(again, Ok(Decision::Change { .. })),
            "no command changes twice"
        );
        state = Some(after);
    }
    Ok(())
}

fn deserialize<A: highwater::Aggregate>(serialized: &[u8]) -> Option<A> {
    Rules::<A>::new().deserialize(serialized).ok()
}

fn every_reserved_unit_is_there(stock: &Stock) -> bool {
    let (on_hand, reserved) = (stock.levels.on_hand.get(), stock.levels.reserved.get());
    let sum: i64 = stock.reservations.iter().map(|(_, quantity)| quantity.get()).sum();
    sum == reserved && reserved <= on_hand && stock.levels.available().get() == on_hand - reserved
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn orders(commands in prop::collection::vec((order_command(), 0..40_i64), 1..40)) {
        live(&Rules::<Order>::new(), commands, |_| false, |_| true)?;
    }

    #[test]
    fn products(commands in prop::collection::vec((product_command(), 0..40_i64), 1..40)) {
        live(&Rules::<Product>::new(), commands, |_| false, |_| true)?;
    }

    #[test]
    fn stocks(commands in prop::collection::vec((stock_command(), 0..2_i64), 1..60)) {
        let adds = |command: &StockCommand| {
            matches!(command, StockCommand::Receive(_) | StockCommand::Adjust(_))
        };
        live(&Rules::<Stock>::new(), commands, adds, every_reserved_unit_is_there)?;
    }

    #[test]
    fn deserializing_any_bytes_never_panics(serialized in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (deserialize::<Order>(&serialized), deserialize::<Product>(&serialized), deserialize::<Stock>(&serialized));
    }
}
