//! What `/readyz` says of the database. Who is without it for a while stays ready, and says `degraded`: all instances lose it together,
//! and a balancer that takes them out keeps clients from the answers that need no database. Decides nothing about those answers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use service::health::{Health, Required};
use sqlx::PgPool;
use tokio::time::Instant;

use crate::{circuit::Circuit, database};

/// Less than a check may take.
const ASKED_WITHIN: Duration = Duration::from_secs(1);

struct Watched {
    pool: PgPool,
    circuit: Circuit,
    /// When the database answered last.
    answered: Mutex<Instant>,
    /// For so long after that there are answers without it.
    stale_for: Duration,
}

/// Two checks: `query.database`, whether it answers now, and `query.answers`, whether there is anything to answer with. The database
/// has answered a moment ago.
pub fn register(health: &Health, pool: &PgPool, circuit: &Circuit, stale_for: Duration) {
    let answered = Mutex::new(Instant::now());
    let watched = Arc::new(Watched { pool: pool.clone(), circuit: circuit.clone(), answered, stale_for });
    let shared = watched.clone();
    health.register("query.database", Required::Degraded, Arc::new(move || boxed(shared.clone(), Watched::database)));
    health.register("query.answers", Required::Ready, Arc::new(move || boxed(watched.clone(), Watched::answers)));
}

fn boxed<F>(watched: Arc<Watched>, check: impl FnOnce(Arc<Watched>) -> F) -> BoxFuture<'static, Result<(), String>>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    Box::pin(check(watched))
}

impl Watched {
    async fn database(self: Arc<Self>) -> Result<(), String> {
        if self.circuit.is_away() {
            return Err("the database is away".to_owned());
        }
        let asked = tokio::time::timeout(ASKED_WITHIN, database::reachable(&self.pool)).await;
        match asked.unwrap_or_else(|_| Err(format!("the database did not answer within {} ms", ASKED_WITHIN.as_millis()))) {
            Ok(()) => {
                *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                Ok(())
            }
            Err(why) => {
                self.circuit.doubt();
                Err(why)
            }
        }
    }

    async fn answers(self: Arc<Self>) -> Result<(), String> {
        let Err(why) = self.clone().database().await else { return Ok(()) };
        let ago = self.answered.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if ago < self.stale_for {
            return Ok(());
        }
        Err(format!("{why}; it answered last {} s ago, and what was read then is shown no more", ago.as_secs()))
    }
}
