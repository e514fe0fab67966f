//! Sales by day, department and partition: every placed order is added on the day of `placed_at` in
//! UTC, a cancelled one taken back on the same day. The row without a department is the day as a
//! whole, in which an order counts once.

use serde_json::{Value, json};

use highwater::audit::projected::{
    item::Event,
    rows::{Rows, Table},
};

use super::{
    integer,
    orders::{DepartmentSales, by_department},
    text, time,
};

pub(super) struct SalesDaily;

impl Table for SalesDaily {
    fn name(&self) -> &'static str {
        "sales_daily"
    }

    fn projection(&self) -> &'static str {
        "sales_daily"
    }

    fn category(&self) -> &'static str {
        "order"
    }

    fn rows(&self) -> String {
        "SELECT partition, to_char(day, 'YYYY-MM-DD') || '/' || department AS key, NULL::bytea AS \
         state,
                jsonb_build_object('orders', orders::text, 'lines', lines::text, 'units', \
                units::text, 'total_minor', total_minor::text)
                    AS row
         FROM sales_daily"
            .to_owned()
    }

    fn apply(&self, rows: &mut Rows, event: &Event) -> Result<(), String> {
        let (sign, departments) = match event.name.as_str() {
            "order.placed" => (1, by_department(event)?.into_iter().collect()),
            "order.cancelled" => (-1, taken_back(event)?),
            _ => return Ok(()),
        };
        let day = time(event.data.get("placed_at"), "placed_at")?.format("%Y-%m-%d");
        let mut whole = DepartmentSales::default();
        for (department, sold) in departments {
            whole.lines += sold.lines;
            whole.units += sold.units;
            whole.total_minor += sold.total_minor;
            add(rows, format!("{day}/{department}"), sign, sold)?;
        }
        add(rows, format!("{day}/"), sign, whole)
    }
}

fn taken_back(event: &Event) -> Result<Vec<(String, DepartmentSales)>, String> {
    let sums =
        event.data.get("departments").and_then(Value::as_array).ok_or("departments is no list")?;
    let sold = |sum: &Value| {
        let number = |name: &str| integer(sum.get(name), name);
        Ok((
            text(sum.get("department"), "department")?,
            DepartmentSales {
                lines: number("lines")?,
                units: number("units")?,
                total_minor: number("total_minor")?,
            },
        ))
    };
    sums.iter().map(sold).collect()
}

/// A row may come to zero, and stays.
fn add(rows: &mut Rows, key: String, sign: i128, sold: DepartmentSales) -> Result<(), String> {
    let row = rows.get(&key).unwrap_or(Value::Null);
    let sum = |name: &str, more: i128| -> Result<String, String> {
        let before = row.get(name).and_then(Value::as_str).unwrap_or("0");
        let before: i128 = before.parse().map_err(|_| format!("{name} is no sum"))?;
        Ok((before + sign * more).to_string())
    };
    let after = json!({
        "orders": sum("orders", 1)?,
        "lines": sum("lines", sold.lines)?,
        "units": sum("units", sold.units)?,
        "total_minor": sum("total_minor", sold.total_minor)?,
    });
    rows.put(key, &after);
    Ok(())
}
