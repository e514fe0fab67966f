//! Starts a private server again when it dies under its owner, on the same port, so that addresses given out stay right.
//! Never stops one.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use service::{
    process::chain,
    resilience::{Backoff, Once},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Error, Stopped, blocking, cluster::Cluster};

/// A look is one small file read. Postgres itself restarts what dies below its postmaster.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Starting one that does not start costs more than a look.
const STARTS: Backoff = Backoff { first: LOOK_EVERY, longest: Duration::from_secs(30) };

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
        let (mut down, mut failed, mut not_before) = (Once::new("private-postgres"), 0_u32, Instant::now());
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = stop.cancelled() => return,
            }
            if Instant::now() < not_before {
                continue;
            }
            match self.look().await {
                Ok(started) => {
                    failed = 0;
                    down.over("the private Postgres runs again");
                    if started {
                        info!(port = self.port, "the private Postgres had died and was started again");
                    }
                }
                Err(error) => {
                    failed = failed.saturating_add(1);
                    not_before = Instant::now() + STARTS.after(failed);
                    down.warn("the private Postgres died and does not start", &chain(&error));
                }
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
