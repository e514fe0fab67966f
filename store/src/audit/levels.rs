//! Stock: what is on hand and reserved, as the last event says, and in the state what is kept for
//! which order.

use serde_json::{Value, json};

use super::{Event, Fields, field, integer, not_first, text, unknown, with};

pub(super) const ROWS: &str = "SELECT partition, id::text AS key, NULL::bytea AS state,
       jsonb_build_object('version', version, 'on_hand', on_hand, 'reserved', reserved, \
       'available', available) AS row
FROM stock_levels";

const EVENTS: [&str; 5] =
    ["stock.received", "stock.reserved", "stock.released", "stock.shipped", "stock.adjusted"];

pub(super) fn columns(before: Option<Fields>, event: &Event) -> Result<Fields, String> {
    if !EVENTS.contains(&event.name.as_str()) {
        return Err(unknown(event));
    }
    let (on_hand, reserved) = (
        integer(event.data.get("on_hand"), "on_hand")?,
        integer(event.data.get("reserved"), "reserved")?,
    );
    let available = i64::try_from(on_hand - reserved).map_err(|error| error.to_string())?;
    let levels = [
        ("on_hand", field(event, "on_hand")?),
        ("reserved", field(event, "reserved")?),
        ("available", available.into()),
    ];
    Ok(with(before.unwrap_or_default(), levels))
}

pub(super) fn state(before: Option<&Value>, event: &Event) -> Result<Value, String> {
    let mut state = match before {
        Some(before) => before.clone(),
        None if event.name == "stock.received" => json!({"reservations": {}}),
        None => return not_first(None, event),
    };
    state["levels"] =
        json!({"on_hand": field(event, "on_hand")?, "reserved": field(event, "reserved")?});
    let kept =
        state["reservations"].as_object_mut().ok_or("the state before has no reservations")?;
    match event.name.as_str() {
        "stock.received" | "stock.adjusted" => {}
        "stock.reserved" => drop(
            kept.insert(text(event.data.get("order_id"), "order_id")?, field(event, "quantity")?),
        ),
        "stock.released" | "stock.shipped" => {
            drop(kept.remove(&text(event.data.get("order_id"), "order_id")?))
        }
        _ => return Err(unknown(event)),
    }
    Ok(state)
}
