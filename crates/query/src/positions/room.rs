//! Which requests may wait, when not all can: one that waits for what lies far ahead gives way to
//! the others, and one that has waited for long to those that come. Honest readers wait for what
//! they wrote a moment ago, and no longer than a projector takes. Pure: time comes in.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::Full;

/// So many records ahead nothing is far: a projector takes them in a moment.
pub(super) const NEAR: u64 = 1_000;
/// No request that waits for something near gives way before this.
const LEAST: Duration = Duration::from_millis(250);
/// Places looked at again for a request that comes: what has come near since it was last looked at.
const LOOKS: usize = 16;

/// Far is worse than near, and early worse than late: the last of them gives way first.
type Rank = (u64, Reverse<u64>);

/// `W` is what is waited for.
pub(super) struct Room<W> {
    places: usize,
    entered: u64,
    by_rank: BTreeMap<Rank, Slot<W>>,
    /// How far each was when it was last looked at.
    far: BTreeMap<u64, u64>,
}

struct Slot<W> {
    wanted: W,
    since: Instant,
    /// Dropped when it gives way.
    _held: oneshot::Sender<()>,
}

/// A request that was let in. The receiver ends when the place is given to another.
pub(super) struct Entered {
    pub(super) number: u64,
    pub(super) held: oneshot::Receiver<()>,
}

impl<W> Room<W> {
    pub(super) fn new(places: usize) -> Self {
        Self { places, entered: 0, by_rank: BTreeMap::new(), far: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_rank.is_empty()
    }

    /// What is waited for.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &W> {
        self.by_rank.values().map(|slot| &slot.wanted)
    }

    /// Lets one in, if need be in the place of another. `distance`: how many records lie before
    /// what is waited for.
    pub(super) fn enter(
        &mut self,
        wanted: W,
        now: Instant,
        distance: impl Fn(&W) -> u64,
    ) -> Result<Entered, Full> {
        let far = beyond_near(distance(&wanted));
        if self.by_rank.len() >= self.places && !self.makes_room(far, now, distance) {
            return Err(Full);
        }
        let number = self.entered;
        self.entered += 1;
        let (sender, held) = oneshot::channel();
        self.insert((far, Reverse(number)), Slot { wanted, since: now, _held: sender });
        Ok(Entered { number, held })
    }

    /// Also of one that gave way.
    pub(super) fn leave(&mut self, number: u64) {
        if let Some(far) = self.far.remove(&number) {
            self.by_rank.remove(&(far, Reverse(number)));
        }
    }

    fn makes_room(&mut self, far: u64, now: Instant, distance: impl Fn(&W) -> u64) -> bool {
        for _ in 0..LOOKS {
            let Some((rank, place)) = self.by_rank.pop_last() else { return false };
            let is_now = beyond_near(distance(&place.wanted));
            let gives_way = is_now > far
                || (is_now == 0 && far == 0 && now.duration_since(place.since) >= LEAST);
            if gives_way {
                self.far.remove(&rank.1.0);
                return true;
            } else if is_now < rank.0 {
                // Nearer than when it was last looked at, as all are while projectors go on:
                // another may be farther.
                self.insert((is_now, rank.1), place);
            } else {
                self.insert(rank, place);
                return false;
            }
        }
        false
    }

    fn insert(&mut self, rank: Rank, place: Slot<W>) {
        self.far.insert(rank.1.0, rank.0);
        self.by_rank.insert(rank, place);
    }
}

