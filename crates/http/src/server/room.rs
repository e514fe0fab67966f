//! Owns how many connections there are, in all and of one peer, and which one gives way when
//! another comes: the one on which nothing has been open for longest. A few places beyond the
//! limits are kept for those who ask whether we live. One that was told to leave counts until it is
//! gone, or those that stay in spite of it would be without a limit.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::connection::link::{Demand, Link};
use super::peer::Peer;

/// How many connections that could give way one look finds.
const FOUND_AT_ONCE: usize = 64;
/// So many that were told to leave may still be open beyond the limits, so that a new one need not
/// wait for them.
const LEAVING: usize = 64;
/// The least time between two looks of which the first found none.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// An answer that has stood still for so long may be cut for one that would be sent.
const STALLED: Duration = Duration::from_secs(1);

/// Connections at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) all: usize,
    pub(super) of_one_peer: usize,
    pub(super) health: usize,
}

pub(super) struct Room {
    places: Places,
    /// What all answers hold in memory.
    unsent: Arc<AtomicUsize>,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    next: u64,
    links: HashMap<u64, (Arc<Link>, Kind)>,
    ordinary: usize,
    health: usize,
    peers: HashMap<Peer, usize>,
    /// The same of those for health.
    health_peers: HashMap<Peer, usize>,
    /// That may give way, the longest quiet first.
    quiet: VecDeque<u64>,
    /// Of this peer alone, where its own share is full.
    quiet_of: Option<Peer>,
    /// Of whom a look found none, and when.
    looked_in_vain: HashMap<Option<Peer>, Instant>,
    /// That were told to leave and are open, the longest told first.
    leaving: VecDeque<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ordinary,
    Health,
    /// Has given way, and counts as one of those alone.
    Leaving,
}

/// The place of one connection, until dropped.
pub(super) struct Seat {
    room: Arc<Room>,
    id: u64,
    link: Arc<Link>,
}

