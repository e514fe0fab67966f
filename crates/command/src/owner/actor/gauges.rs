//! The figures of one partition, as metrics. Looked up once: they are set at every tick.

use metrics::{Gauge, gauge};

use crate::owner::status::Figures;

pub struct Gauges {
    in_flight: Gauge,
    queue_open: Gauge,
    filter_bytes: Gauge,
    unanswered: Gauge,
}

impl Gauges {
    pub fn new(category: &'static str, partition: u32) -> Self {
        let labels = [("category", category.to_owned()), ("partition", partition.to_string())];
        Self {
            in_flight: gauge!("highwater_owner_in_flight_records", &labels),
            queue_open: gauge!("highwater_queue_open_commands", &labels),
            filter_bytes: gauge!("highwater_owner_filter_bytes", &labels),
            unanswered: gauge!("highwater_owner_unanswered_commands", &labels),
        }
    }

    pub fn set(&self, figures: &Figures) {
        self.in_flight.set(count(figures.in_flight));
        self.queue_open.set(count(figures.queue.open));
        self.filter_bytes.set(count(figures.filter_bytes));
        self.unanswered.set(count(figures.unanswered));
    }
}

/// Gauges are floating point: exact up to 2^53.
fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}
