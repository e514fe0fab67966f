//! Owns a bulkhead: how many requests of one kind are answered at once, how many more wait for
//! their turn, and how much of both one peer may have. Must never hold its lock while it waits.
//!
//! An answer is counted until it is sent. One that its client does not take gives its place to
//! those who ask, after a moment: what is unsent is bounded in bytes, by the server, and a place is
//! for work.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use metrics::{Counter, Gauge};
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::adaptive::{Adaptive, Bounds};
use super::peer::{Peer, Share};
use crate::problem::Problem;
use highwater_runtime::clock::Ids;
use highwater_runtime::resilience;

/// Limits of a [`Bulkhead`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that are answered at once.
    pub limit: usize,
    /// The limit falls to at least this while answers take longer than `latency`.
    pub floor: usize,
    /// `None`: the limit stays.
    pub latency: Option<Duration>,
    /// Requests that wait for their turn; the next one is refused.
    pub waiting: usize,
    /// How long one waits.
    pub waits_for: Duration,
    /// Of `limit`, and of `waiting`.
    pub share: Share,
    /// The least of the `Retry-After` of a refusal.
    pub retry_after: Duration,
}

/// Clones share it.
#[derive(Clone)]
pub struct Bulkhead(Arc<Shared>);

struct Shared {
    class: &'static str,
    limits: Limits,
    ids: Arc<dyn Ids>,
    state: Mutex<State>,
    figures: Figures,
}

/// Whenever a place is free, those who wait are of peers that have their share inside.
struct State {
    limit: usize,
    share: Share,
    inside: usize,
    /// In the sequence in which they came. Some may have gone.
    queue: VecDeque<(Peer, oneshot::Sender<Slot>)>,
    /// Peers that are inside or wait. Mostly few, which a tree finds faster than a hash that no
    /// peer can foresee.
    peers: BTreeMap<Peer, OfPeer>,
    sending: OnTheirWay,
    adaptive: Option<Adaptive>,
}

#[derive(Clone, Copy, Default)]
struct OfPeer {
    inside: usize,
    waiting: usize,
}

/// How long an answer that is being sent keeps its place from others.
const SENT_WITHIN: Duration = Duration::from_secs(1);

struct Figures {
    inside: Gauge,
    limit: Gauge,
    shed: Counter,
}

/// A place inside, until dropped.
pub struct Permit(Slot);

/// The place of an answer that is being sent, until dropped or given to another.
pub(super) struct Sending(Arc<Shared>, u64);

/// One of `inside`, of this peer. Dropped, it goes to the request that has waited longest and may
/// have it.
struct Slot(Option<Arc<Shared>>, Peer);

/// One of its peer's that wait.
struct Waiting(Arc<Shared>, Peer);

/// What comes of asking for a place.
pub(super) enum Entry {
    Inside(Permit),
    Queued(Turn),
}

/// Waits until it is one's turn, or too long.
pub(super) type Turn = BoxFuture<'static, Result<Permit, Problem>>;

impl Bulkhead {
    /// `class` names it in metrics and refusals.
    pub fn new(class: &'static str, limits: Limits, ids: Arc<dyn Ids>) -> Self {
        let bounds =
            |target| Bounds { floor: limits.floor.max(1), ceiling: limits.limit.max(1), target };
        let state = State {
            limit: limits.limit.max(1),
            share: limits.share,
            inside: 0,
            queue: VecDeque::new(),
            peers: BTreeMap::new(),
            sending: OnTheirWay::default(),
            adaptive: limits.latency.map(|target| Adaptive::new(bounds(target))),
        };
        let figures = Figures {
            inside: metrics::gauge!("highwater_http_in_flight", "class" => class),
            limit: metrics::gauge!("highwater_http_limit", "class" => class),
            shed: metrics::counter!("highwater_http_shed_total", "class" => class),
        };
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        figures.limit.set(state.limit as f64);
        Self(Arc::new(Shared { class, limits, ids, state: Mutex::new(state), figures }))
    }