fn beyond_near(distance: u64) -> u64 {
    distance.saturating_sub(NEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each waits for an offset of one partition, which stands at 10,000.
    struct Waiters {
        room: Room<u64>,
        now: Instant,
        stands_at: u64,
    }

    impl Waiters {
        fn new(places: usize) -> Self {
            Self { room: Room::new(places), now: Instant::now(), stands_at: 10_000 }
        }

        fn enter(&mut self, offset: u64) -> Result<Entered, Full> {
            let stands_at = self.stands_at;
            self.room.enter(offset, self.now, |offset| offset.saturating_sub(stands_at))
        }

        fn all(&mut self, offsets: &[u64]) -> Vec<Entered> {
            offsets.iter().map(|offset| self.enter(*offset).unwrap()).collect()
        }
    }

    /// Which of them gave way.
    fn gone(entered: &mut [Entered]) -> Vec<usize> {
        let is_gone = |(at, one): (usize, &mut Entered)| {
            one.held
                .try_recv()
                .is_err_and(|why| why == oneshot::error::TryRecvError::Closed)
                .then_some(at)
        };
        entered.iter_mut().enumerate().filter_map(is_gone).collect()
    }

    #[test]
    fn the_farthest_gives_way_to_one_that_is_nearer() {
        let mut waiters = Waiters::new(3);
        let mut entered = waiters.all(&[50_000, u64::MAX, 90_000]);
        entered.push(waiters.enter(10_001).unwrap());
        assert_eq!(gone(&mut entered), [1]);
        entered.push(waiters.enter(60_000).unwrap());
        assert_eq!(gone(&mut entered), [1, 2]);
        assert!(
            waiters.enter(60_000).is_err() && waiters.enter(u64::MAX).is_err(),
            "not to one as far or farther"
        );
        entered.extend(waiters.all(&[10_002, 10_003]));
        assert_eq!(gone(&mut entered), [0, 1, 2, 4]);
    }

    #[test]
    fn of_those_that_are_near_the_one_that_waits_longest_gives_way_but_not_at_once() {
        let mut waiters = Waiters::new(2);
        let mut entered = waiters.all(&[10_900]);
        waiters.now += LEAST / 2;
        entered.extend(waiters.all(&[10_001]));
        assert!(waiters.enter(10_001).is_err());
        waiters.now += LEAST / 2;
        entered.push(waiters.enter(10_950).unwrap());
        assert_eq!(gone(&mut entered), [0]);
        assert!(waiters.enter(10_001).is_err(), "the others have waited for less");
        waiters.now += LEAST;
        assert!(waiters.enter(60_000).is_err(), "and never for what is far");
    }

    #[test]
    fn one_that_has_come_near_does_not_keep_its_place_for_another_that_is_far() {
        let (mut room, now) = (Room::new(2), Instant::now());
        let mut entered: Vec<_> = [("one", 90_000), ("other", 50_000)]
            .map(|(who, far)| room.enter(who, now, |_| far).unwrap())
            .into();
        entered.push(
            room.enter("who comes", now, |who| if *who == "other" { 50_000 } else { 1 }).unwrap(),
        );
        assert_eq!(gone(&mut entered), [1]);
    }

    #[test]
    fn one_who_comes_costs_a_look_where_nothing_has_come_nearer() {
        let mut waiters = Waiters::new(LOOKS * 2);
        let _entered = waiters.all(&[10_001; LOOKS * 2]);
        let looks = std::cell::Cell::new(0);
        let refused = waiters.room.enter(60_000, waiters.now, |_| {
            looks.set(looks.get() + 1);
            NEAR
        });
        assert!(refused.is_err());
        assert_eq!(looks.get(), 2, "at the one that comes, and at one of those that wait");
    }

    #[test]
    fn far_ones_give_way_also_while_all_of_them_come_nearer() {
        let mut waiters = Waiters::new(LOOKS * 4);
        let mut entered = waiters.all(&[90_000_000; LOOKS * 4]);
        for stands_at in 10_001..10_001 + 8 {
            waiters.stands_at = stands_at;
            entered.push(waiters.enter(stands_at + 1).unwrap());
        }
        assert_eq!(gone(&mut entered).len(), 8);
    }

    #[test]
    fn what_has_come_near_is_not_far_any_more() {
        let mut waiters = Waiters::new(2);
        let mut entered = waiters.all(&[80_000, 90_000]);
        waiters.stands_at = 89_500;
        assert!(waiters.enter(90_000).is_err());
        waiters.stands_at = 10_000;
        assert!(waiters.enter(95_000).is_err(), "what was near once counts as near");
        assert!(gone(&mut entered).is_empty());
    }

    #[test]
    fn a_request_that_leaves_leaves_a_place() {
        let mut waiters = Waiters::new(1);
        let mut entered = waiters.all(&[90_000]);
        entered.push(waiters.enter(10_001).unwrap());
        waiters.room.leave(entered[0].number);
        assert!(waiters.enter(10_001).is_err(), "the place of one that gave way is taken");
        waiters.room.leave(entered[1].number);
        assert!(waiters.room.is_empty() && waiters.enter(u64::MAX).is_ok());
        assert!(Waiters::new(0).enter(10_001).is_err());
    }
}
