//! What one delivery of the log brought.

use highwater_protocol::{position::Position, wire::Wire};

use super::batch::Item;
#[derive(Debug)]
pub struct Arrival {
    pub items: Vec<Item>,
    /// Records that the fold skips.
    pub voids: u64,
    /// Where reading can be resumed after the items.
    pub position: Position<Wire>,
    /// At this moment the log had no more.
    pub caught_up: bool,
    /// The reader had a problem and goes on trying.
    pub trouble: Option<String>,
}
