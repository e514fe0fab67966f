//! The tables as they must be, folded here from the raw CloudEvents, against the tables as they are. Nothing of the projections'
//! code is used.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    client::Place,
    log::{Event, LogRead, Outcome, What},
};

/// Rows by table and key.
pub type Rows = BTreeMap<(&'static str, Uuid), Value>;

/// What each table is read by: key and row, times in the form of the log.
const QUERIES: [(&str, &str); 4] = [
    (
        "orders",
        "SELECT id, to_jsonb(o) || jsonb_build_object('placed_at', to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))
         FROM orders o",
    ),
    ("catalog", "SELECT id, to_jsonb(c) FROM catalog c"),
    (
        "snapshots",
        "SELECT aggregate_id, jsonb_build_object('category', category, 'id', aggregate_id, 'partition', partition, 'version', version,
                'unreadable', unreadable, 'state', convert_from(state, 'UTF8')::jsonb)
         FROM snapshots",
    ),
    (
        "outcomes",
        "SELECT command_id, jsonb_build_object('category', category, 'partition', partition, 'aggregate_id', aggregate_id,
                'fingerprint_key', fingerprint_key, 'fingerprint', encode(fingerprint, 'hex'), 'verdict', verdict, 'version', version,
                'next_offset', next_offset, 'events', events, 'reason', reason)
         FROM outcomes",
    ),
];

/// Which projection reads which category.
const READS: [(&str, &str); 4] = [("orders", "order"), ("catalog", "product"), ("snapshots", "order"), ("snapshots", "product")];

pub async fn stored(pool: &PgPool) -> Rows {
    let mut rows = Rows::new();
    for (table, query) in QUERIES {
        let found: Vec<(Uuid, Value)> = sqlx::query_as(query).fetch_all(pool).await.unwrap();
        rows.extend(found.into_iter().map(|(key, row)| ((table, key), row)));
    }
    rows
}

/// The projections whose checkpoint is below an end, with both.
pub async fn behind(pool: &PgPool, ends: &BTreeMap<Place, u64>) -> Vec<String> {
    let query = "SELECT projection, category, partition, next_offset FROM checkpoints WHERE generation = 1";
    let rows: Vec<(String, String, i32, i64)> = sqlx::query_as(query).fetch_all(pool).await.unwrap();
    let at = |wanted: (&str, &str, u32)| {
        let found = rows.iter().find(|(projection, category, partition, _)| {
            (projection.as_str(), category.as_str(), u32::try_from(*partition).unwrap()) == wanted
        });
        found.map_or(0, |(.., offset)| u64::try_from(*offset).unwrap())
    };
    let mut behind = Vec::new();
    for ((category, partition), end) in ends {
        for (projection, _) in READS.iter().filter(|(_, reads)| reads == category) {
            let offset = at((projection, category, *partition));
            if offset < *end {
                behind.push(format!("{projection} of {category}/{partition} is at {offset} of {end}"));
            }
        }
    }
    behind
}

/// What the log makes of the tables.
pub fn expected(log: &LogRead) -> Rows {
    let mut rows = Rows::new();
    for outcome in &log.outcomes {
        if let What::Accepted(events) = &outcome.what {
            for event in events {
                apply(&mut rows, outcome, event);
            }
        }
        rows.entry(("outcomes", outcome.command)).or_insert_with(|| outcome_row(outcome));
    }
    rows
}

/// Rows that are missing, too many or other than they must be.
pub fn differences(expected: &Rows, stored: &Rows) -> Vec<String> {
    let mut found = Vec::new();
    for ((table, key), row) in expected {
        match stored.get(&(*table, *key)) {
            None => found.push(format!("{table} lacks {key}: {row}")),
            Some(other) if other != row => found.push(format!("{table} {key} is {other}, must be {row}")),
            Some(_) => {}
        }
    }
    let strange = stored.keys().filter(|key| !expected.contains_key(key));
    found.extend(strange.map(|(table, key)| format!("{table} has {key}, of which the log knows nothing")));
    found
}

