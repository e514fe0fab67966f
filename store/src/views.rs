//! The store's views: one file each, with its statement and its shape. A statement that is put
//! together holds no value: they are bound.

pub(crate) mod orders;
pub(crate) mod products;
pub(crate) mod sales;
pub(crate) mod stocks;

#[cfg(test)]
mod plans;

use chrono::{DateTime, Utc};
use highwater::protocol::time::Micros;
use serde::Serializer;

/// The one form of a time in an answer.
fn as_text<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&Micros(time.timestamp_micros()).to_text())
}
