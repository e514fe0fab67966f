//! Starts a private server again when it dies under its owner, on the same port, so that addresses given out stay right.
//! Never stops one.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Error, Stopped, blocking, cluster::Cluster};

/// A look is one small file read. Postgres itself restarts what dies below its postmaster.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub struct Keeper {
    cluster: Cluster,
    port: u16,
    stopped: Arc<Stopped>,
}

impl Keeper {
    pub(super) fn of(cluster: Cluster, port: u16, stopped: Arc<Stopped>) -> Self {
        Self { cluster, port, stopped }
    }

    /// Keeps it running until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = stop.cancelled() => return,
            }
            match self.look().await {
                Ok(false) => {}
                Ok(true) => info!(port = self.port, "the private Postgres had died and was started again"),
                Err(error) => error!(error = &error as &dyn std::error::Error, "the private Postgres died and does not start"),
            }
        }
    }

    /// Whether it had to be started.
    async fn look(&self) -> Result<bool, Error> {
        let (cluster, port, stopped) = (self.cluster.clone(), self.port, Arc::clone(&self.stopped));
        blocking(move || {
            let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
            if *stopped || cluster.running_port()?.is_some() {
                return Ok(false);
            }
            cluster.start(Some(port)).map(|_| true)
        })
        .await
    }
}
