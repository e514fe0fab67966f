//! A log as it grew: written by several releases, read by this one.

use std::fs;

use highwater::{
    Rules,
    protocol::{
        domain::{Decision, Domain, Durable, Unreadable},
        time::Micros,
        wire::{Reason, RecordedEvent, Wire},
    },
    value::MAX,
};
use serde_json::json;
use store::{Order, Product, Stock};

type Test = Result<(), Box<dyn std::error::Error>>;

const ORDERS: Rules<Order> = Rules::new();
const PRODUCTS: Rules<Product> = Rules::new();
const STOCKS: Rules<Stock> = Rules::new();
const NOW: Micros = Micros(1_795_383_264_000_000);

/// A published sample, as it lies in the log.
fn published(stem: &str, name: &str) -> Result<RecordedEvent, Box<dyn std::error::Error>> {
    let data = fs::read(format!(
        "{}/../schemas/samples/events/{stem}/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    ))?;
    let event_type = stem.rsplit_once(".v").map_or(stem, |(event_type, _)| event_type);
    Ok(RecordedEvent {
        event_type: event_type.to_owned().into(),
        schema: stem.to_owned().into(),
        data,
    })
}

fn folded<D: Domain<Wire>>(
    domain: &D,
    log: &[RecordedEvent],
) -> Result<Option<D::State>, Unreadable> {
    log.iter().try_fold(None, |state: Option<D::State>, event| {
        domain.evolve(state.as_ref(), event).map(Some)
    })
}

#[test]
fn a_log_that_mixes_the_versions_of_placed_folds_to_the_same_states() -> Test {
    let life = [
        published("order.confirmed.v1", "confirmed")?,
        published("order.cancelled.v1", "two-departments")?,
    ];
    for sample in ["three-lines", "largest-amount"] {
        let v1 = [&[published("order.placed.v1", sample)?], &life[..]].concat();
        let v2 = [&[published("order.placed.v2", sample)?], &life[..]].concat();
        for events in 1..=v1.len() {
            let (old, new) = (folded(&ORDERS, &v1[..events])?, folded(&ORDERS, &v2[..events])?);
            assert!(old.is_some() && old == new, "{sample}, {events} events");
        }
    }
    Ok(())
}

/// An aggregate placed by an old release and cancelled by this one says what one placed by this
/// release says.
#[test]
fn a_cancellation_does_not_depend_on_the_version_that_was_placed() -> Test {
    let cancel = Rules::<Order>::parse("cancel", 1, &json!({ "reason": "out of stock" }), NOW)
        .map_err(|_| "a valid body")?;
    let decide = |stem| -> Result<_, Box<dyn std::error::Error>> {
        let state = folded(&ORDERS, &[published(stem, "three-lines")?])?;
        Ok(ORDERS.decide(state.as_ref(), &cancel, NOW))
    };
    let (old, new) = (decide("order.placed.v1")?, decide("order.placed.v2")?);
    assert!(matches!(&old, Ok(Decision::Change { events, .. }) if events.len() == 1));
    assert_eq!(old, new);
    Ok(())
}

#[test]
fn a_life_begins_once_and_with_its_beginning() -> Test {
    let (placed, confirmed) = (
        published("order.placed.v1", "three-lines")?,
        published("order.confirmed.v1", "confirmed")?,
    );
    let (created, discontinued) = (
        published("product.created.v1", "full")?,
        published("product.discontinued.v1", "discontinued")?,
    );
    for log in [&[confirmed][..], &[placed.clone(), placed]] {
        assert!(matches!(folded(&ORDERS, log), Err(Unreadable::Malformed { .. })), "{log:?}");
    }
    for log in [&[discontinued][..], &[created.clone(), created]] {
        assert!(matches!(folded(&PRODUCTS, log), Err(Unreadable::Malformed { .. })), "{log:?}");
    }
    for (stem, name) in [
        ("stock.reserved.v1", "reserved"),
        ("stock.released.v1", "released"),
        ("stock.shipped.v1", "shipped"),
        ("stock.adjusted.v1", "added"),
    ] {
        let log = [published(stem, name)?];
        assert!(matches!(folded(&STOCKS, &log), Err(Unreadable::Malformed { .. })), "{log:?}");
    }
    Ok(())
}

/// What an event says is a fact, although it does not follow from the ones before it.
#[test]
fn a_stock_folds_whatever_was_once_written() -> Test {
    let received = published("stock.received.v1", "first")?;
    for (stem, name, levels) in [
        ("stock.received.v1", "largest", (MAX, 12)),
        ("stock.released.v1", "released", (12, 0)),
        ("stock.shipped.v1", "shipped", (9, 0)),
        ("stock.adjusted.v1", "taken-away", (7, 0)),
    ] {
        let stock =
            folded(&STOCKS, &[received.clone(), published(stem, name)?])?.ok_or("a stock")?;
        assert_eq!((stock.levels.on_hand.get(), stock.levels.reserved.get()), levels, "{stem}");
    }
    let reserved = published("stock.reserved.v1", "reserved")?;
    let twice = folded(&STOCKS, &[received, reserved.clone(), reserved])?.ok_or("a stock")?;
    assert_eq!(twice.reservations.len(), 1, "an order has one reservation");
    Ok(())
}

#[test]
fn a_newer_version_is_not_taken_for_damage() {
    let newer = RecordedEvent {
        event_type: "order.placed".into(),
        schema: "order.placed.v3".into(),
        data: b"{}".to_vec(),
    };
    assert_eq!(
        ORDERS.evolve(None, &newer),
        Err(Unreadable::Newer { what: "order.placed.v3".to_owned() })
    );
}

#[test]
fn only_a_create_may_find_nothing() -> Test {
    let order = |name, body| {
        Rules::<Order>::parse(name, 1, &body, NOW).map_err(|invalid| format!("{invalid:?}"))
    };
    let product = |name, body| {
        Rules::<Product>::parse(name, 1, &body, NOW).map_err(|invalid| format!("{invalid:?}"))
    };
    let reason = json!({ "reason": "r" });
    let orders =
        [order("confirm", json!({}))?, order("cancel", reason.clone())?, order("ship", json!({}))?];
    for command in
        orders.into_iter().chain([order("deliver", json!({}))?, order("return", reason)?])
    {
        assert!(ORDERS.must_exist(&command));
        assert_eq!(code(ORDERS.decide(None, &command, NOW)), "order.not-found", "{command:?}");
    }
    let price = json!({ "unit_price_minor": 1, "currency": "USD" });
    for command in [
        product("describe", json!({}))?,
        product("set-price", price)?,
        product("discontinue", json!({}))?,
    ] {
        assert!(PRODUCTS.must_exist(&command));
        assert_eq!(code(PRODUCTS.decide(None, &command, NOW)), "product.not-found", "{command:?}");
    }
    let create =
        json!({ "name": "n", "department": "d", "unit_price_minor": 1, "currency": "USD" });
    assert!(!PRODUCTS.must_exist(&product("create", create)?));
    Ok(())
}

/// Of stock, what is received makes it; not even units that were found do.
#[test]
fn only_receiving_may_find_no_stock() -> Test {
    let stock = |name, body| {
        Rules::<Stock>::parse(name, 1, &body, NOW).map_err(|invalid| format!("{invalid:?}"))
    };
    let order = json!({ "order_id": "1d0f3a52-6c1b-5e4f-8a90-2b7c4d5e6f01" });
    let reserve = json!({ "order_id": order["order_id"], "quantity": 1 });
    let adjust = |delta: i64| json!({ "delta": delta, "reason": "r" });
    for command in [
        stock("reserve", reserve)?,
        stock("release", order.clone())?,
        stock("ship", order)?,
        stock("adjust", adjust(1))?,
        stock("adjust", adjust(0))?,
        stock("adjust", adjust(-1))?,
    ] {
        assert!(STOCKS.must_exist(&command));
        assert_eq!(code(STOCKS.decide(None, &command, NOW)), "stock.not-found", "{command:?}");
    }
    assert!(!STOCKS.must_exist(&stock("receive", json!({ "quantity": 1 }))?));
    Ok(())
}

fn code<S>(decided: Result<Decision<S, RecordedEvent>, Reason>) -> String {
    let reason = decided.err().map(|reason| reason.0).unwrap_or_default();
    let reason: serde_json::Value = serde_json::from_slice(&reason).unwrap_or_default();
    reason["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_serialized_state_that_is_damaged_is_unreadable() {
    for serialized in [
        &b""[..],
        b"{}",
        b"null",
        b"\xff",
        br#"{"stage":"lost","placed_at":"2026-11-22T21:34:24.123456Z","departments":[]}"#,
    ] {
        assert!(matches!(ORDERS.deserialize(serialized), Err(Unreadable::Malformed { .. })));
        assert!(matches!(PRODUCTS.deserialize(serialized), Err(Unreadable::Malformed { .. })));
        assert!(matches!(STOCKS.deserialize(serialized), Err(Unreadable::Malformed { .. })));
    }
    for reservations in
        [r#"{"not-an-id":1}"#, r#"{"1d0f3a52-6c1b-5e4f-8a90-2b7c4d5e6f01":0}"#, "[]"]
    {
        let serialized =
            format!(r#"{{"levels":{{"on_hand":1,"reserved":1}},"reservations":{reservations}}}"#);
        assert!(
            matches!(STOCKS.deserialize(serialized.as_bytes()), Err(Unreadable::Malformed { .. })),
            "{serialized}"
        );
    }
}

/// A change of the serialized form must change `FORMAT`: this is what format 1 looks like.
#[test]
fn format_1_is_this() -> Test {
    assert_eq!(
        (Rules::<Order>::FORMAT, Rules::<Product>::FORMAT, Rules::<Stock>::FORMAT),
        (1, 1, 1)
    );
    let mut log = vec![published("order.placed.v2", "three-lines")?];
    let order = folded(&ORDERS, &log)?.ok_or("an order")?;
    let placed = concat!(
        r#"{"stage":"placed","placed_at":"2026-11-22T21:34:24.123456Z","departments":["#,
        r#"{"department":"DRUG GM","lines":1,"units":3,"total_minor":0},"#,
        r#"{"department":"GROCERY","lines":2,"units":3,"total_minor":748}]}"#
    );
    assert_eq!(String::from_utf8(ORDERS.serialize(&order))?, placed);
    for (stem, name) in [
        ("order.confirmed.v1", "confirmed"),
        ("order.shipped.v1", "bare"),
        ("order.delivered.v1", "delivered"),
    ] {
        log.push(published(stem, name)?);
    }
    let order = folded(&ORDERS, &log)?.ok_or("an order")?;
    let delivered = placed.replace(
        r#""placed","#,
        r#"{"delivered":{"delivered_at":"2026-11-22T21:34:24.123456Z"}},"#,
    );
    assert_eq!(String::from_utf8(ORDERS.serialize(&order))?, delivered);
    let product =
        folded(&PRODUCTS, &[published("product.created.v1", "bare")?])?.ok_or("a product")?;
    let created = concat!(
        r#"{"stage":"active","unit_price_minor":0,"currency":"USD","#,
        r#""description":{"name":"27334","department":"UNKNOWN"}}"#
    );
    assert_eq!(String::from_utf8(PRODUCTS.serialize(&product))?, created);
    let stock =
        [published("stock.received.v1", "first")?, published("stock.reserved.v1", "reserved")?];
    let stock = folded(&STOCKS, &stock)?.ok_or("a stock")?;
    let reserved = concat!(
        r#"{"levels":{"on_hand":12,"reserved":3},"#,
        r#""reservations":{"1d0f3a52-6c1b-5e4f-8a90-2b7c4d5e6f01":3}}"#
    );
    assert_eq!(String::from_utf8(STOCKS.serialize(&stock))?, reserved);
    Ok(())
}
