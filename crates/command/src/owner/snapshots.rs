//! States and outcomes as the projection `snapshots` has them. Read only; one statement a load, so
//! that checkpoint and rows agree.

mod dedup_filter;

use std::{collections::BTreeMap, future::Future};

use highwater_protocol::{
    domain::Durable,
    position::Position,
    wire::{Fingerprint, Reason, Wire},
    writer::{Outcome, RecordedOutcome, Snapshot},
};
use highwater_tables::{
    checkpoints::{self, ReadError, SNAPSHOTS},
    dedup_filter::DedupFilter,
    postgres::Connections,
};
use serde_json::Value;
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

/// One row of the load: a checkpoint, a state, or an outcome.
struct Row {
    kind: i32,
    id: Option<Uuid>,
    aggregate: Option<Uuid>,
    version: Option<i64>,
    at: Option<i64>,
    format: Option<i16>,
    state: Option<Vec<u8>>,
    fingerprint_key: Option<i32>,
    fingerprint: Option<Vec<u8>>,
    verdict: Option<String>,
    events: Option<Value>,
    reason: Option<Value>,
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
        let mut loaded = Loaded { checkpoint: 0, aggregates: Vec::new(), outcomes: Vec::new() };
        for row in rows(&self.tables, partition, &aggregates, &commands).await? {
            match row.kind {
                0 => loaded.checkpoint = unsigned(row.at)?,
                1 => loaded.aggregates.push(self.snapshot(row)?),
                _ => loaded.outcomes.push(recorded(row)?),
            }
        }
        Ok(loaded)
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
    fn snapshot(&self, row: Row) -> Result<(Uuid, Snapshot<D::State>), Error> {
        let id = present(row.id)?;
        let version = unsigned(row.version)?;
        let state = row.state.filter(|_| row.format == Some(D::FORMAT));
        let deserialized = state.map(|serialized| self.domain.deserialize(&serialized));
        Ok(match deserialized {
            Some(Ok(state)) => (id, Snapshot::State { version, state }),
            other => {
                let why = other.and_then(Result::err).map_or_else(
                    || "of another format, or unreadable".to_owned(),
                    |error| error.to_string(),
                );
                tracing::warn!(aggregate = %id, version, why, "a snapshot cannot be read");
                (id, Snapshot::Unreadable { version })
            }
        })
    }
}

async fn rows(
    tables: &PostgresSnapshots,
    partition: u32,
    aggregates: &[Uuid],
    commands: &[Uuid],
) -> Result<Vec<Row>, Error> {
    let rows = sqlx::query_as!(
        Row,
        "
        SELECT 0 AS \"kind!\", NULL::uuid AS id, NULL::uuid AS aggregate, NULL::bigint AS version, \
               next_offset AS at, NULL::smallint AS format,
               NULL::bytea AS state, NULL::integer AS fingerprint_key, \
               NULL::bytea AS fingerprint, NULL::text AS verdict,
               NULL::jsonb AS events, NULL::jsonb AS reason
          FROM checkpoints \
         WHERE projection = 'snapshots' AND generation = 1 AND category = $1 AND partition = $2
        UNION ALL
        SELECT 1, aggregate_id, NULL, version, NULL, format, state, NULL, NULL, NULL, NULL, NULL
          FROM snapshots WHERE category = $1 AND aggregate_id = ANY($3)
        UNION ALL
        SELECT 2, command_id, aggregate_id, version, next_offset, NULL, NULL, fingerprint_key, \
               fingerprint, verdict, events, reason
          FROM outcomes WHERE command_id = ANY($4) AND category = $1
        ",
        tables.category,
        i32::try_from(partition).unwrap_or(i32::MAX),
        aggregates,
        commands,
    );
    Ok(rows.fetch_all(&mut *tables.pool.acquire().await?).await?)
}

async fn position(tables: &PostgresSnapshots, partition: u32) -> Result<Position<Wire>, Error> {
    let mut connection = tables.pool.acquire().await?;
    Ok(checkpoints::position(&mut connection, SNAPSHOTS, tables.category, partition).await?)
}

fn recorded(row: Row) -> Result<(Uuid, RecordedOutcome<Wire>), Error> {
    let (version, end) = (unsigned(row.version)?, unsigned(row.at)?);
    let hmac = present(row.fingerprint)?
        .try_into()
        .map_err(|_| Error::Malformed("a fingerprint is not 32 bytes".to_owned()))?;
    let key_number = u16::try_from(present(row.fingerprint_key)?)
        .map_err(|_| Error::Malformed("a key number above 65535".to_owned()))?;
    let reason = || {
        serde_json::to_vec(&row.reason)
            .map(Reason)
            .map_err(|error| Error::Malformed(error.to_string()))
    };
    let outcome = match row.verdict.as_deref() {
        Some("accepted") => Outcome::Accepted { version, end, events: summaries(row.events)? },
        Some("unchanged") => Outcome::Unchanged { version, end, reason: reason()? },
        Some("rejected") => Outcome::Rejected { version, end, reason: reason()? },
        other => {
            return Err(Error::Malformed(format!(
                "unknown verdict {other:?}: upgrade this release"
            )));
        }
    };
    let recorded = RecordedOutcome {
        aggregate: present(row.aggregate)?,
        fingerprint: Fingerprint { key_number, hmac },
        outcome,
    };
    Ok((present(row.id)?, recorded))
}

fn summaries(events: Option<Value>) -> Result<Vec<(std::borrow::Cow<'static, str>, u64)>, Error> {
    #[derive(serde::Deserialize)]
    struct Summary {
        r#type: String,
        version: u64,
    }
    let events: Vec<Summary> = serde_json::from_value(present(events)?)
        .map_err(|error| Error::Malformed(error.to_string()))?;
    Ok(events.into_iter().map(|event| (event.r#type.into(), event.version)).collect())
}

fn present<T>(value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::Malformed("a column that must be there is NULL".to_owned()))
}

fn unsigned(value: Option<i64>) -> Result<u64, Error> {
    u64::try_from(present(value)?).map_err(|_| Error::Malformed("a negative number".to_owned()))
}

/// Where `snapshots` stands on each partition of a category.
pub async fn checkpoints(tables: &PostgresSnapshots) -> Result<BTreeMap<u32, u64>, Error> {
    let mut connection = tables.pool.acquire().await?;
    let offsets = checkpoints::offsets(&mut connection, SNAPSHOTS, tables.category).await?;
    Ok(offsets.into_iter().collect())
}
