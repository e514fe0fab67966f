//! The connections of a process. A pool of sqlx rather opens a connection than wait for one that
//! comes back, and tries so until the caller's time is over, also where the server has no room for
//! it. Here that is found out, and then what is open is used.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use sqlx::{
    Connection, PgConnection, PgPool, Postgres, SqlSafeStr, Transaction,
    pool::PoolConnection,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tracing::{info, warn};

use super::{Session, is_full};

/// A caller that waits so long for a connection has it found out whether the server has room for
/// one.
const SUSPECT_AFTER: Duration = Duration::from_millis(200);
/// How long finding out may take.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// How often a server without room is asked whether it has some, and how soon again when it had.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How soon again where the server refuses the session: that lasts, and is seen by others.
const LOOK_REFUSED: Duration = Duration::from_secs(5);
/// Without room, one waits for a connection to come back and looks so often; the others wait for
/// their turn.
const IDLE_LOOK: Duration = Duration::from_millis(2);
/// So many times as many sessions as there can be are remembered; most of those have ended.
const KEPT: usize = 4;
/// How often it is looked whether one was closed because of its age.
const UPKEEP_EVERY: Duration = Duration::from_secs(30);
/// Connections that listen; a caller that asks and waits for the answer goes first.
const LISTENERS: u32 = 2;

/// Clones share them.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pool: PgPool,
    session: Arc<Session>,
    /// How many there can be: less than wanted while the server has no room for more.
    room: watch::Sender<u32>,
    /// Of those that wait for a connection to come back.
    turn: Mutex<()>,
    /// The last reason why there were no more.
    cause: RwLock<String>,
    looking: AtomicBool,
    /// Those that are closed because of their age are opened again.
    kept_open: AtomicBool,
    /// Older ones are closed instead of used.
    renewed: Arc<RwLock<Option<Instant>>>,
    begun: Arc<RecentSessions>,
}

/// The sessions that were begun last, by the processes that serve them. The pool does not tell
/// those from the ones that it tries to begin, and not when one ends.
#[derive(Debug, Default)]
struct RecentSessions(RwLock<VecDeque<i32>>);

impl RecentSessions {
    fn add(&self, session: i32, at_most: usize) {
        let mut sessions = self.0.write();
        sessions.push_back(session);
        while sessions.len() > at_most {
            sessions.pop_front();
        }
    }

    fn all(&self) -> Vec<i32> {
        self.0.read().iter().copied().collect()
    }
}

impl From<PgPool> for Connections {
    /// As they are, without what a service sets.
    fn from(pool: PgPool) -> Self {
        let session = Session::of((*pool.connect_options()).clone());
        Self::around(pool, Arc::new(session), Arc::default(), Arc::default())
    }
}

impl Connections {
    pub(super) fn lazy(options: PgPoolOptions, session: Arc<Session>) -> Self {
        let (set_up, patience) = (session.clone(), options.get_acquire_timeout());
        let (begun, kept) =
            (Arc::<RecentSessions>::default(), KEPT * options.get_max_connections() as usize);
        let noted = begun.clone();
        let renewed: Arc<RwLock<Option<Instant>>> = Arc::default();
        let since = renewed.clone();
        let options = options
            .after_connect(move |connection, _| {
                let (session, noted) = (set_up.clone(), noted.clone());
                Box::pin(async move {
                    let begun = session.begin(connection).await;
                    if let Err(sqlx::Error::Configuration(_)) = begun {
                        // The pool would try again at once, and log each time: a caller that waits
                        // is told when the time is over.
                        tokio::time::sleep(patience).await;
                    }
                    begun.map(|session| noted.add(session, kept))
                })
            })
            .before_acquire(move |_, seen| {
                let since = *since.read();
                let fresh = since.is_none_or(|since| seen.age < since.elapsed());
                Box::pin(std::future::ready(Ok(fresh)))
            });
        let pool = options.connect_lazy_with(session.options());
        Self::around(pool, session, renewed, begun)
    }

