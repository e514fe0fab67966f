//! The [`Store`] on Postgres: checkpoints compared and swapped in the transaction of the rows.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::BoxFuture;
use highwater_protocol::{position::Position, wire::Wire};
use highwater_tables::{
    changes,
    checkpoints::{self, Moves},
    parked,
    postgres::Connections,
    runs::{self, Attempt, Run},
};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::{
    batch::TopicPartition,
    failure::Failure,
    projection::{Key, Move, Store},
};

/// Rows and checkpoint fall back together, and the log has everything: waiting for the disk buys
/// nothing. In one message, as every other statement of a transaction is one more way to and fro.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off";

/// What projections of this store write in.
pub type PostgresTx = Transaction<'static, Postgres>;

#[derive(Clone, Debug)]
pub struct PostgresStore {
    pool: Connections,
    /// A connection was found that cannot write.
    distrusted: Arc<AtomicBool>,
}

impl PostgresStore {
    pub fn new(pool: impl Into<Connections>) -> Self {
        Self { pool: pool.into(), distrusted: Arc::default() }
    }
}

impl Store for PostgresStore {
    type Tx = PostgresTx;

    fn begin(&self) -> BoxFuture<'_, Result<Self::Tx, Failure>> {
        Box::pin(async {
            if self.distrusted.swap(false, Ordering::AcqRel) {
                self.pool.renew().await;
            }
            // Whatever keeps it from beginning has nothing to do with what is to be written.
            self.pool
                .begin_with(BEGIN)
                .await
                .map_err(|error| Failure::Unreachable(error.to_string()))
        })
    }

    fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
    }

    fn load<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>> {
        Box::pin(async move { load(tx, &columns(keys)?).await })
    }

    fn lock<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>> {
        Box::pin(async move {
            let keys = columns(keys)?;
            checkpoints::lock(tx, &keys).await?;
            load(tx, &keys).await
        })
    }

    fn reset<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        key: &'a Key,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            parked::clear(tx, key.columns()?).await?;
            Ok(checkpoints::reset(tx, key.columns()?).await?)
        })
    }

    fn parked<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<parked::Count>, Failure>> {
        Box::pin(async move {
            let of = columns(keys)?;
            Ok(parked::counts(tx, &of).await?)
        })
    }

    fn parked_among<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        key: &'a Key,
        aggregates: &'a [Uuid],
    ) -> BoxFuture<'a, Result<BTreeMap<Uuid, bool>, Failure>> {
        Box::pin(async move {
            Ok(parked::among(tx, key.columns()?, aggregates).await?.into_iter().collect())
        })
    }

    fn park<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        key: &'a Key,
        commit: &'a parked::Commit,
        cause: &'a parked::Cause,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move { Ok(parked::park(tx, key.columns()?, commit, cause).await?) })
    }

    fn wait<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        key: &'a Key,
        commits: &'a [parked::Commit],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move { Ok(parked::wait(tx, key.columns()?, commits).await?) })
    }

    fn runs<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Run>>, Failure>> {
        Box::pin(async move { Ok(runs::find(tx, &columns(keys)?).await?) })
    }

    fn begin_runs<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        runner: Uuid,
        begun: &'a [(Key, Option<Attempt>)],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let begun = begun.iter().map(|(key, attempt)| Ok((key.columns()?, attempt.clone())));
            let begun = begun.collect::<Result<Vec<_>, Failure>>()?;
            Ok(runs::begin(tx, runner, &begun).await?)
        })
    }

    fn note<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        runner: Uuid,
        key: &'a Key,
        offsets: &'a Range<u64>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move { Ok(runs::attempt(tx, runner, key.columns()?, offsets).await?) })
    }

    fn live_on<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        runner: Uuid,
        key: &'a Key,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move { Ok(runs::live_on(tx, runner, key.columns()?).await?) })
    }

    fn end_runs<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        runner: Uuid,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move { Ok(runs::end(tx, runner, &columns(keys)?).await?) })
    }

    fn advance<'a>(
        &'a self,
        tx: &'a mut Self::Tx,
        moves: &'a [Move],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(advance(tx, moves))
    }

    fn commit<'a>(
        &'a self,
        mut tx: Self::Tx,
        changed: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            changes::notify(&mut tx, changed).await?;
            Ok(tx.commit().await?)
        })
    }
}

/// Waits for no other transaction, unless a checkpoint is made.
async fn load(
    tx: &mut PostgresTx,
    keys: &[checkpoints::Key<'_>],
) -> Result<Vec<Position<Wire>>, Failure> {
    let mut found = checkpoints::find(tx, keys).await?;
    if found.iter().any(Option::is_none) {
        checkpoints::make(tx, keys).await?;
        found = checkpoints::find(tx, keys).await?;
    }
    let vanished = || Failure::Transient("a checkpoint vanished".to_owned());
    found.into_iter().map(|position| position.ok_or_else(vanished)).collect()
}

async fn advance(tx: &mut PostgresTx, moves: &[Move]) -> Result<(), Failure> {
    let mut columns = Moves::default();
    for step in moves {
        columns.push(step.key.columns()?, &step.from, &step.to)?;
    }
    let moved = checkpoints::advance(tx, &columns).await?;
    if moved == moves.len() as u64 { Ok(()) } else { Err(Failure::Conflict) }
}

fn columns(keys: &[Key]) -> Result<Vec<checkpoints::Key<'_>>, Failure> {
    keys.iter().map(Key::columns).collect()
}

impl Key {
    fn columns(&self) -> Result<checkpoints::Key<'_>, Failure> {
        let TopicPartition { category, partition, .. } = &self.topic_partition;
        Ok(checkpoints::Key::new(self.projection, category, *partition)?)
    }
}
