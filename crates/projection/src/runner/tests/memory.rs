//! A store in memory with the locks of a database, which fails, restarts and falls back when it is
//! told to; and what holds after each commit: a projection has everything below its checkpoint,
//! once and in sequence, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use highwater_protocol::{position::Position, wire::Wire};
use highwater_tables::{
    parked,
    runs::{Attempt, Run},
};
use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use super::{
    super::{
        Failure, Item, Key, Move, Projection, Slice, Source, Start, Store, TopicPartition, What,
        careful::KILLED,
    },
    choices::Choices,
    history::{History, Shelf, VisibleItem, aggregate_at},
};

/// Rows and checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub checkpoints: BTreeMap<Key, Position<Wire>>,
    pub rows: BTreeMap<Key, Vec<VisibleItem>>,
    pub parked: BTreeMap<Key, BTreeMap<Uuid, Vec<VisibleItem>>>,
}

/// How much may still go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    /// Transactions that fail, some after they took effect.
    pub commits: usize,
    pub begins: usize,
    /// Whether others may act at every operation, or only where it matters.
    pub fine: bool,
}

#[derive(Default)]
pub struct Server {
    pub tables: Tables,
    /// After each commit; the last is older than `tables`.
    pub past: Vec<Tables>,
    pub choices: Choices,
    pub budget: Budget,
    /// A table is locked for so many attempts to write to it.
    pub busy: BTreeMap<&'static str, usize>,
    /// What a projection cannot apply, by its first offset.
    pub poison: BTreeSet<(&'static str, u64)>,
    /// What the process does not survive, by its first offset.
    pub killers: BTreeSet<(&'static str, u64)>,
    /// It did not: its runner does nothing any more.
    pub died: bool,
    /// What runners said when they began, and what they were about to apply.
    pub runs: BTreeMap<Key, Run>,
    /// How often they said that.
    pub notes: usize,
    runners: u128,
    /// What a newer release wrote, by its first offset.
    pub unknown: BTreeSet<(&'static str, u64)>,
    /// So many transactions cannot begin.
    pub away: usize,
    /// How often it was tried to begin one, and which of them cannot, by their numbers from 1.
    pub begins: u64,
    pub refused: BTreeSet<u64>,
    /// So many transactions find that their connection cannot write.
    pub read_only: usize,
    /// And so many that only look at checkpoints.
    pub read_only_loads: usize,
    pub distrusted: usize,
    /// Whose rows are of an older form, and whose of a newer one.
    pub older: BTreeSet<&'static str>,
    pub newer: BTreeSet<&'static str>,
    /// How often it was tried to apply something.
    pub applies: BTreeMap<&'static str, usize>,
    pub wrong: Option<String>,
    log: Shelf,
    /// Who holds which checkpoint.
    locks: BTreeMap<Key, u64>,
    /// Which seat waits for which checkpoints.
    waiting: BTreeMap<usize, Vec<Key>>,
    starts: u32,
    begun: u64,
}

/// One runner's connections to the server.
#[derive(Clone)]
pub struct Memory {
    server: Arc<Mutex<Server>>,
    seat: usize,
}

pub struct Tx {
    server: Arc<Mutex<Server>>,
    id: u64,
    starts: u32,
    seat: usize,
    checkpoints: BTreeMap<Key, Position<Wire>>,
    rows: Vec<(Key, VisibleItem)>,
    parked: Vec<(Key, Uuid, VisibleItem)>,
    emptied: BTreeSet<Key>,
    runs: Vec<(Key, Option<Run>)>,
}

impl Tables {
    /// As they are when the projection stands at `offset`.
    pub fn stand(&mut self, key: Key, history: &History, offset: u64) {
        self.checkpoints.insert(key.clone(), history.positions[&offset].clone());
        self.rows.insert(key, history.below(offset));
    }
}

impl Memory {
    pub fn new(log: &Shelf, tables: Tables, choices: Choices, budget: Budget) -> Self {
        let server = Server { tables, choices, budget, log: log.clone(), ..Server::default() };
        Self { server: Arc::new(Mutex::new(server)), seat: 0 }
    }

    pub fn at_seat(&self, seat: usize) -> Self {
        Self { seat, ..self.clone() }
    }

    /// The id of another runner.
    pub fn next_runner(&self) -> Uuid {
        let mut server = self.server();
        server.runners += 1;
        Uuid::from_u128(server.runners)
    }

    pub fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock()
    }

    /// Others may act here.
    async fn pause(&self, always: bool) {
        if always || self.server().budget.fine {
            Pause(false).await;
        }
    }

    async fn lock_all(&self, tx: &Tx, keys: &[Key]) -> Result<(), Failure> {
        loop {
            {
                let mut server = self.server();
                tx.is_alive(&server)?;
                server.waiting.remove(&self.seat);
                if server.are_free(keys, tx.id) {
                    server.locks.extend(keys.iter().map(|key| (key.clone(), tx.id)));
                    return Ok(());
                }
                server.waiting.insert(self.seat, keys.to_vec());
            }
            Pause(false).await;
        }
    }
}

impl Server {
    /// Whether it does not wait for a lock that another holds.
    pub fn can_go_on(&self, seat: usize) -> bool {
        self.waiting
            .get(&seat)
            .is_none_or(|keys| keys.iter().all(|key| !self.locks.contains_key(key)))
    }

    /// It crashes, and knows only what it knew at `past[at]`.
    pub fn fall_back(&mut self, at: usize) {
        self.past.truncate(at + 1);
        self.tables = self.past.pop().unwrap_or_default();
        self.starts += 1;
        self.locks.clear();
        self.waiting.clear();
    }

    fn are_free(&self, keys: &[Key], tx: u64) -> bool {
        keys.iter().all(|key| self.locks.get(key).is_none_or(|holder| *holder == tx))
    }

    fn write(&mut self, tx: &Tx) {
        for (key, run) in &tx.runs {
            match run {
                Some(run) => self.runs.insert(key.clone(), run.clone()),
                None => self.runs.remove(key),
            };
        }
        let before = self.tables.clone();
        self.tables.checkpoints.extend(tx.checkpoints.clone());
        self.tables.rows.retain(|key, _| !tx.emptied.contains(key));
        self.tables.parked.retain(|key, _| !tx.emptied.contains(key));
        for (key, id, shown) in &tx.parked {
            let of = self.tables.parked.entry(key.clone()).or_default();
            of.entry(*id).or_default().push(*shown);
        }
        for (key, shown) in &tx.rows {
            self.tables.rows.entry(key.clone()).or_default().push(*shown);
        }
        if before != self.tables {
            self.past.push(before);
            self.wrong = self.wrong.take().or_else(|| self.look());
        }
    }

    /// What is not as it must be.
    fn look(&self) -> Option<String> {
        self.tables.checkpoints.iter().find_map(|(key, at)| {
            let (history, begin) = self.log.of(&key.topic_partition);
            // Behind what was forgotten it is not known what lay there.
            let behind_a_gap =
                at.offset <= begin && *at == Position { offset: at.offset, ..Position::start() };
            if history.positions.get(&at.offset) != Some(at) && !behind_a_gap {
                return Some(format!(
                    "{} of {} stands at {at:?}, where no reader stands",
                    key.projection, key.topic_partition
                ));
            }
            let applied = self.tables.rows.get(key).cloned().unwrap_or_default();
            let parked = self.tables.parked.get(key).cloned().unwrap_or_default();
            // What is parked is not applied, and what follows of its aggregate is neither.
            let over = applied.iter().find(|shown| {
                let first = parked.get(&aggregate_at(shown.first)).and_then(|all| all.first());
                first.is_some_and(|first| first.first <= shown.first)
            });
            if let Some(over) = over.filter(|shown| history.is_commit(shown.first)) {
                return Some(format!("{over:?} was applied over what is parked"));
            }
            let (mut found, mut expected) = (applied, history.below(at.offset));
            found.extend(parked.into_values().flatten());
            found.sort_by_key(|shown| shown.first);
            expected.retain(|shown| shown.first >= begin || found.contains(shown));
            let name = format!("{} of {} at {}", key.projection, key.topic_partition, at.offset);
            (found != expected).then(|| format!("{name} has {found:?} instead of {expected:?}"))
        })
    }
}

impl Tx {
    fn is_alive(&self, server: &Server) -> Result<(), Failure> {
        if server.starts == self.starts {
            Ok(())
        } else {
            Err(Failure::Unreachable("the server has started again".to_owned()))
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let mut server = self.server.lock();
        let id = self.id;
        server.locks.retain(|_, holder| *holder != id);
        server.waiting.remove(&self.seat);
    }
}

impl Store for Memory {
    type Tx = Tx;

    fn begin(&self) -> BoxFuture<'_, Result<Tx, Failure>> {
        Box::pin(async move {
            self.pause(false).await;
            let mut server = self.server();
            if server.budget.begins > 0 && server.choices.rarely_of(2) == 1 {
                server.budget.begins -= 1;
                return Err(Failure::Unreachable("away".to_owned()));
            }
            server.begins += 1;
            let begins = server.begins;
            if server.refused.contains(&begins) {
                return Err(Failure::Unreachable("away".to_owned()));
            }
            if server.away > 0 {
                server.away -= 1;
                return Err(Failure::Unreachable("away".to_owned()));
            }
            server.begun += 1;
            let (id, starts) = (server.begun, server.starts);
            let (server, seat) = (self.server.clone(), self.seat);
            Ok(Tx {
                server,
                id,
                starts,
                seat,
                checkpoints: BTreeMap::new(),
                rows: Vec::new(),
                parked: Vec::new(),
                emptied: BTreeSet::new(),
                runs: Vec::new(),
            })
        })
    }

    fn distrust(&self) {
        self.server().distrusted += 1;
    }

    fn load<'a>(
        &'a self,
        tx: &'a mut Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>> {
        Box::pin(async move {
            self.pause(true).await;
            let mut server = self.server();
            tx.is_alive(&server)?;
            if server.read_only_loads > 0 {
                server.read_only_loads -= 1;
                return Err(Failure::ReadOnly("a standby".to_owned()));
            }
            Ok(keys
                .iter()
                .map(|key| server.tables.checkpoints.get(key).cloned().unwrap_or_default())
                .collect())
        })
    }

    fn lock<'a>(
        &'a self,
        tx: &'a mut Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Position<Wire>>, Failure>> {
        Box::pin(async move {
            self.pause(true).await;
            self.lock_all(tx, keys).await?;
            let server = self.server();
            Ok(keys
                .iter()
                .map(|key| server.tables.checkpoints.get(key).cloned().unwrap_or_default())
                .collect())
        })
    }

