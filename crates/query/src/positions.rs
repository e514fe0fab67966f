//! Waiting for a position: callers share one reader of the checkpoints, which a notification of the
//! projectors wakes. It asks the database only while a request waits, and no more often than its
//! interval.

mod reader;
mod room;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use highwater_http::headers::PartitionPosition;
use highwater_runtime::shutdown::Shutdown;
use highwater_tables::postgres::Connections;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use room::Room;

use crate::settings::PositionSettings;

/// The offset that a projection has reached, by projection, category and partition.
pub type ReachedOffsets = BTreeMap<(String, String, u32), u64>;

/// Of so many positions it is worth knowing which.
const FEW: usize = 100;

/// What is to be read for the requests that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct AwaitedCheckpoints {
    /// Of these every partition.
    projections: BTreeSet<String>,
    partitions: BTreeSet<(String, String, u32)>,
}

/// Too many wait already, for what is as near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Clones share the reader.
#[derive(Clone)]
pub struct Positions(Arc<Shared>);

struct Shared {
    reached: watch::Sender<Arc<ReachedOffsets>>,
    room: Mutex<Room<AwaitedPositions>>,
    /// A request began to wait, or a projector has committed.
    wake: Notify,
    draining: CancellationToken,
}

impl Positions {
    /// Begins to listen; ends with `shutdown`.
    pub fn watch(pool: &Connections, settings: &PositionSettings, shutdown: &Shutdown) -> Self {
        let positions = Self(Arc::new(Shared {
            reached: watch::Sender::new(Arc::new(ReachedOffsets::new())),
            room: Mutex::new(Room::new(settings.waiting)),
            wake: Notify::new(),
            draining: shutdown.soft.clone(),
        }));
        shutdown.tasks.spawn(reader::listen(
            positions.clone(),
            pool.clone(),
            shutdown.soft.clone(),
        ));
        // Ends with the last request that waits: a drain lets none wait for long.
        shutdown.tasks.spawn(reader::read(
            positions.clone(),
            pool.clone(),
            settings.clone(),
            shutdown.soft.clone(),
        ));
        positions
    }

    /// Waits until `projection` has reached all of `wanted`, or until `deadline` or a drain, or
    /// until its place is given to one that waits for something nearer. Says whether it has.
    pub async fn wait(
        &self,
        projection: &str,
        wanted: &[PartitionPosition],
        deadline: Instant,
    ) -> Result<bool, Full> {
        let wanted =
            AwaitedPositions { projection: projection.to_owned(), positions: wanted.to_vec() };
        let mut waiting = self.enter_for(wanted.clone())?;
        let mut reached = self.watched();
        let mut missing = 0;
        let all = async {
            reached.wait_for(|reached| wanted.is_satisfied(reached, &mut missing)).await.is_ok()
        };
        tokio::select! {
            biased;
            in_time = tokio::time::timeout_at(deadline, all) => Ok(in_time.unwrap_or(false)),
            () = waiting.gives_way() => Ok(false),
            () = self.0.draining.cancelled() => Ok(false),
        }
    }

    /// Room for one more request that waits, for whatever `projection` does and for no position: it
    /// gives way to one that waits for a near position. The checkpoints of `projection` are read
    /// while it is held.
    pub fn enter(&self, projection: &str) -> Result<Waiting, Full> {
        self.enter_for(AwaitedPositions {
            projection: projection.to_owned(),
            positions: Vec::new(),
        })
    }

    fn enter_for(&self, wanted: AwaitedPositions) -> Result<Waiting, Full> {
        let reached = self.0.reached.borrow().clone();
        let entered =
            self.0.room().enter(wanted, Instant::now(), |wanted| wanted.distance(&reached))?;
        self.0.wake.notify_one();
        Ok(Waiting { number: entered.number, held: entered.held, shared: Arc::clone(&self.0) })
    }

    /// What was read last, and what is read of all that requests wait for.
    pub fn watched(&self) -> watch::Receiver<Arc<ReachedOffsets>> {
        self.0.reached.subscribe()
    }

    fn is_wanted(&self) -> bool {
        !self.0.room().is_empty()
    }

    /// The projections and partitions that requests wait for; `None` while so many wait that it
    /// costs less to read them all.
    fn awaited(&self) -> Option<AwaitedCheckpoints> {
        let room = self.0.room();
        let (mut awaited, mut positions_left) = (AwaitedCheckpoints::default(), FEW);
        for AwaitedPositions { projection, positions } in room.wanted() {
            positions_left = positions_left.checked_sub(positions.len().max(1))?;
            if positions.is_empty() {
                awaited.projections.insert(projection.clone());
            }
            let key =
                |at: &PartitionPosition| (projection.clone(), at.category.clone(), at.partition);
            awaited.partitions.extend(positions.iter().map(key));
        }
        Some(awaited)
    }

    fn publish(&self, reached: ReachedOffsets) {
        self.0.reached.send_replace(Arc::new(reached));
    }

