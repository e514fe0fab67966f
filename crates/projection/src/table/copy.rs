//! Rows in the text form of COPY.

use std::fmt::Write;

use chrono::SecondsFormat;
use highwater_rows::{Cell, Row as _};
use highwater_tables::rows::time;

use super::{Folding, StoredRow, all};
use crate::runner::{Failure, PostgresTx};

/// About so many bytes go in one message.
const MESSAGE_BYTES: usize = 64 << 10;

/// Rows that are not there yet, as one COPY.
pub(super) async fn rows<F: Folding>(
    tx: &mut PostgresTx,
    rows: &[StoredRow<F>],
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    // Before the COPY begins: one that ends early takes its connection with it.
    let mut messages = vec![String::new()];
    for row in rows {
        let text = line(row)?;
        match messages.last_mut() {
            Some(last) if last.len() < MESSAGE_BYTES => last.push_str(&text),
            _ => messages.push(text),
        }
    }
    let statement = format!(
        "COPY \"{}\" ({}) FROM STDIN",
        <F::Row as highwater_rows::Row>::TABLE,
        all::<F::Row>()
    );
    let mut copy = tx.copy_in_raw(&statement).await?;
    for message in messages {
        copy.send(message.into_bytes()).await?;
    }
    copy.finish().await?;
    Ok(())
}

fn line<F: Folding>(row: &StoredRow<F>) -> Result<String, Failure> {
    let StoredRow { id, partition, version, row } = row;
    let mut line = format!("{id}\t{partition}\t{version}");
    for (column, cell) in <F::Row as highwater_rows::Row>::COLUMNS.iter().zip(row.cells()) {
        line.push('\t');
        let unfit = || {
            let (name, kind) = (column.name, column.kind.sql());
            Failure::Deterministic(format!("column {name}: what it is to hold is no {kind}"))
        };
        match cell {
            Cell::Null => line.push_str("\\N"),
            Cell::Bool(value) => line.push(if value { 't' } else { 'f' }),
            Cell::Integer(value) => write!(line, "{value}").map_err(|_| unfit())?,
            Cell::Text(value) => escape(&mut line, &value),
            Cell::Uuid(value) => write!(line, "{value}").map_err(|_| unfit())?,
            Cell::Time(value) => {
                let time = time(value).ok_or_else(unfit)?;
                line.push_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true));
            }
            Cell::Json(value) => escape(&mut line, &value.to_string()),
        }
    }
    line.push('\n');
    Ok(line)
}

fn escape(line: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => line.push_str("\\\\"),
            '\t' => line.push_str("\\t"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            other => line.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_field_or_a_row_is_escaped() {
        let mut line = String::new();
        escape(&mut line, "a\tb\\N\r\nä");
        assert_eq!(line, "a\\tb\\\\N\\r\\nä");
    }
}