    /// Waits for a place, if there is room to wait.
    pub async fn enter(&self, peer: Peer) -> Result<Permit, Problem> {
        match self.ask(peer)? {
            Entry::Inside(permit) => Ok(permit),
            Entry::Queued(turn) => turn.await,
        }
    }

    pub(super) fn ask(&self, peer: Peer) -> Result<Entry, Problem> {
        let mut state = match self.0.take(self.0.lock(), peer) {
            Ok(permit) => return Ok(Entry::Inside(permit)),
            Err(state) => state,
        };
        if !state.may_wait(peer, self.0.limits.waiting) {
            drop(state);
            return Err(self.0.refused());
        }
        Ok(Entry::Queued(self.0.queue(state, peer)))
    }

    /// For a request that has been inside and comes back: others bound how many those are, and it
    /// waits its turn however many do.
    pub(super) fn ask_again(&self, peer: Peer) -> Entry {
        match self.0.take(self.0.lock(), peer) {
            Ok(permit) => Entry::Inside(permit),
            Err(state) => Entry::Queued(self.0.queue(state, peer)),
        }
    }

    /// Takes notice of how long an answer took.
    pub(super) fn answered(&self, now: Instant, took: Duration) {
        let mut state = self.0.lock();
        if !state.adaptive.as_mut().is_some_and(|adaptive| adaptive.answered(now, took)) {
            return;
        }
        state.limit = state.adaptive.as_ref().map_or(state.limit, Adaptive::limit);
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        self.0.figures.limit.set(state.limit as f64);
        drop(self.0.let_in(state));
    }

    #[cfg(test)]
    pub(super) fn inside(&self) -> usize {
        self.0.lock().inside
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// A place inside, if the peer may have one.
    fn take<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
        peer: Peer,
    ) -> Result<Permit, MutexGuard<'a, State>> {
        if !state.enter(peer) {
            state = self.reclaim(state);
            if !state.enter(peer) {
                return Err(state);
            }
        }
        self.count(&state);
        Ok(Permit(Slot(Some(Arc::clone(self)), peer)))
    }

    fn queue(self: &Arc<Self>, mut state: MutexGuard<'_, State>, peer: Peer) -> Turn {
        let (place, turn) = oneshot::channel();
        state.peers.entry(peer).or_default().waiting += 1;
        state.queue.push_back((peer, place));
        drop(state);
        Box::pin(Arc::clone(self).turn(turn, Waiting(Arc::clone(self), peer)))
    }

    /// Takes the places of answers that are not taken by their clients.
    fn reclaim<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let now = Instant::now();
        let mut left = false;
        while let Some(peer) = state.sending.oldest_before(now) {
            state.leave(peer);
            left = true;
        }
        if left { self.let_in(state) } else { state }
    }

    /// Those whose turn it is.
    fn let_in<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while let Some((peer, place)) = state.next() {
            drop(state);
            let back = place.send(Slot(Some(Arc::clone(self)), peer)).err();
            state = self.lock();
            // Gone meanwhile: the slot is for the next one, and not to be dropped under the lock.
            if back.is_some_and(|mut slot| slot.0.take().is_some()) {
                state.leave(peer);
            }
        }
        self.count(&state);
        state
    }

    async fn turn(
        self: Arc<Self>,
        turn: oneshot::Receiver<Slot>,
        _waiting: Waiting,
    ) -> Result<Permit, Problem> {
        match tokio::time::timeout(self.limits.waits_for, turn).await {
            Ok(Ok(slot)) => Ok(Permit(slot)),
            Ok(Err(_)) | Err(_) => Err(self.refused()),
        }
    }

    fn count(&self, state: &State) {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        self.figures.inside.set(state.inside as f64);
    }

    fn refused(&self) -> Problem {
        self.figures.shed.increment(1);
        let detail = "too many requests of this kind are in flight; try again after the given \
                      time, with the same Idempotency-Key";
        let after = resilience::retry_after(self.limits.retry_after, &*self.ids);
        Problem::unavailable("overloaded", detail, after).with("class", json!(self.class))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        let mut state = shared.lock();
        state.leave(self.1);
        drop(shared.let_in(state));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().change(self.1, |of| of.waiting -= 1);
    }
}