    /// What is not among these is as it was read last.
    fn publish_some(&self, reached: ReachedOffsets) {
        self.0.reached.send_modify(|known| Arc::make_mut(known).extend(reached));
    }
}

impl Shared {
    fn room(&self) -> MutexGuard<'_, Room<AwaitedPositions>> {
        self.room.lock()
    }
}

/// What a request waits for.
#[derive(Clone, Debug, Default)]
struct AwaitedPositions {
    projection: String,
    positions: Vec<PartitionPosition>,
}

impl AwaitedPositions {
    /// `missing` is one that was not reached when it was last looked at: as long as it is not, the
    /// others are not looked at.
    fn is_satisfied(&self, reached: &ReachedOffsets, missing: &mut usize) -> bool {
        let is_missing = |position: &PartitionPosition| self.left(reached, position) > 0;
        if self.positions.get(*missing).is_some_and(is_missing) {
            return false;
        }
        match self.positions.iter().position(is_missing) {
            Some(at) => *missing = at,
            None => return true,
        }
        false
    }

    /// Records before the farthest of them; no position is just not near.
    fn distance(&self, reached: &ReachedOffsets) -> u64 {
        self.positions
            .iter()
            .map(|position| self.left(reached, position))
            .max()
            .unwrap_or(room::NEAR + 1)
    }

    fn left(&self, reached: &ReachedOffsets, position: &PartitionPosition) -> u64 {
        let key = (self.projection.clone(), position.category.clone(), position.partition);
        position.offset.saturating_sub(reached.get(&key).copied().unwrap_or(0))
    }
}

/// See [`Positions::enter`].
pub struct Waiting {
    number: u64,
    held: oneshot::Receiver<()>,
    shared: Arc<Shared>,
}