fn apply(rows: &mut Rows, outcome: &Outcome, event: &Event) {
    let (table, id) = (if outcome.place.0 == "order" { "orders" } else { "catalog" }, outcome.aggregate);
    let data = &event.data;
    let changes: Value = match event.kind.as_str() {
        "order.placed" => merged(data, json!({"status": "placed", "reason": null, "carrier": null})),
        "order.confirmed" => json!({"status": "confirmed"}),
        "order.cancelled" => json!({"status": "cancelled", "reason": data["reason"]}),
        "order.shipped" => json!({"status": "shipped", "carrier": data["carrier"]}),
        "order.delivered" => json!({"status": "delivered"}),
        "product.created" => merged(
            &described(data),
            json!({"status": "active", "unit_price_minor": data["unit_price_minor"],
                                                             "currency": data["currency"]}),
        ),
        "product.described" => described(data),
        "product.price-set" => json!({"unit_price_minor": data["unit_price_minor"], "currency": data["currency"]}),
        other => panic!("the mix makes no {other}"),
    };
    let place = json!({"id": id, "partition": outcome.place.1, "version": event.version});
    let before = rows.remove(&(table, id)).unwrap_or_else(|| json!({}));
    rows.insert((table, id), merged(&merged(&before, changes), place));

    let state = rows.remove(&("snapshots", id)).map_or(Value::Null, |row| row["state"].clone());
    let state = if table == "orders" { order_state(state, event) } else { product_state(state, event) };
    let row = json!({"category": outcome.place.0, "id": id, "partition": outcome.place.1, "version": event.version, "unreadable": null,
                     "state": state});
    rows.insert(("snapshots", id), row);
}

fn merged(before: &Value, changes: Value) -> Value {
    let mut row = before.as_object().cloned().unwrap_or_default();
    if let Value::Object(changes) = changes {
        row.extend(changes);
    }
    Value::Object(row)
}

/// The whole description: what the event does not name is unset.
fn described(data: &Value) -> Value {
    let fields = ["name", "department", "brand", "category", "description", "package_size"];
    Value::Object(fields.iter().map(|field| ((*field).to_owned(), data.get(field).cloned().unwrap_or_default())).collect())
}

fn order_state(state: Value, event: &Event) -> Value {
    let stage = match event.kind.as_str() {
        "order.placed" => {
            let departments = departments(&event.data);
            return json!({"stage": "placed", "placed_at": event.data["placed_at"], "departments": departments});
        }
        "order.delivered" => json!({"delivered": {"delivered_at": event.data["delivered_at"]}}),
        kind => json!(kind.trim_start_matches("order.")),
    };
    merged(&state, json!({"stage": stage}))
}

fn departments(placed: &Value) -> Vec<Value> {
    let mut sums: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for line in placed["lines"].as_array().unwrap() {
        let (quantity, price) = (line["quantity"].as_u64().unwrap(), line["unit_price_minor"].as_u64().unwrap());
        let sum = sums.entry(line["department"].as_str().unwrap().to_owned()).or_default();
        for (sum, part) in sum.iter_mut().zip([1, quantity, quantity * price]) {
            *sum += part;
        }
    }
    let row = |(department, [lines, units, total]): (String, [u64; 3])| json!({"department": department, "lines": lines, "units": units, "total_minor": total});
    sums.into_iter().map(row).collect()
}

fn product_state(state: Value, event: &Event) -> Value {
    let set: Map<String, Value> = described(&event.data)
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let price = json!({"unit_price_minor": event.data["unit_price_minor"], "currency": event.data["currency"]});
    match event.kind.as_str() {
        "product.created" => merged(&price, json!({"stage": "active", "description": set})),
        "product.described" => merged(&state, json!({"description": set})),
        _ => merged(&state, price),
    }
}

fn outcome_row(outcome: &Outcome) -> Value {
    let (number, hmac) = outcome.fingerprint.split_at(2);
    let hex: String = hmac.iter().map(|byte| format!("{byte:02x}")).collect();
    let (verdict, events, reason) = match &outcome.what {
        What::Accepted(events) => {
            let events: Vec<Value> = events.iter().map(|event| json!({"type": event.kind, "version": event.version})).collect();
            ("accepted", json!(events), Value::Null)
        }
        What::Rejected(reason) => ("rejected", Value::Null, reason.clone()),
        What::Unchanged(reason) => ("unchanged", Value::Null, reason.clone()),
    };
    json!({"category": outcome.place.0, "partition": outcome.place.1, "aggregate_id": outcome.aggregate,
           "fingerprint_key": u16::from_be_bytes([number[0], number[1]]), "fingerprint": hex, "verdict": verdict,
           "version": outcome.version, "next_offset": outcome.end, "events": events, "reason": reason})
}
