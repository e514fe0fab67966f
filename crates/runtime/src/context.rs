//! Owns nothing itself: bundles what every part of a process is handed. Must never grow into a
//! place for business state.

use std::sync::Arc;

use crate::clock::{Clock, CountingIds, Ids, ManualClock, SystemClock, SystemIds};
use crate::config::Config;
use crate::health::Health;
use crate::shutdown::Shutdown;
use crate::telemetry::Telemetry;

#[derive(Clone)]
pub struct Context {
    pub config: Config,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    pub health: Health,
    pub shutdown: Shutdown,
}

impl Context {
    /// For a real process. Needs a Tokio runtime: the metrics' upkeep runs in `shutdown.tasks`.
    pub fn new(config: Config, telemetry: &Telemetry, shutdown: Shutdown) -> Self {
        telemetry.upkeep(&shutdown);
        Self {
            config,
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            health: Health::new(&shutdown, Some(telemetry.metrics.clone())),
            shutdown,
        }
    }

    /// Deterministic: empty configuration, a clock at the epoch that stands still, ids that count.
    pub fn for_tests() -> Self {
        let shutdown = Shutdown::new();
        Self {
            config: Config::default(),
            clock: Arc::new(ManualClock::at(0)),
            ids: Arc::new(CountingIds::default()),
            health: Health::new(&shutdown, None),
            shutdown,
        }
    }
}