    fn reset<'a>(&'a self, tx: &'a mut Tx, key: &'a Key) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            tx.checkpoints.insert(key.clone(), Position::start());
            Ok(())
        })
    }

    fn parked<'a>(
        &'a self,
        tx: &'a mut Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<parked::Count>, Failure>> {
        Box::pin(async move {
            let server = self.server();
            tx.is_alive(&server)?;
            let ids = |key: &Key| {
                let own = tx.parked.iter().filter(|(of, ..)| of == key).map(|(_, id, _)| *id);
                let stored = server.tables.parked.get(key).into_iter().flat_map(BTreeMap::keys);
                let ids: BTreeSet<Uuid> = stored.copied().chain(own).collect();
                parked::Count { waiting: ids.len() as u64, discarded: 0 }
            };
            Ok(keys.iter().map(ids).collect())
        })
    }

    fn parked_among<'a>(
        &'a self,
        tx: &'a mut Tx,
        key: &'a Key,
        aggregates: &'a [Uuid],
    ) -> BoxFuture<'a, Result<BTreeMap<Uuid, bool>, Failure>> {
        Box::pin(async move {
            self.pause(true).await;
            let server = self.server();
            tx.is_alive(&server)?;
            let parked = server.tables.parked.get(key).cloned().unwrap_or_default();
            let among = aggregates.iter().filter(|id| parked.contains_key(id));
            Ok(among.map(|id| (*id, false)).collect())
        })
    }

    fn park<'a>(
        &'a self,
        tx: &'a mut Tx,
        key: &'a Key,
        commit: &'a parked::Commit,
        cause: &'a parked::Cause,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        assert_eq!(cause.schema, "thing.made.v1");
        assert!(["poison", KILLED].contains(&cause.error.as_str()), "{}", cause.error);
        self.wait(tx, key, std::slice::from_ref(commit))
    }

    fn wait<'a>(
        &'a self,
        tx: &'a mut Tx,
        key: &'a Key,
        commits: &'a [parked::Commit],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            for commit in commits {
                let shown = VisibleItem {
                    first: commit.first_offset.unsigned_abs(),
                    end: commit.end_offset.unsigned_abs(),
                    weight: commit.events as usize,
                };
                tx.parked.push((key.clone(), commit.aggregate, shown));
            }
            Ok(())
        })
    }

    fn runs<'a>(
        &'a self,
        tx: &'a mut Tx,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Run>>, Failure>> {
        Box::pin(async move {
            let server = self.server();
            tx.is_alive(&server)?;
            Ok(keys.iter().map(|key| server.runs.get(key).cloned()).collect())
        })
    }

    fn begin_runs<'a>(
        &'a self,
        tx: &'a mut Tx,
        runner: Uuid,
        begun: &'a [(Key, Option<Attempt>)],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let run = |attempt: &Option<Attempt>| {
                Some(Run { runner, attempt: attempt.clone(), applying: false })
            };
            tx.runs.extend(begun.iter().map(|(key, attempt)| (key.clone(), run(attempt))));
            Ok(())
        })
    }

    fn note<'a>(
        &'a self,
        tx: &'a mut Tx,
        runner: Uuid,
        key: &'a Key,
        offsets: &'a Range<u64>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut server = self.server();
            server.notes += 1;
            if let Some(run) = server.runs.get(key).filter(|run| run.runner == runner) {
                let Range { start: first, end } = *offsets;
                let same = run.attempt.clone().filter(|at| (at.first, at.end) == (first, end));
                let attempt = same.unwrap_or(Attempt { first, end, dead: Vec::new() });
                let run = Run { runner, attempt: Some(attempt), applying: true };
                tx.runs.push((key.clone(), Some(run)));
            }
            Ok(())
        })
    }

    fn live_on<'a>(
        &'a self,
        tx: &'a mut Tx,
        runner: Uuid,
        key: &'a Key,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            if let Some(mut run) = self.server().runs.get(key).cloned() {
                run.applying &= run.runner != runner;
                run.attempt.iter_mut().for_each(|at| at.dead.retain(|dead| *dead != runner));
                tx.runs.push((key.clone(), Some(run)));
            }
            Ok(())
        })
    }

    fn end_runs<'a>(
        &'a self,
        tx: &'a mut Tx,
        runner: Uuid,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let server = self.server();
            let own = keys
                .iter()
                .filter(|key| server.runs.get(*key).is_some_and(|run| run.runner == runner));
            tx.runs.extend(own.map(|key| (key.clone(), None)));
            Ok(())
        })
    }

    fn advance<'a>(
        &'a self,
        tx: &'a mut Tx,
        moves: &'a [Move],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.pause(true).await;
            let keys: Vec<Key> = moves.iter().map(|step| step.key.clone()).collect();
            self.lock_all(tx, &keys).await?;
            let mut server = self.server();
            if server.read_only > 0 {
                server.read_only -= 1;
                return Err(Failure::ReadOnly("a standby".to_owned()));
            }
            for step in moves {
                let at = server.tables.checkpoints.get(&step.key).cloned().unwrap_or_default();
                if (at.offset, at.identity) != (step.from.offset, step.from.identity) {
                    return Err(Failure::Conflict);
                }
                tx.checkpoints.insert(step.key.clone(), step.to.clone());
            }
            Ok(())
        })
    }

    fn commit<'a>(&'a self, tx: Tx, _: Option<&'a str>) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.pause(false).await;
            let failure = {
                let mut server = self.server();
                tx.is_alive(&server)?;
                let fails = if server.budget.commits > 0 && !tx.checkpoints.is_empty() {
                    server.choices.rarely_of(5)
                } else {
                    0
                };
                server.budget.commits -= usize::from(fails > 0);
                if fails != 1 && fails != 2 {
                    server.write(&tx);
                }
                match fails {
                    0 => None,
                    1 | 3 => Some(Failure::Unreachable("cut off".to_owned())),
                    _ => Some(Failure::Transient("took too long".to_owned())),
                }
            };
            drop(tx);
            // The answer is on its way.
            self.pause(true).await;
            failure.map_or(Ok(()), Err)
        })
    }
}