impl Room {
    pub(super) fn new(places: Places) -> Self {
        Self { places, unsent: Arc::default(), seats: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock()
    }

    /// A place for a new connection; none when even those for health are taken by others that ask
    /// for it.
    pub(super) fn enter(self: &Arc<Self>, address: SocketAddr) -> Option<Seat> {
        let peer = Peer::from(address.ip());
        let mut seats = self.lock();
        let kind = seats.kind_for(peer, self.places)?;
        match kind {
            Kind::Health => {
                seats.health += 1;
                *seats.health_peers.entry(peer).or_default() += 1;
            }
            _ => {
                seats.ordinary += 1;
                *seats.peers.entry(peer).or_default() += 1;
            }
        }
        let (id, link) = (
            seats.next,
            Arc::new(Link::new(address, kind == Kind::Health, Arc::clone(&self.unsent))),
        );
        seats.next += 1;
        seats.links.insert(id, (Arc::clone(&link), kind));
        Some(Seat { room: Arc::clone(self), id, link })
    }

    /// Those that are open, whatever they may ask.
    pub(super) fn connections(&self) -> usize {
        self.lock().links.len()
    }

    pub(super) fn demand_all(&self, demand: Demand) {
        self.lock().links.values().for_each(|(link, _)| link.demand(demand));
    }

    /// Where descriptors are gone: the quietest leaves, if there is any.
    pub(super) fn give_way(&self) -> bool {
        self.lock().give_way(None)
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Ends connections whose answers stand still, the slowest first, until so many bytes are free.
    /// Says whether they will be.
    pub(super) fn cut_slowest(&self, bytes: usize) -> bool {
        let now = Instant::now();
        let mut stalled: Vec<(Instant, Arc<Link>)> = {
            let seats = self.lock();
            let links = seats
                .links
                .values()
                .filter_map(|(link, _)| Some((link.stalled_since()?, Arc::clone(link))));
            links.filter(|(since, _)| *since + STALLED <= now).collect()
        };
        stalled.sort_by_key(|(since, _)| *since);
        let mut freed = 0;
        for (_, link) in stalled {
            if freed >= bytes {
                break;
            }
            freed += link.held_bytes();
            link.demand(Demand::End);
        }
        freed >= bytes
    }
}

impl Seats {
    fn kind_for(&mut self, peer: Peer, places: Places) -> Option<Kind> {
        let share_is_full = self.peers.get(&peer).is_some_and(|open| *open >= places.of_one_peer);
        if (self.ordinary < places.all && !share_is_full)
            || self.give_way(share_is_full.then_some(peer))
        {
            return Some(Kind::Ordinary);
        }
        // One that asks in a loop leaves half of them to others.
        let half_is_taken =
            self.health_peers.get(&peer).is_some_and(|open| *open >= (places.health / 2).max(1));
        let is_free = self.health < places.health && !half_is_taken;
        (is_free || self.free_health(half_is_taken.then_some(peer))).then_some(Kind::Health)
    }

    /// Sends the longest quiet away, of `peer` or of all.
    fn give_way(&mut self, peer: Option<Peer>) -> bool {
        loop {
            if self.quiet.is_empty() || self.quiet_of != peer {
                self.look(peer);
            }
            let Some(id) = self.quiet.pop_front() else { return false };
            let Some((link, kind)) = self.links.get(&id) else { continue };
            if *kind != Kind::Ordinary || link.quiet_since().is_none() {
                continue;
            }
            let peer = Peer::from(link.peer.ip());
            self.ordinary -= 1;
            forget(&mut self.peers, peer);
            self.send_away(id);
            return true;
        }
    }

    fn look(&mut self, peer: Option<Peer>) {
        self.quiet.clear();
        self.quiet_of = peer;
        let now = Instant::now();
        // Bounded by those whose share is full.
        self.looked_in_vain.retain(|_, at| now < *at + LOOK_AGAIN);
        if self.looked_in_vain.contains_key(&peer) || self.looked_in_vain.contains_key(&None) {
            return;
        }
        let of_the_peer = |link: &Link| peer.is_none_or(|peer| Peer::from(link.peer.ip()) == peer);
        let ordinary = self
            .links
            .iter()
            .filter(|(_, (link, kind))| *kind == Kind::Ordinary && of_the_peer(link));
        let mut quiet: Vec<(Instant, u64)> =
            ordinary.filter_map(|(id, (link, _))| Some((link.quiet_since()?, *id))).collect();
        quiet.sort_unstable();
        self.quiet.extend(quiet.into_iter().take(FOUND_AT_ONCE).map(|(_, id)| id));
        if self.quiet.is_empty() {
            self.looked_in_vain.insert(peer, now);
        }
    }

    /// Takes a place for health, of `peer` or of all, from the longest quiet; else from the oldest
    /// that has no need of it.
    fn free_health(&mut self, peer: Option<Peer>) -> bool {
        let now = Instant::now();
        let of_the_peer = |link: &Link| peer.is_none_or(|peer| Peer::from(link.peer.ip()) == peer);
        let those = || {
            self.links.iter().filter(|(_, (link, kind))| *kind == Kind::Health && of_the_peer(link))
        };
        let quiet = those().filter_map(|(id, (link, _))| Some((link.quiet_since()?, *id))).min();
        let needless = || {
            those()
                .filter(|(_, (link, _))| !link.needs_health(now))
                .map(|(id, (link, _))| (link.opened, *id))
                .min()
        };
        let Some((_, id)) = quiet.or_else(needless) else { return false };
        let Some((link, _)) = self.links.get(&id) else { return false };
        if quiet.is_none() {
            link.demand(Demand::End);
        }
        let peer = Peer::from(link.peer.ip());
        self.health -= 1;
        forget(&mut self.health_peers, peer);
        self.send_away(id);
        true
    }

    /// It may take a moment, unless too many do.
    fn send_away(&mut self, id: u64) {
        let Some((link, kind)) = self.links.get_mut(&id) else { return };
        *kind = Kind::Leaving;
        link.demand(Demand::GiveWay);
        self.leaving.push_back(id);
        if self.leaving.len() > LEAVING
            && let Some((link, _)) = self.leaving.pop_front().and_then(|id| self.links.get(&id))
        {
            link.demand(Demand::End);
        }
    }
}

fn forget(peers: &mut HashMap<Peer, usize>, peer: Peer) {
    if let Some(open) = peers.get_mut(&peer) {
        *open -= 1;
        if *open == 0 {
            peers.remove(&peer);
        }
    }
}

impl Seat {
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.room.lock();
        let peer = Peer::from(self.link.peer.ip());
        match seats.links.remove(&self.id) {
            Some((_, Kind::Ordinary)) => {
                seats.ordinary -= 1;
                forget(&mut seats.peers, peer);
            }
            Some((_, Kind::Health)) => {
                seats.health -= 1;
                forget(&mut seats.health_peers, peer);
            }
            Some((_, Kind::Leaving)) => seats.leaving.retain(|id| *id != self.id),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(all: usize, of_one_peer: usize, health: usize) -> Arc<Room> {
        Arc::new(Room::new(Places { all, of_one_peer, health }))
    }

    fn enter(room: &Arc<Room>, address: &str) -> Option<Seat> {
        room.enter(SocketAddr::new(address.parse().ok()?, 1))
    }

    /// One with a request open.
    fn busy(room: &Arc<Room>, address: &str) -> Option<(Seat, impl Sized + use<>)> {
        let seat = enter(room, address)?;
        let open = seat.link().open_for_tests();
        Some((seat, open))
    }

    fn leaves(seat: &Seat) -> bool {
        seat.link().is_demanded(Demand::GiveWay)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_beyond_its_share_loses_its_own_quietest_connection() -> Result<(), &'static str>
    {
        let room = room(4, 2, 1);
        let others = enter(&room, "192.0.2.1").ok_or("no seat")?;
        let mut own = Vec::new();
        for address in ["2001:db8::1", "2001:db8::2"] {
            tokio::time::advance(Duration::from_secs(1)).await;
            own.push(enter(&room, address).ok_or("no seat")?);
        }
        assert!(!leaves(&own[0]));
        let third = enter(&room, "2001:db8::3").ok_or("no seat")?;
        assert_eq!((leaves(&others), leaves(&own[0]), leaves(&own[1])), (false, true, false));
        assert!(!third.link().health_only);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_whose_share_is_busy_gets_health_only_and_others_get_in()
    -> Result<(), &'static str> {
        let room = room(4, 2, 1);
        let (first, second) = (
            busy(&room, "192.0.2.1").ok_or("no seat")?,
            busy(&room, "192.0.2.1").ok_or("no seat")?,
        );
        let beyond = enter(&room, "192.0.2.1").ok_or("no seat")?;
        assert!(beyond.link().health_only && !leaves(&first.0) && !leaves(&second.0));
        assert!(!enter(&room, "192.0.2.2").ok_or("no seat")?.link().health_only);
        // The next one for health takes the place of the one that asks nothing; one that asks keeps
        // it.
        let asks = busy(&room, "192.0.2.1").ok_or("no seat")?;
        asks.0.link().asks_health(true);
        assert!(leaves(&beyond) && asks.0.link().health_only);
        assert!(enter(&room, "192.0.2.1").is_none());
        drop(first);
        assert!(!enter(&room, "192.0.2.1").ok_or("no seat")?.link().health_only);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn places_for_health_are_for_those_who_ask_for_it_and_not_all_for_one()
    -> Result<(), &'static str> {
        let room = room(1, 1, 4);
        let _all = busy(&room, "192.0.2.9").ok_or("no seat")?;
        let ended = |seat: &Seat| seat.link().is_demanded(Demand::End);
        let asks = |address: &str| {
            let seat = busy(&room, address)?;
            seat.0.link().asks_health(true);
            Some(seat)
        };
        let mut seats = Vec::new();
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
            seats.push(asks(address).ok_or("no seat")?);
        }
        assert!(asks("192.0.2.1").is_none(), "half of them are this one's");
        // One that asks for something else.
        seats.push(busy(&room, "192.0.2.3").ok_or("no seat")?);
        assert!(!seats.iter().any(|(seat, _)| leaves(seat)));
        seats.push(asks("192.0.2.4").ok_or("no seat")?);
        assert!(ended(&seats[3].0) && asks("192.0.2.5").is_none());
        tokio::time::advance(Duration::from_secs(2)).await;
        let _next = asks("192.0.2.5").ok_or("no seat")?;
        assert!(ended(&seats[0].0) && !ended(&seats[1].0));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn seats_that_were_left_are_not_counted_twice() -> Result<(), &'static str> {
        let room = room(1, 1, 0);
        for _ in 0..3 {
            let left = enter(&room, "192.0.2.1").ok_or("no seat")?;
            let next = busy(&room, "192.0.2.1").ok_or("no seat")?;
            assert!(leaves(&left));
            drop(left);
            assert_eq!((room.connections(), enter(&room, "192.0.2.1").is_none()), (1, true));
            drop(next);
            tokio::time::advance(LOOK_AGAIN).await;
        }
        assert_eq!(room.connections(), 0);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_vain_look_for_one_peer_keeps_no_other_out() -> Result<(), &'static str> {
        let room = room(4, 1, 1);
        let _busy = busy(&room, "192.0.2.1").ok_or("no seat")?;
        let quiet = enter(&room, "192.0.2.2").ok_or("no seat")?;
        assert!(enter(&room, "192.0.2.1").ok_or("no seat")?.link().health_only);
        let next = enter(&room, "192.0.2.2").ok_or("no seat")?;
        assert!(!next.link().health_only && leaves(&quiet));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_were_told_to_leave_and_stay_are_ended_when_they_are_too_many()
    -> Result<(), &'static str> {
        let room = room(2, 2, 0);
        let mut seats = Vec::new();
        for _ in 0..2 + LEAVING {
            seats.push(enter(&room, "192.0.2.1").ok_or("no seat")?);
        }
        let ended = |seat: &Seat| seat.link().is_demanded(Demand::End);
        assert!(
            seats[..LEAVING].iter().all(leaves)
                && !seats.iter().any(ended)
                && !leaves(&seats[LEAVING])
        );
        // One that is gone makes room for another that takes its time.
        drop(seats.remove(0));
        seats.push(enter(&room, "192.0.2.1").ok_or("no seat")?);
        assert!(!seats.iter().any(ended));
        seats.push(enter(&room, "192.0.2.1").ok_or("no seat")?);
        assert!(ended(&seats[0]) && !seats[1..].iter().any(ended));
        drop(seats);
        assert!(room.lock().leaving.is_empty());
        Ok(())
    }
}