impl Permit {
    /// The answer is there, and goes out.
    pub(super) fn sending(mut self) -> Option<Sending> {
        let shared = self.0.0.take()?;
        let mut state = shared.lock();
        let id = state.sending.begin(Instant::now(), self.0.1);
        // Also here, so that what has ended behind an answer that stands still is not kept as long
        // as that stands.
        drop(shared.reclaim(state));
        Some(Sending(shared, id))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let Some(peer) = state.sending.end(self.1) else { return };
        state.leave(peer);
        drop(self.0.let_in(state));
    }
}

/// Of those inside, the answers that are being sent, since when, in the sequence in which that
/// began.
#[derive(Default)]
struct OnTheirWay {
    /// The number of the first of `since`. Numbers are given once.
    first: u64,
    /// `None`: it has ended. The first one has not.
    since: VecDeque<Option<(Instant, Peer)>>,
}

impl OnTheirWay {
    fn begin(&mut self, now: Instant, peer: Peer) -> u64 {
        self.since.push_back(Some((now, peer)));
        self.first + self.since.len() as u64 - 1
    }

    /// Whose it was, unless it had ended before.
    fn end(&mut self, number: u64) -> Option<Peer> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let (_, peer) = self.since.get_mut(at)?.take()?;
        while let Some(None) = self.since.front() {
            self.since.pop_front();
            self.first += 1;
        }
        Some(peer)
    }

    /// Ends the oldest, if it has had its moment.
    fn oldest_before(&mut self, now: Instant) -> Option<Peer> {
        let (since, _) = (*self.since.front()?)?;
        if now.saturating_duration_since(since) >= SENT_WITHIN {
            self.end(self.first)
        } else {
            None
        }
    }
}

impl State {
    /// One more of the peer is inside, if it may be.
    fn enter(&mut self, peer: Peer) -> bool {
        if self.inside >= self.limit {
            return false;
        }
        let most = self.share.of(self.limit);
        let of = self.peers.entry(peer).or_default();
        let enters = of.inside < most;
        if enters {
            of.inside += 1;
            self.inside += 1;
        }
        enters
    }

    fn leave(&mut self, peer: Peer) {
        self.inside -= 1;
        self.change(peer, |of| of.inside -= 1);
    }

    fn change(&mut self, peer: Peer, change: impl FnOnce(&mut OfPeer)) {
        if let Some(of) = self.peers.get_mut(&peer) {
            change(of);
            if of.inside == 0 && of.waiting == 0 {
                self.peers.remove(&peer);
            }
        }
    }

    fn may_wait(&mut self, peer: Peer, waiting: usize) -> bool {
        if self.peers.get(&peer).is_some_and(|of| of.waiting >= self.share.of(waiting)) {
            return false;
        }
        if self.queue.len() >= waiting {
            self.queue.retain(|(_, place)| !place.is_closed());
        }
        self.queue.len() < waiting
    }

    /// Lets in the request that has waited longest of those that may come in: one that is gone, or
    /// whose peer has its share inside, is passed.
    fn next(&mut self) -> Option<(Peer, oneshot::Sender<Slot>)> {
        let (mut at, mut full) = (0, None);
        while let Some((peer, place)) = self.queue.get(at) {
            let peer = *peer;
            // Many behind each other may be of one that fills the queue: it is looked up once.
            if full == Some(peer) {
                at += 1;
            } else if place.is_closed() {
                self.queue.remove(at);
            } else if self.enter(peer) {
                return self.queue.remove(at);
            } else if self.inside >= self.limit {
                return None;
            } else {
                full = Some(peer);
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "bulkhead/tests.rs"]
mod tests;
