//! Orders: the row of the list and detail, and the state that decides what may still happen.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Event, Fields, field, first, integer, not_first, text, time_text, unknown, with};

pub(super) const ROWS: &str = "SELECT partition, id::text AS key, NULL::bytea AS state,
       jsonb_build_object('version', version, 'status', status, 'customer_id', customer_id, \
       'currency', currency,
                          'placed_at', to_char(placed_at AT TIME ZONE 'UTC', \
                          'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
                          'units', units, 'total_minor', total_minor, 'lines', lines, 'reason', \
                          reason, 'carrier', carrier) AS row
FROM orders";

/// What was sold in one department.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DepartmentSales {
    pub(super) lines: i128,
    pub(super) units: i128,
    pub(super) total_minor: i128,
}

pub(super) fn columns(before: Option<Fields>, event: &Event) -> Result<Fields, String> {
    if event.name == "order.placed" {
        first(before, event)?;
        return placed(event);
    }
    let row = not_first(before, event)?;
    let status = status(event)?;
    let row = with(row, [("status", status.into())]);
    Ok(match status {
        "cancelled" | "returned" => with(row, [("reason", field(event, "reason")?)]),
        "shipped" => {
            with(row, [("carrier", event.data.get("carrier").cloned().unwrap_or(Value::Null))])
        }
        _ => row,
    })
}

fn placed(event: &Event) -> Result<Fields, String> {
    let units = match event.data.get("units") {
        Some(units) => units.clone(),
        // The first version of the event left the sum to its readers.
        None => number(by_department(event)?.values().map(|sold| sold.units).sum()),
    };
    Ok(with(
        Fields::new(),
        [
            ("status", "placed".into()),
            ("customer_id", field(event, "customer_id")?),
            ("currency", field(event, "currency")?),
            ("placed_at", time_text(event.data.get("placed_at"), "placed_at")?),
            ("units", units),
            ("total_minor", field(event, "total_minor")?),
            ("lines", field(event, "lines")?),
        ],
    ))
}

fn status(event: &Event) -> Result<&'static str, String> {
    let all = ["confirmed", "cancelled", "shipped", "delivered", "returned"];
    let found = event
        .name
        .strip_prefix("order.")
        .and_then(|fact| all.into_iter().find(|status| *status == fact));
    found.ok_or_else(|| unknown(event))
}

pub(super) fn state(before: Option<&Value>, event: &Event) -> Result<Value, String> {
    if event.name == "order.placed" {
        first(before, event)?;
        let sums = by_department(event)?;
        let departments: Vec<Value> = sums
            .into_iter()
            .map(|(department, sold)| {
                json!({
                    "department": department,
                    "lines": number(sold.lines),
                    "units": number(sold.units),
                    "total_minor": number(sold.total_minor),
                })
            })
            .collect();
        return Ok(json!({
            "stage": "placed",
            "placed_at": time_text(event.data.get("placed_at"), "placed_at")?,
            "departments": departments,
        }));
    }
    let mut state = not_first(before, event)?.clone();
    state["stage"] = match status(event)? {
        "delivered" => {
            let delivered_at = time_text(event.data.get("delivered_at"), "delivered_at")?;
            json!({"delivered": {"delivered_at": delivered_at}})
        }
        status => status.into(),
    };
    Ok(state)
}

/// The lines of `order.placed`, added up by department.
pub(super) fn by_department(event: &Event) -> Result<BTreeMap<String, DepartmentSales>, String> {
    let lines = event.data.get("lines").and_then(Value::as_array).ok_or("lines is no list")?;
    let mut sums: BTreeMap<String, DepartmentSales> = BTreeMap::new();
    for line in lines {
        let units = integer(line.get("quantity"), "quantity")?;
        let sum = sums.entry(text(line.get("department"), "department")?).or_default();
        sum.lines += 1;
        sum.units += units;
        sum.total_minor += units * integer(line.get("unit_price_minor"), "unit_price_minor")?;
    }
    Ok(sums)
}

/// Within 2^53, as every sum of an order.
fn number(sum: i128) -> Value {
    i64::try_from(sum).map_or_else(|_| sum.to_string().into(), Value::from)
}
