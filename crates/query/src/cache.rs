//! Single resources in memory: read once for all requests that ask at the same time, and dropped
//! when a projector commits a change.
//!
//! An entry carries the checkpoint that was read with it in one statement. A notification raises a
//! watermark for what changed; an entry below its watermark is not shown, whenever it was put in,
//! so that a slow load cannot bring back what a commit has replaced. While nothing is heard from
//! the projectors, nothing is kept as current. What was read last is remembered apart, for
//! requests that ask while the database is away. Must never show as current what it cannot place
//! above the watermarks.

mod listener;
mod watermarks;

use std::{sync::Arc, time::Duration};

use axum::{body::Bytes, http::HeaderValue};
use highwater_runtime::shutdown::Shutdown;
use highwater_tables::postgres::Connections;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{circuit::CircuitBreaker, settings::CacheSettings};
use watermarks::Watermarks;

/// What an entry weighs beside its body.
const OVERHEAD_BYTES: usize = 256;

/// Which resource: projection and category as the view has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub projection: &'static str,
    pub category: &'static str,
    pub partition: u32,
    pub id: Uuid,
}

/// A resource as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedResource {
    /// The number of the tables that it was read from.
    pub generation: u32,
    /// Everything below this offset of its partition is included.
    pub offset: u64,
    /// The row lacks events of the aggregate, because one could not be applied.
    pub parked: bool,
    /// Version and JSON; `None`: it does not exist.
    pub row: Option<(i64, Bytes)>,
}

/// Where an answer came from: RFC 9211.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Hit,
    /// It was not here.
    Miss,
    /// What was here is replaced.
    Stale,
    /// The request asks for what is newer.
    Request,
    /// Nothing is kept for now.
    Bypass,
    /// The database is away, and this is what was read last.
    DatabaseDown,
}

/// Clones share it.
#[derive(Clone)]
pub struct Cache(Arc<Shared>);

struct Shared {
    entries: moka::future::Cache<Key, Entry>,
    /// What was read last, however old, and when.
    last: moka::future::Cache<Key, (CachedResource, Instant)>,
    watermarks: Mutex<Watermarks>,
}

#[derive(Clone)]
struct Entry {
    /// When it was read, in the count of [`Watermarks`].
    since: u64,
    kept: CachedResource,
}

impl Cache {
    /// For these views alone (projection, category). Nothing is kept before something is heard.
    pub fn new(settings: &CacheSettings, views: &[(&'static str, &'static str)]) -> Self {
        let entries = moka::future::Cache::builder()
            .weigher(|_: &Key, entry: &Entry| entry.kept.weight())
            .max_capacity(settings.bytes)
            .time_to_live(Duration::from_millis(settings.keep_ms))
            .build();
        let last = moka::future::Cache::builder()
            .weigher(|_: &Key, (kept, _): &(CachedResource, Instant)| kept.weight())
            .max_capacity(if settings.stale_ms == 0 { 0 } else { settings.stale_bytes })
            .time_to_live(Duration::from_millis(settings.stale_ms))
            .build();
        Self(Arc::new(Shared {
            entries,
            last,
            watermarks: Mutex::new(Watermarks::new(views, settings.watermarks)),
        }))
    }

    /// Begins to hear of changes, on a connection of its own; ends with `shutdown`.
    pub fn listen(&self, pool: &Connections, circuit: &CircuitBreaker, shutdown: &Shutdown) {
        shutdown.tasks.spawn(listener::listen(
            self.clone(),
            pool.clone(),
            circuit.clone(),
            shutdown.soft.clone(),
        ));
    }

    /// From here, or by `load`, which runs once for all requests that wait for it.
    pub async fn get<E, F>(
        &self,
        key: Key,
        load: impl Fn() -> F,
    ) -> Result<(CachedResource, Status), Arc<E>>
    where
        E: Send + Sync + 'static,
        F: Future<Output = Result<CachedResource, E>> + Send,
    {
        let load = || self.remembered(key, load());
        let Some(now) = self.watermarks().now() else {
            return Ok((load().await?, Status::Bypass));
        };
        let mut status = Status::Miss;
        if let Some(entry) = self.0.entries.get(&key).await {
            if self.is_current(&key, &entry) {
                return Ok((entry.kept, Status::Hit));
            }
            self.0.entries.invalidate(&key).await;
            status = Status::Stale;
        }
        let loading = async { Ok(Entry { since: now, kept: load().await? }) };
        let entry = self.0.entries.try_get_with(key, loading).await?;
        if self.is_current(&key, &entry) {
            return Ok((entry.kept, status));
        }
        // Another request's load, which began before the change.
        Ok((load().await?, Status::Stale))
    }

    /// By `load`, whatever is here; what it finds takes the place of that.
    pub async fn renew<E, F>(&self, key: Key, load: F) -> Result<(CachedResource, Status), E>
    where
        F: Future<Output = Result<CachedResource, E>>,
    {
        let now = self.watermarks().now();
        let kept = self.remembered(key, load).await?;
        if let Some(since) = now {
            self.0.entries.insert(key, Entry { since, kept: kept.clone() }).await;
        }
        Ok((kept, Status::Request))
    }

    /// What was read last, and how long ago: for as long as the database is away. A resource that
    /// did not exist may exist by now.
    pub async fn last(&self, key: &Key) -> Option<(CachedResource, Duration)> {
        let (kept, read_at) = self.0.last.get(key).await?;
        Some((kept, read_at.elapsed()))
    }

    async fn remembered<E>(
        &self,
        key: Key,
        load: impl Future<Output = Result<CachedResource, E>>,
    ) -> Result<CachedResource, E> {
        // Its age counts from when the question was asked.
        let asked_at = Instant::now();
        let kept = load.await?;
        match kept.row {
            Some(_) => self.0.last.insert(key, (kept.clone(), asked_at)).await,
            None => self.0.last.invalidate(&key).await,
        }
        Ok(kept)
    }

    fn is_current(&self, key: &Key, entry: &Entry) -> bool {
        self.watermarks().allow(key, entry.since, entry.kept.offset)
    }

    /// From now on every change is heard of.
    fn hears(&self) {
        self.watermarks().begin();
    }

    /// Changes may be missed: nothing of what is here is shown again.
    fn lost(&self) {
        self.watermarks().end();
        self.0.entries.invalidate_all();
    }

    /// A notification of a projector.
    fn heard(&self, payload: &str) {
        self.watermarks().raise(payload);
    }

    /// Held for no longer than a look or a notification takes.
    fn watermarks(&self) -> MutexGuard<'_, Watermarks> {
        self.0.watermarks.lock()
    }
}

impl CachedResource {
    fn weight(&self) -> u32 {
        let body = self.row.as_ref().map_or(0, |(_, body)| body.len());
        u32::try_from(body + OVERHEAD_BYTES).unwrap_or(u32::MAX)
    }
}

impl Status {
    pub fn to_header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Status::Hit => "query-api; hit",
            Status::Miss => "query-api; fwd=uri-miss",
            Status::Stale => "query-api; fwd=stale",
            Status::Request => "query-api; fwd=request",
            Status::Bypass => "query-api; fwd=bypass",
            Status::DatabaseDown => "query-api; hit; detail=db-down",
        })
    }
}

#[cfg(test)]
mod tests;