    fn around(
        pool: PgPool,
        session: Arc<Session>,
        renewed: Arc<RwLock<Option<Instant>>>,
        begun: Arc<RecentSessions>,
    ) -> Self {
        let room = watch::Sender::new(pool.options().get_max_connections());
        Self(Arc::new(Shared {
            pool,
            session,
            room,
            turn: Mutex::new(()),
            cause: RwLock::default(),
            looking: AtomicBool::new(false),
            kept_open: AtomicBool::new(false),
            renewed,
            begun,
        }))
    }

    /// One that is open, else a new one, else the next that comes back; within the pool's time.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let patience = self.0.pool.options().get_acquire_timeout();
        let acquired = tokio::time::timeout(patience, async {
            loop {
                if self.0.is_short() {
                    if let Some(connection) = self.one_of_few().await? {
                        return Ok(connection);
                    }
                    continue;
                }
                tokio::select! {
                    biased;
                    acquired = self.0.pool.acquire() => return acquired,
                    () = self.found_short() => {}
                }
            }
        });
        acquired.await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Begins a transaction with `statement`.
    pub async fn begin_with(
        &self,
        statement: impl SqlSafeStr,
    ) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        Transaction::begin(self.acquire().await?, Some(statement.into_sql_str())).await
    }

    /// A connection that listens. Where there are so few that it would be missed, it is waited for.
    pub async fn listener(&self) -> Result<PgListener, sqlx::Error> {
        let mut listener = loop {
            if !self.0.is_short() {
                // Only told: a listener that waits long is no reason to look, as a caller is.
                tokio::select! {
                    biased;
                    listener = PgListener::connect_with(&self.0.pool) => break listener?,
                    () = self.told_short() => continue,
                }
            }
            let turn = self.0.turn.lock().await;
            if self.0.is_short() && self.0.pool.size() > LISTENERS && self.0.pool.num_idle() > 0 {
                // What is idle may be dead, as all are after a restart of the server: then the pool
                // tries to open another, while all that wait for their turn are kept waiting.
                let attempt = PgListener::connect_with(&self.0.pool);
                if let Ok(listener) = tokio::time::timeout(SUSPECT_AFTER, attempt).await {
                    break listener?;
                }
            }
            drop(turn);
            tokio::time::sleep(LOOK_EVERY).await;
        };
        listener.eager_reconnect(false);
        Ok(listener)
    }

    /// Ends when a connection that listens should be given back, because hardly another is left.
    pub async fn scarce(&self) {
        let mut room = self.0.room.subscribe();
        // The sender lives as long as this does.
        let _ = room.wait_for(|room| *room <= LISTENERS && self.0.is_short()).await;
    }

    /// Opens what is missing and replaces what is dead, so that no burst of callers has to make
    /// connections and wait for that longer than for what they ask. A pool that connects lazily
    /// never does so by itself. Ends at the first that cannot be had; what is closed later because
    /// of its age is opened again.
    pub async fn open(&self) {
        if let Err((error, opened)) = self.open_missing().await {
            warn!(%error, all = self.wanted(), opened, "not all connections to the database could be \
                opened");
        }
        if !self.0.kept_open.swap(true, Ordering::SeqCst) {
            tokio::spawn(keep_open(Arc::downgrade(&self.0)));
        }
    }

    /// `Err`: why one could not be had, and how many were before it.
    async fn open_missing(&self) -> Result<(), (sqlx::Error, usize)> {
        let (pool, all) = (&self.0.pool, self.wanted());
        let mut held = Vec::new();
        while !self.0.is_short() && (pool.size() < all || pool.num_idle() > 0) {
            let acquired = tokio::select! {
                acquired = self.0.pool.acquire() => acquired,
                () = self.found_short() => return Ok(()),
            };
            match acquired {
                Ok(connection) => held.push(connection),
                Err(error) => return Err((error, held.len())),
            }
        }
        Ok(())
    }

    /// A connection of its own, outside of the pool; says why where there is none.
    pub async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        self.0.session.connect().await
    }

    /// Why there was none within the pool's time: the pool does not know.
    pub async fn why(&self) -> sqlx::Error {
        self.connect().await.err().unwrap_or(sqlx::Error::PoolTimedOut)
    }

    /// Those that are open now are closed instead of used again: the server behind them is no
    /// longer the right one.
    pub async fn renew(&self) {
        // What is in use comes back later, and is closed when it is wanted next.
        *self.0.renewed.write() = Some(Instant::now());
        for _ in 0..self.wanted() {
            let Some(connection) = self.0.pool.try_acquire() else { return };
            // One that does not close well is gone as well.
            let _ = connection.close().await;
        }
    }

    /// For health: what is wrong where the server has no room for as many as are wanted.
    pub fn complete(&self) -> Result<(), String> {
        if !self.0.is_short() {
            return Ok(());
        }
        let cause = self.0.cause.read();
        Err(format!(
            "the database has no room for more connections: {} of {} are open ({cause})",
            self.size(),
            self.wanted()
        ))
    }

    /// Open connections.
    pub fn size(&self) -> u32 {
        self.0.pool.size()
    }

    /// Those of them that are not in use.
    pub fn idle(&self) -> usize {
        self.0.pool.num_idle()
    }

    fn wanted(&self) -> u32 {
        self.0.pool.options().get_max_connections()
    }

    /// The server has no room for as many as are wanted: the next that comes back. `None`: it has
    /// room again.
    async fn one_of_few(&self) -> Result<Option<PoolConnection<Postgres>>, sqlx::Error> {
        let pool = &self.0.pool;
        let _turn = self.0.turn.lock().await;
        while self.0.is_short() {
            if let Some(mut connection) = pool.try_acquire() {
                // Within a time, because the others wait for their turn meanwhile.
                match tokio::time::timeout(LOOK_WITHIN, connection.ping()).await {
                    Ok(Ok(())) => return Ok(Some(connection)),
                    // Dead, as all are after a restart of the server, or cut off.
                    Ok(Err(_)) | Err(_) => {
                        let _ = tokio::time::timeout(SUSPECT_AFTER, connection.close()).await;
                    }
                }
                continue;
            }
            let room = *self.0.room.borrow();
            if pool.size() < room.max(1) {
                match tokio::time::timeout(SUSPECT_AFTER, pool.acquire()).await {
                    Ok(acquired) => return acquired.map(Some),
                    Err(_) if pool.size() == 0 => return self.the_only_one().await,
                    Err(_) => self.0.room.send_replace(pool.size()),
                };
            }
            tokio::time::sleep(IDLE_LOOK).await;
        }
        Ok(None)
    }

    /// There is none that could come back.
    async fn the_only_one(&self) -> Result<Option<PoolConnection<Postgres>>, sqlx::Error> {
        match tokio::time::timeout(LOOK_WITHIN, self.connect()).await {
            // Now there is room, or the server is away: the usual way again.
            Ok(Ok(connection)) => {
                let _ = tokio::time::timeout(SUSPECT_AFTER, connection.close()).await;
            }
            Ok(Err(error)) if is_full(&error) => return Err(error),
            Ok(Err(_)) | Err(_) => {}
        }
        self.0.room.send_replace(self.wanted());
        Ok(None)
    }

    /// Ends when it is known that the server has no room for as many as are wanted.
    async fn told_short(&self) {
        let (mut room, wanted) = (self.0.room.subscribe(), self.wanted());
        // The sender lives as long as this does.
        let _ = room.wait_for(|room| *room < wanted).await;
    }

    /// The same, and has it found out.
    async fn found_short(&self) {
        let short = self.told_short();
        tokio::pin!(short);
        loop {
            tokio::select! {
                () = &mut short => return,
                () = tokio::time::sleep(SUSPECT_AFTER) => {}
            }
            if !self.0.looking.swap(true, Ordering::SeqCst) {
                tokio::spawn(look(Arc::downgrade(&self.0)));
            }
        }
    }
}

