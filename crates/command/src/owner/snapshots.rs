//! States and outcomes as the projection `snapshots` has them. Read only; one statement a load
//! (`highwater_tables::snapshots::load`), so that checkpoint and rows agree.

mod dedup_filter;

use std::{collections::BTreeMap, future::Future};

use highwater_protocol::{
    domain::Durable,
    position::Position,
    wire::Wire,
    writer::{RecordedOutcome, Snapshot},
};
use highwater_tables::{
    ReadError,
    checkpoints::{self, SNAPSHOTS},
    dedup_filter::DedupFilter,
    postgres::Connections,
    snapshots::{self, OwnerLoad, OwnerState},
};
use uuid::Uuid;

/// What one load found.
#[derive(Debug)]
pub struct Loaded<S> {
    pub checkpoint: u64,
    pub aggregates: Vec<(Uuid, Snapshot<S>)>,
    pub outcomes: Vec<(Uuid, RecordedOutcome<Wire>)>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("snapshots cannot be read")]
    Database(#[from] sqlx::Error),
    #[error("snapshots: {0}")]
    Malformed(String),
    #[error("snapshots fell back from offset {from} to {checkpoint}")]
    FellBack { from: u64, checkpoint: u64 },
}

impl From<ReadError> for Error {
    fn from(unread: ReadError) -> Self {
        match unread {
            ReadError::Database(error) => Self::Database(error),
            ReadError::Malformed(error) => Self::Malformed(error.to_string()),
        }
    }
}

/// Where an owner resumes a partition, and what lies below.
pub trait Snapshots<S>: Send + Sync + 'static {
    /// Where `snapshots` stands on the partition; the beginning, if it has not begun.
    fn position(
        &self,
        partition: u32,
    ) -> impl Future<Output = Result<Position<Wire>, Error>> + Send;
    /// Which ids were seen below the position of `snapshots`, which must be at least `from`.
    fn dedup_filter(
        &self,
        partition: u32,
        from: u64,
        limit_bytes: usize,
    ) -> impl Future<Output = Result<DedupFilter, Error>> + Send;
    fn load(
        &self,
        partition: u32,
        aggregates: Vec<Uuid>,
        commands: Vec<Uuid>,
    ) -> impl Future<Output = Result<Loaded<S>, Error>> + Send;
}

/// The tables that projectors write, of one category.
#[derive(Clone)]
pub struct PostgresSnapshots {
    pool: Connections,
    category: &'static str,
}

impl PostgresSnapshots {
    pub fn new(pool: Connections, category: &'static str) -> Self {
        Self { pool, category }
    }
}

impl<D: Durable> Snapshots<D::State> for TypedSnapshots<D> {
    async fn position(&self, partition: u32) -> Result<Position<Wire>, Error> {
        position(&self.tables, partition).await
    }

    async fn dedup_filter(
        &self,
        partition: u32,
        from: u64,
        limit_bytes: usize,
    ) -> Result<DedupFilter, Error> {
        dedup_filter::load(&self.tables, partition, from, limit_bytes).await
    }

    async fn load(
        &self,
        partition: u32,
        aggregates: Vec<Uuid>,
        commands: Vec<Uuid>,
    ) -> Result<Loaded<D::State>, Error> {
        let PostgresSnapshots { pool, category } = &self.tables;
        let OwnerLoad { checkpoint, states, outcomes } = snapshots::load(
            &mut *pool.acquire().await?,
            category,
            partition,
            &aggregates,
            &commands,
        )
        .await?;
        let aggregates = states.into_iter().map(|state| self.snapshot(state)).collect();
        Ok(Loaded { checkpoint, aggregates, outcomes })
    }
}

/// The tables, with the domain that reads their states.
#[derive(Clone)]
pub struct TypedSnapshots<D> {
    tables: PostgresSnapshots,
    domain: D,
}

impl<D: Durable> TypedSnapshots<D> {
    pub fn new(tables: PostgresSnapshots, domain: D) -> Self {
        Self { tables, domain }
    }

    /// A state of another format, or one that cannot be deserialized, is unreadable until
    /// `snapshots` has folded it again.
    fn snapshot(&self, stored: OwnerState) -> (Uuid, Snapshot<D::State>) {
        let OwnerState { id, version, format, state } = stored;
        let state = state.filter(|_| format == D::FORMAT);
        let deserialized = state.map(|serialized| self.domain.deserialize(&serialized));
        match deserialized {
            Some(Ok(state)) => (id, Snapshot::State { version, state }),
            other => {
                let why = other.and_then(Result::err).map_or_else(
                    || "of another format, or unreadable".to_owned(),
                    |error| error.to_string(),
                );
                tracing::warn!(aggregate = %id, version, why, "a snapshot cannot be read");
                (id, Snapshot::Unreadable { version })
            }
        }
    }
}

async fn position(tables: &PostgresSnapshots, partition: u32) -> Result<Position<Wire>, Error> {
    let mut connection = tables.pool.acquire().await?;
    Ok(checkpoints::position(&mut connection, SNAPSHOTS, tables.category, partition).await?)
}

/// Where `snapshots` stands on each partition of a category.
pub async fn checkpoints(tables: &PostgresSnapshots) -> Result<BTreeMap<u32, u64>, Error> {
    let mut connection = tables.pool.acquire().await?;
    let offsets = checkpoints::offsets(&mut connection, SNAPSHOTS, tables.category).await?;
    Ok(offsets.into_iter().collect())
}