impl Waiting {
    /// Ends when its place is given to another: there is nothing to wait for any more.
    pub async fn gives_way(&mut self) {
        let _ = (&mut self.held).await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.room().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::postgres::PgPoolOptions;

    use super::*;
    use crate::{documented::Row, operations::Awaited, settings::QuerySettings};

    fn at(partition: u32, offset: u64) -> PartitionPosition {
        PartitionPosition { category: "note".to_owned(), partition, offset }
    }

    /// Of the projection `notes`.
    fn reached(positions: &[PartitionPosition]) -> ReachedOffsets {
        let entry = |position: &PartitionPosition| {
            (("notes".to_owned(), position.category.clone(), position.partition), position.offset)
        };
        positions.iter().map(entry).collect()
    }

    #[test]
    fn all_positions_must_be_reached_and_the_farthest_says_how_near_they_are() {
        let wanted = AwaitedPositions {
            projection: "notes".to_owned(),
            positions: vec![at(0, 42), at(1, 50)],
        };
        for (stands_at, satisfied, distance) in [
            (vec![], false, 50),
            (vec![at(0, 42)], false, 50),
            (vec![at(0, 42), at(1, 49)], false, 1),
            (vec![at(0, 41), at(1, 60)], false, 1),
            (vec![at(0, 42), at(1, 50)], true, 0),
            (vec![at(0, 99), at(1, 99)], true, 0),
        ] {
            let reached = reached(&stands_at);
            // Wherever it was found to be missing something before.
            for mut missing in 0..3 {
                assert_eq!(
                    wanted.is_satisfied(&reached, &mut missing),
                    satisfied,
                    "{stands_at:?} {missing}"
                );
                assert_eq!(
                    wanted.is_satisfied(&reached, &mut missing),
                    satisfied,
                    "{stands_at:?} {missing}"
                );
            }
            assert_eq!(wanted.distance(&reached), distance, "{stands_at:?}");
        }
        // What another projection has reached, or on another category, is not what is waited for.
        let others = [("other", "note"), ("notes", "other")];
        let others: ReachedOffsets = others
            .into_iter()
            .map(|(of, category)| ((of.to_owned(), category.to_owned(), 0), 99))
            .collect();
        assert!(!wanted.is_satisfied(&others, &mut 0));
        assert!(
            AwaitedPositions::default().distance(&others) > room::NEAR,
            "no position is just not near"
        );
    }

    fn positions(waiting: usize, shutdown: &Shutdown) -> Result<Positions, sqlx::Error> {
        let pool = Connections::from(
            PgPoolOptions::new().connect_lazy("postgres://127.0.0.1:1/nobody_answers")?,
        );
        Ok(Positions::watch(
            &pool,
            &PositionSettings { waiting, ..QuerySettings::default().positions() },
            shutdown,
        ))
    }

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn who_waits_hears_when_all_is_reached_and_at_the_deadline_that_it_is_not()
    -> Result<(), Box<dyn std::error::Error>> {
        let positions = positions(2, &Shutdown::new())?;
        positions.publish(reached(&[at(0, 41)]));
        let wanted = [at(0, 42)];
        assert_eq!(positions.wait("notes", &wanted, Instant::now()).await, Ok(false));
        let mut waits =
            Box::pin(positions.wait("notes", &wanted, Instant::now() + Duration::from_secs(3_600)));
        assert!(futures_util::poll!(&mut waits).is_pending() && positions.is_wanted());
        positions.publish(reached(&[at(0, 42)]));
        assert_eq!(tokio::time::timeout(SOON, waits).await?, Ok(true));
        assert!(!positions.is_wanted(), "its place is free");
        Ok(())
    }

    #[tokio::test]
    async fn who_waits_for_what_is_far_gives_way_and_hears_it()
    -> Result<(), Box<dyn std::error::Error>> {
        let positions = positions(1, &Shutdown::new())?;
        let (far, near, deadline) =
            ([at(0, u64::MAX)], [at(0, 1)], Instant::now() + Duration::from_secs(3_600));
        let mut waits = Box::pin(positions.wait("notes", &far, deadline));
        assert!(futures_util::poll!(&mut waits).is_pending());
        assert_eq!(positions.wait("notes", &far, deadline).await, Err(Full));
        assert!(positions.enter("outcomes").is_ok(), "no position is nearer than that");
        assert_eq!(tokio::time::timeout(SOON, waits).await?, Ok(false));
        let mut place = positions.enter("outcomes").map_err(|_| "full")?;
        let mut waits = Box::pin(positions.wait("notes", &near, deadline));
        assert!(futures_util::poll!(&mut waits).is_pending());
        tokio::time::timeout(SOON, place.gives_way()).await?;
        assert!(
            positions.enter("outcomes").is_err(),
            "what is near does not give way to what is not"
        );
        Ok(())
    }

    #[tokio::test]
    async fn what_requests_wait_for_is_read_and_everything_where_that_is_much()
    -> Result<(), Box<dyn std::error::Error>> {
        let positions = positions(200, &Shutdown::new())?;
        let key = |partition| ("notes".to_owned(), "note".to_owned(), partition);
        assert_eq!(positions.awaited(), Some(AwaitedCheckpoints::default()));
        let deadline = Instant::now() + Duration::from_secs(3_600);
        let (first, second) = ([at(0, 9), at(1, 9)], [at(1, 8)]);
        let mut one = Box::pin(positions.wait("notes", &first, deadline));
        let mut two = Box::pin(positions.wait("notes", &second, deadline));
        assert!(futures_util::poll!(&mut one).is_pending());
        assert!(futures_util::poll!(&mut two).is_pending());
        let place = positions.enter("outcomes").map_err(|_| "full")?;
        let awaited = AwaitedCheckpoints {
            projections: BTreeSet::from(["outcomes".to_owned()]),
            partitions: BTreeSet::from([key(0), key(1)]),
        };
        assert_eq!(positions.awaited(), Some(awaited));
        // What is not read is as it was, and does not end a wait.
        positions.publish(reached(&[at(0, 9), at(1, 7)]));
        positions.publish_some(reached(&[at(1, 8)]));
        assert_eq!(tokio::time::timeout(SOON, two).await?, Ok(true));
        assert!(futures_util::poll!(&mut one).is_pending());
        positions.publish_some(reached(&[at(1, 9)]));
        assert_eq!(tokio::time::timeout(SOON, one).await?, Ok(true));
        let whole = BTreeSet::from(["outcomes".to_owned()]);
        let left = AwaitedCheckpoints { projections: whole, ..AwaitedCheckpoints::default() };
        assert_eq!(positions.awaited(), Some(left));
        let mut places = vec![place];
        while places.len() < FEW {
            places.push(positions.enter("outcomes").map_err(|_| "full")?);
        }
        assert!(positions.awaited().is_some());
        places.push(positions.enter("outcomes").map_err(|_| "full")?);
        assert_eq!(positions.awaited(), None);
        Ok(())
    }

    #[tokio::test]
    async fn a_drain_ends_every_wait_at_once() -> Result<(), Box<dyn std::error::Error>> {
        let shutdown = Shutdown::new();
        let pool = Connections::from(
            PgPoolOptions::new().connect_lazy("postgres://127.0.0.1:1/nobody_answers")?,
        );
        let positions = Positions::watch(&pool, &QuerySettings::default().positions(), &shutdown);
        let awaited = Awaited::watch(&pool, &positions, &shutdown);
        let far =
            [PartitionPosition { category: "note".to_owned(), partition: 0, offset: u64::MAX }];
        let deadline = Instant::now() + Duration::from_secs(3_600);
        let (position, outcome) = (
            positions.wait("notes", &far, deadline),
            awaited.register(uuid::Uuid::nil()).decided(deadline),
        );
        let drain = async {
            while !positions.is_wanted() {
                tokio::task::yield_now().await;
            }
            shutdown.soft.cancel();
        };
        let waits = async { tokio::join!(position, outcome, drain) };
        let (reached, (), ()) = tokio::time::timeout(Duration::from_secs(20), waits).await?;
        assert_eq!(reached, Ok(false));
        Row {
            id: "C11",
            situation: "SIGTERM with long polls open",
            answer: "each is answered at once, as at its time-out, and with `Connection: close` or \
                     GOAWAY",
            test: (file!(), "a_drain_ends_every_wait_at_once"),
        }
        .check();
        Ok(())
    }
}