impl Shared {
    fn is_short(&self) -> bool {
        *self.room.borrow() < self.pool.options().get_max_connections()
    }

    /// Whether as many as are wanted live, which the server knows. `false` also where that is not
    /// found out.
    async fn are_all_open(&self) -> bool {
        let (all, begun) = (self.pool.options().get_max_connections(), self.begun.all());
        if self.pool.size() < all || begun.len() < all as usize {
            return false;
        }
        let asking = async {
            let mut connection = self.pool.acquire().await?;
            let counted =
                sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1)")
                    .persistent(false);
            counted.bind(begun).fetch_one(&mut *connection).await
        };
        let alive: Option<i64> =
            tokio::time::timeout(LOOK_WITHIN, asking).await.ok().and_then(Result::ok);
        alive.is_some_and(|alive| alive >= i64::from(all))
    }

    /// What comes next.
    async fn look(&self) -> Next {
        let all = self.pool.options().get_max_connections();
        let looked = tokio::time::timeout(LOOK_WITHIN, self.session.connect()).await;
        let is_enough =
            matches!(&looked, Ok(Err(error)) if is_full(error)) && self.are_all_open().await;
        match looked {
            // One more than all is not needed. A caller that waits does so for one that comes back.
            Ok(Err(_)) if is_enough => {
                if self.is_short() {
                    info!(wanted = all, "the database has room for all connections again");
                }
                self.room.send_replace(all);
                Next::WhenDoubted(LOOK_EVERY)
            }
            Ok(Err(error)) if is_full(&error) => {
                *self.cause.write() = error.to_string();
                if !self.is_short() {
                    warn!(%error, wanted = all, "the database has no room for more connections: \
                        those that are open are used");
                }
                // A caller that tries to open one right now counts still: less than all in any
                // case.
                self.room.send_replace(self.pool.size().min(all.saturating_sub(1)));
                Next::Look(LOOK_EVERY)
            }
            Ok(Ok(connection)) if self.is_short() => {
                let _ = connection.close().await;
                self.room.send_modify(|room| *room += 1);
                if self.is_short() {
                    return Next::Look(LOOK_AGAIN);
                }
                info!(wanted = all, "the database has room for all connections again");
                Next::WhenDoubted(LOOK_EVERY)
            }
            // Whether it is away others find out.
            Ok(_) | Err(_) => {
                self.room.send_replace(all);
                let refused = matches!(looked, Ok(Err(sqlx::Error::Configuration(_))));
                Next::WhenDoubted(if refused { LOOK_REFUSED } else { LOOK_EVERY })
            }
        }
    }
}

/// After a look whether the server has room.
enum Next {
    /// It has none: it is looked again after this.
    Look(Duration),
    /// It has some: a caller that waits may doubt that after this.
    WhenDoubted(Duration),
}

/// Looks whether the server has room, and, while it has none, when it has some again.
async fn look(shared: Weak<Shared>) {
    loop {
        let Some(looked) = shared.upgrade() else { return };
        let next = looked.look().await;
        drop(looked);
        match next {
            Next::Look(after) => tokio::time::sleep(after).await,
            Next::WhenDoubted(after) => {
                tokio::time::sleep(after).await;
                if let Some(shared) = shared.upgrade() {
                    shared.looking.store(false, Ordering::SeqCst);
                }
                return;
            }
        }
    }
}

async fn keep_open(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(UPKEEP_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        let connections = Connections(shared);
        if connections.size() < connections.wanted() {
            // Callers that need one say what is wrong.
            let _ = connections.open_missing().await;
        }
    }
}
