//! Starts a private server again when it dies under its owner, on the same port, so that addresses
//! given out stay right. Never stops one.

use std::{sync::Arc, time::Duration};

use highwater_runtime::{
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
        let (mut down, mut failed, mut not_before) =
            (Once::new("private-postgres"), 0_u32, Instant::now());
        let mut unseen = Once::new("private-postgres-unseen");
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = stop.cancelled() => return,
            }
            if Instant::now() < not_before {
                continue;
            }
            let looked = self.look().await;
            if !matches!(looked, Err(Failure::Unseen(_))) {
                unseen.over("it can be seen again whether the private Postgres runs");
            }
            match looked {
                Ok(started) => {
                    failed = 0;
                    down.over("the private Postgres runs again");
                    if started {
                        info!(
                            port = self.port,
                            "the private Postgres had died and was started again"
                        );
                    }
                }
                Err(Failure::Unseen(error)) => {
                    unseen.warn("cannot look whether the private Postgres runs", &chain(&error))
                }
                Err(Failure::Dead(error)) => {
                    failed = failed.saturating_add(1);
                    not_before = Instant::now() + STARTS.after(failed);
                    down.warn("the private Postgres died and does not start", &chain(&error));
                }
            }
        }
    }

    /// Whether it had to be started.
    async fn look(&self) -> Result<bool, Failure> {
        let (cluster, port, stopped) = (self.cluster.clone(), self.port, Arc::clone(&self.stopped));
        let looking = blocking(move || {
            let stopped = stopped.lock();
            if *stopped {
                return Ok(Ok(false));
            }
            Ok(match cluster.running_port() {
                Ok(Some(_)) => Ok(false),
                Ok(None) => cluster.start(Some(port)).map(|_| true).map_err(Failure::Dead),
                Err(error) => Err(Failure::Unseen(error)),
            })
        });
        looking.await.unwrap_or_else(|error| Err(Failure::Unseen(error)))
    }
}

enum Failure {
    /// Out of descriptors, for example: it may well run.
    Unseen(Error),
    Dead(Error),
}
