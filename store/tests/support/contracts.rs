//! Stored events, read as their categories read them.

use highwater::protocol::{domain::Unreadable, wire::RecordedEvent};

/// An event of this version, as it lies in the log.
pub fn stored(stem: &str, data: Vec<u8>) -> RecordedEvent {
    let event_type = stem.rsplit_once(".v").map_or(stem, |(event_type, _)| event_type);
    RecordedEvent { event_type: event_type.to_owned().into(), schema: stem.to_owned().into(), data }
}

/// Decodes and encodes again, as the category's readers and writer do. What no category knows is
/// read as a product's.
pub fn rewritten(stored: &RecordedEvent) -> Result<RecordedEvent, Unreadable> {
    let name = stored.event_type.split('.').next();
    let [order, product, stock] = store::categories();
    let category = match name {
        Some("order") => order,
        Some("stock") => stock,
        _ => product,
    };
    category.rewrite(stored)
}