/// Has a row for everything that it was given.
pub struct Tally(pub &'static str, pub Source);

impl Projection<Tx> for Tally {
    fn name(&self) -> &'static str {
        self.0
    }

    fn categories(&self) -> &[&'static str] {
        &["thing"]
    }

    fn source(&self) -> Source {
        self.1
    }

    fn parks(&self) -> bool {
        self.0 != "strict" && self.1 == Source::Events
    }

    fn apply<'a>(
        &'a self,
        tx: &'a mut Tx,
        slices: &'a [Slice<'a>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        let applied = (|| {
            let mut server = tx.server.lock();
            *server.applies.entry(self.0).or_default() += 1;
            if let Some(left) = server.busy.get_mut(self.0).filter(|left| **left > 0) {
                *left -= 1;
                return Err(Failure::Transient("locked".to_owned()));
            }
            for slice in slices {
                for item in slice.items {
                    let is_commit = matches!(item.what, What::Commit(_));
                    if is_commit && server.poison.contains(&(self.0, item.what.start())) {
                        return Err(Failure::Deterministic("poison".to_owned()));
                    }
                    if is_commit && server.killers.contains(&(self.0, item.what.start())) {
                        server.died = true;
                        return Ok(false);
                    }
                    if server.unknown.contains(&(self.0, item.what.start())) {
                        return Err(Failure::Newer("a newer version".to_owned()));
                    }
                    tx.rows.push((
                        Key { projection: self.0, topic_partition: slice.topic_partition.clone() },
                        shown(item),
                    ));
                }
            }
            Ok(true)
        })();
        Box::pin(async move {
            match applied {
                Ok(true) => Ok(()),
                // It does not come back.
                Ok(false) => std::future::pending().await,
                Err(failure) => Err(failure),
            }
        })
    }

    fn resume<'a>(
        &'a self,
        tx: &'a mut Tx,
        topic_partition: &'a TopicPartition,
    ) -> BoxFuture<'a, Result<Start, Failure>> {
        let mut server = tx.server.lock();
        let start = if server.newer.contains(self.0) {
            Err(Failure::Newer("a newer form".to_owned()))
        } else if server.older.remove(self.0) {
            tx.emptied.insert(Key { projection: self.0, topic_partition: topic_partition.clone() });
            Ok(Start::Over)
        } else {
            Ok(Start::AtCheckpoint)
        };
        drop(server);
        Box::pin(async { start })
    }
}

fn shown(item: &Item) -> VisibleItem {
    let (first, end) = match &item.what {
        What::Commit(commit) => (commit.first, commit.end),
        What::Outcome { offset, .. } | What::Accepted { offset, .. } => (*offset, offset + 1),
    };
    VisibleItem { first, end, weight: item.what.weight() }
}

pub fn topic_partition(partition: u32) -> TopicPartition {
    TopicPartition::of_events("thing", partition)
}

/// Ready when it is polled again.
struct Pause(bool);

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
