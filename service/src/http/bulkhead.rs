//! Owns a bulkhead: how many requests of one kind are answered at once, how many more wait for their turn, and how much of both one
//! peer may have. Must never hold its lock while it waits.
//!
//! An answer is counted until it is sent. One that its client does not take gives its place to those who ask, after a moment: what
//! is unsent is bounded in bytes, by the server, and a place is for work.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use metrics::{Counter, Gauge};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::adaptive::{Adaptive, Bounds};
use super::peer::{Peer, Share};
use crate::clock::Ids;
use crate::problem::Problem;
use crate::resilience;

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
    /// Of `limit` and `waiting` together.
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

struct State {
    limit: usize,
    inside: usize,
    /// In the sequence in which they came. Some may have gone.
    queue: VecDeque<oneshot::Sender<Slot>>,
    /// Who is inside or waits.
    peers: HashMap<Peer, usize>,
    /// Of those inside, the answers that are being sent, since when, in the sequence in which that began.
    sending: BTreeMap<u64, (Instant, Peer)>,
    last_sending: u64,
    adaptive: Option<Adaptive>,
}

/// How long an answer that is being sent keeps its place from others.
const SENT_WITHIN: Duration = Duration::from_secs(1);

struct Figures {
    inside: Gauge,
    limit: Gauge,
    shed: Counter,
}

/// A place inside, until dropped.
pub struct Permit {
    slot: Slot,
    counted: Counted,
}

/// The place of an answer that is being sent, until dropped or given to another.
pub(super) struct Sending(Arc<Shared>, u64);

/// One of `inside`. Dropped, it goes to the one who has waited longest.
struct Slot(Option<Arc<Shared>>);

/// One of its peer's, inside or waiting.
struct Counted(Arc<Shared>, Peer);

/// What comes of asking for a place.
pub(super) enum Asked {
    Inside(Permit),
    Queued(Turn),
}

/// Waits until it is one's turn, or too long.
pub(super) type Turn = BoxFuture<'static, Result<Permit, Problem>>;

impl Bulkhead {
    /// `class` names it in metrics and refusals.
    pub fn new(class: &'static str, limits: Limits, ids: Arc<dyn Ids>) -> Self {
        let bounds = |target| Bounds { floor: limits.floor.max(1), ceiling: limits.limit.max(1), target };
        let state = State {
            limit: limits.limit.max(1),
            inside: 0,
            queue: VecDeque::new(),
            peers: HashMap::new(),
            sending: BTreeMap::new(),
            last_sending: 0,
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
            Asked::Inside(permit) => Ok(permit),
            Asked::Queued(turn) => turn.await,
        }
    }

    pub(super) fn ask(&self, peer: Peer) -> Result<Asked, Problem> {
        let mut state = self.0.lock();
        let Limits { waiting, share, .. } = self.0.limits;
        let is_over = |state: &State| state.of(peer) >= share.of(state.limit.saturating_add(waiting));
        if state.inside >= state.limit || is_over(&state) {
            state = self.0.reclaim(state);
        }
        if is_over(&state) {
            drop(state);
            return Err(self.0.refused());
        }
        if state.inside >= state.limit && state.queue.len() >= waiting {
            state.queue.retain(|place| !place.is_closed());
            if state.queue.len() >= waiting {
                drop(state);
                return Err(self.0.refused());
            }
        }
        Ok(self.0.take(state, peer))
    }

    /// For one who has been inside and comes back: others bound how many those are, and it waits its turn however many do.
    pub(super) fn ask_again(&self, peer: Peer) -> Asked {
        let state = self.0.lock();
        let state = if state.inside >= state.limit { self.0.reclaim(state) } else { state };
        self.0.take(state, peer)
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place inside, else one in the queue.
    fn take(self: &Arc<Self>, mut state: MutexGuard<'_, State>, peer: Peer) -> Asked {
        *state.peers.entry(peer).or_default() += 1;
        if state.inside < state.limit {
            state.inside += 1;
            self.count(&state);
            drop(state);
            return Asked::Inside(Permit { slot: Slot(Some(Arc::clone(self))), counted: Counted(Arc::clone(self), peer) });
        }
        let (place, turn) = oneshot::channel();
        state.queue.push_back(place);
        drop(state);
        Asked::Queued(Box::pin(Arc::clone(self).turn(turn, Counted(Arc::clone(self), peer))))
    }

    /// Takes the places of answers that are not taken by their clients.
    fn reclaim<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let now = Instant::now();
        while let Some(oldest) = state.sending.first_entry()
            && now.saturating_duration_since(oldest.get().0) >= SENT_WITHIN
        {
            let (_, peer) = oldest.remove();
            state.leave(peer);
            state.inside -= 1;
        }
        self.let_in(state)
    }

    /// Those whose turn it is.
    fn let_in<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.inside < state.limit
            && let Some(place) = state.queue.pop_front()
        {
            state.inside += 1;
            // One that is gone gives its slot back, which takes the lock.
            drop(state);
            drop(place.send(Slot(Some(Arc::clone(self)))));
            state = self.lock();
        }
        self.count(&state);
        state
    }

    async fn turn(self: Arc<Self>, turn: oneshot::Receiver<Slot>, counted: Counted) -> Result<Permit, Problem> {
        match tokio::time::timeout(self.limits.waits_for, turn).await {
            Ok(Ok(slot)) => Ok(Permit { slot, counted }),
            Ok(Err(_)) | Err(_) => Err(self.refused()),
        }
    }

    fn count(&self, state: &State) {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        self.figures.inside.set(state.inside as f64);
    }

    fn refused(&self) -> Problem {
        self.figures.shed.increment(1);
        let detail = "too many requests of this kind are in flight; try again after the given time, with the same Idempotency-Key";
        let after = resilience::retry_after(self.limits.retry_after, &*self.ids);
        Problem::unavailable("overloaded", detail, after).with("class", json!(self.class))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Whoever has gone while the slot was on its way sends it back, for the next one.
        while let Some(shared) = self.0.take() {
            let mut state = shared.lock();
            let next = if state.inside <= state.limit { state.queue.pop_front() } else { None };
            let Some(place) = next else {
                state.inside -= 1;
                shared.count(&state);
                return;
            };
            drop(state);
            if let Err(mut back) = place.send(Slot(Some(shared))) {
                self.0 = back.0.take();
            }
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.lock().leave(self.1);
    }
}

impl Permit {
    /// The answer is there, and goes out.
    pub(super) fn sending(mut self) -> Option<Sending> {
        let shared = self.slot.0.take()?;
        let mut state = shared.lock();
        state.last_sending += 1;
        let id = state.last_sending;
        let peer = self.counted.1;
        // Counted on: what is dropped with the permit counts one less.
        *state.peers.entry(peer).or_default() += 1;
        state.sending.insert(id, (Instant::now(), peer));
        drop(state);
        Some(Sending(shared, id))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let Some((_, peer)) = state.sending.remove(&self.1) else { return };
        state.leave(peer);
        drop(state);
        drop(Slot(Some(Arc::clone(&self.0))));
    }
}

impl State {
    /// How many of the peer are inside or wait.
    fn of(&self, peer: Peer) -> usize {
        self.peers.get(&peer).copied().unwrap_or_default()
    }

    fn leave(&mut self, peer: Peer) {
        if let Some(count) = self.peers.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.peers.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
#[path = "bulkhead/tests.rs"]
mod tests;
