//! The circuit breaker of the database. It opens when the database does not answer. No request
//! waits for the database then: one task tries it until it answers again. Decides nothing about
//! what is answered meanwhile.

use std::{sync::Arc, time::Duration};

use highwater_runtime::shutdown::Shutdown;
use highwater_tables::postgres::{Connections, is_full};
use sqlx::Connection;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

/// Clones share it.
#[derive(Clone)]
pub struct CircuitBreaker(Arc<Shared>);

struct Shared {
    open: watch::Sender<bool>,
    /// A query has failed: the database may not answer.
    doubt: Notify,
    within: Duration,
}

/// Limits of a [`CircuitBreaker`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a query may take altogether, the wait for a connection included.
    pub within: Duration,
    /// How often a database that is away is tried.
    pub probe_every: Duration,
    /// How long one try may take, and then the opening of the connections.
    pub probe_within: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The circuit breaker is open: the query was not begun, or not waited for.
    #[error("the database is away")]
    Open,
    /// It did not answer, or answered that it cannot now.
    #[error("the database did not answer")]
    Failed(#[source] sqlx::Error),
    #[error("the database refused a query")]
    Query(#[source] sqlx::Error),
}

impl CircuitBreaker {
    /// Begins to watch over the database of `pool`; ends with `shutdown`.
    pub fn watch(pool: &Connections, limits: Limits, shutdown: &Shutdown) -> Self {
        let shared =
            Shared { open: watch::Sender::new(false), doubt: Notify::new(), within: limits.within };
        let circuit = Self(Arc::new(shared));
        let (watched, pool, stop) = (circuit.clone(), pool.clone(), shutdown.soft.clone());
        shutdown.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = watched.probe(&pool, limits) => {}
            }
        });
        circuit
    }

    pub fn is_open(&self) -> bool {
        *self.0.open.borrow()
    }

    /// Has it tried at once: the caller that lost a connection knows first.
    pub fn doubt(&self) {
        self.0.doubt.notify_one();
    }

    /// Runs a query, unless the database is away; one that waits for it when that is found out ends
    /// then.
    pub async fn run<T>(
        &self,
        query: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        if self.is_open() {
            return Err(Error::Open);
        }
        let mut opens = self.0.open.subscribe();
        let answered = tokio::select! {
            biased;
            answered = tokio::time::timeout(self.0.within, query) => {
                answered.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            }
            _ = opens.wait_for(|open| *open) => return Err(Error::Open),
        };
        answered.map_err(|cause| {
            if !is_transient(&cause) {
                return Error::Query(cause);
            }
            self.doubt();
            Error::Failed(cause)
        })
    }

    /// For readiness: whether a query would be answered.
    pub async fn check(&self, pool: &Connections) -> Result<(), String> {
        let asked = async { sqlx::query("SELECT 1").execute(&mut *pool.acquire().await?).await };
        match self.run(asked).await {
            Ok(_) => Ok(()),
            Err(Error::Failed(cause) | Error::Query(cause)) => Err(cause.to_string()),
            Err(open) => Err(open.to_string()),
        }
    }

    async fn probe(&self, pool: &Connections, limits: Limits) {
        loop {
            self.0.doubt.notified().await;
            while !answers(pool, limits.probe_within).await {
                if !self.0.open.send_replace(true) {
                    warn!(
                        "the database is away: answers come from memory where they can, and \
                         nothing waits for it"
                    );
                }
                tokio::time::sleep(limits.probe_every).await;
            }
            if self.is_open() {
                // No request uses them now, and all requests come at once afterwards. Connections
                // that are not there in time are made when they are needed.
                let _ = tokio::time::timeout(limits.probe_within, pool.open()).await;
            }
            if self.0.open.send_replace(false) {
                info!("the database answers again");
            }
        }
    }
}

/// On a connection that is idle at the moment; else on one of its own, as those of the pool may all
/// be busy, or dead. A server that has no room for that one answers those that it has.
async fn answers(pool: &Connections, within: Duration) -> bool {
    let asked = async {
        if pool.idle() > 0
            && let Ok(mut connection) = pool.acquire().await
            && sqlx::query("SELECT 1").execute(&mut *connection).await.is_ok()
        {
            return true;
        }
        match pool.connect().await {
            Ok(mut connection) => {
                sqlx::query("SELECT 1").execute(&mut connection).await.is_ok()
                    && connection.close().await.is_ok()
            }
            Err(full) if is_full(&full) => pool.size() > 0,
            Err(_) => false,
        }
    };
    tokio::time::timeout(within, asked).await.unwrap_or(false)
}

/// Whether the same query may work later.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        // Classes of SQLSTATE: connection, transaction state, who and where, resources, locks,
        // time-outs and shutdown, system.
        sqlx::Error::Database(reported) => reported.code().is_none_or(|code| {
            ["08", "25", "28", "3D", "53", "55", "57", "58"]
                .iter()
                .any(|class| code.starts_with(class))
        }),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}
