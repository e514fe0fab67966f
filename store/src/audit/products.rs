//! Products: the row of the catalog, and the state that decides what may still happen.

use serde_json::{Value, json};

use super::{Event, Fields, field, first, not_first, unknown, with};

pub(super) const ROWS: &str = "SELECT partition, id::text AS key, NULL::bytea AS state,
       jsonb_build_object('version', version, 'status', status, 'name', name, 'department', \
       department,
                          'unit_price_minor', unit_price_minor, 'currency', currency, 'brand', \
                          brand, 'category', category,
                          'description', description, 'package_size', package_size) AS row
FROM catalog";

/// What `describe` sets; the first two always.
const DESCRIPTION: [&str; 6] =
    ["name", "department", "brand", "category", "description", "package_size"];

pub(super) fn columns(before: Option<Fields>, event: &Event) -> Result<Fields, String> {
    Ok(match event.name.as_str() {
        "product.created" => {
            first(before, event)?;
            with(
                with(Fields::new(), [("status", "active".into())]),
                described(event)?.into_iter().chain(price(event)?),
            )
        }
        "product.described" => with(not_first(before, event)?, described(event)?),
        "product.price-set" => with(not_first(before, event)?, price(event)?),
        "product.discontinued" => {
            with(not_first(before, event)?, [("status", "discontinued".into())])
        }
        _ => return Err(unknown(event)),
    })
}

pub(super) fn state(before: Option<&Value>, event: &Event) -> Result<Value, String> {
    let description = || -> Result<Value, String> {
        let set = described(event)?.into_iter().filter(|(_, value)| !value.is_null());
        Ok(Value::Object(with(Fields::new(), set)))
    };
    if event.name == "product.created" {
        first(before, event)?;
        let [(_, unit_price_minor), (_, currency)] = price(event)?;
        let description = description()?;
        return Ok(json!({
            "stage": "active", "unit_price_minor": unit_price_minor, "currency": currency,
            "description": description,
        }));
    }
    let mut state = not_first(before, event)?.clone();
    match event.name.as_str() {
        "product.described" => state["description"] = description()?,
        "product.price-set" => {
            price(event)?.into_iter().for_each(|(name, value)| state[name] = value)
        }
        "product.discontinued" => state["stage"] = "discontinued".into(),
        _ => return Err(unknown(event)),
    }
    Ok(state)
}

/// The whole description: what is absent is unset.
fn described(event: &Event) -> Result<Vec<(&'static str, Value)>, String> {
    for demanded in &DESCRIPTION[..2] {
        field(event, demanded)?;
    }
    Ok(DESCRIPTION
        .map(|name| (name, event.data.get(name).cloned().unwrap_or(Value::Null)))
        .to_vec())
}

fn price(event: &Event) -> Result<[(&'static str, Value); 2], String> {
    Ok([
        ("unit_price_minor", field(event, "unit_price_minor")?),
        ("currency", field(event, "currency")?),
    ])
}
