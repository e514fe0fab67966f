//! Owns the stage of one request: outside, while its body is received; in the queue of its
//! bulkhead; inside; or aside, while it waits for something that is no work of this process. Must
//! never let a request work that is not inside.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::bulkhead::{Bulkhead, Entry, Permit, Turn};
use super::pace::{Pace, Reception};
use super::peer::Peer;
use crate::problem::Problem;

/// Request extension: the admission of this request, for a handler that has to wait. Clones share
/// it.
#[derive(Clone)]
pub struct Admission(Arc<Ticket>);

struct Ticket {
    bulkhead: Bulkhead,
    peer: Peer,
    /// Its stage, and since when there was nothing more to be received of it.
    held: Mutex<(Stage, Instant)>,
}

enum Stage {
    /// Its handler has not asked for the body, or has dropped it.
    Outside,
    Receiving(Reception),
    /// Its turn is awaited; whether it was inside before.
    Queued(Turn, bool),
    /// Since when; `None`: it has been aside meanwhile, so that how long it took says nothing.
    Inside(Permit, Option<Instant>),
    Aside,
    Refused(Problem),
    Answered,
}

/// What a request owes, whose handler cannot go on.
pub(super) enum Owed {
    Nothing,
    /// It works, or waits, and has not asked for its place.
    Entry,
    /// The answer: it was refused.
    Refusal(Problem),
}

/// Why a request ends before its answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Late {
    Body,
    Answer,
}

impl Admission {
    pub(super) fn new(bulkhead: Bulkhead, peer: Peer) -> Self {
        Self(Arc::new(Ticket {
            bulkhead,
            peer,
            held: Mutex::new((Stage::Outside, Instant::now())),
        }))
    }

    /// Who sent the request.
    pub fn peer(&self) -> Peer {
        self.0.peer
    }

    /// Waits without the permit of this request, and takes one again afterwards. For a wait that
    /// others bound: for a position, for an event, for another process.
    pub async fn while_waiting<T>(&self, wait: impl Future<Output = T>) -> Result<T, Problem> {
        self.while_waiting_unless(wait, |_| false).await
    }

    /// The same, but none is taken again after what is the answer already: it would be refused for
    /// want of a permit, though it is there.
    pub async fn while_waiting_unless<T>(
        &self,
        wait: impl Future<Output = T>,
        is_answer: impl FnOnce(&T) -> bool,
    ) -> Result<T, Problem> {
        let Some(leave) = Leave::begin(self) else { return Ok(wait.await) };
        let waited = wait.await;
        if !is_answer(&waited) {
            leave.end().await?;
        }
        Ok(waited)
    }

    /// Until the request is inside. A refusal is final.
    pub(super) fn poll_enter(&self, cx: &mut Context<'_>) -> Poll<Result<(), Problem>> {
        let mut held = self.lock();
        if let Stage::Outside | Stage::Receiving(_) = held.0 {
            let now = Instant::now();
            held.1 = now;
            held.0 = match self.0.bulkhead.ask(self.0.peer) {
                Ok(Entry::Inside(permit)) => Stage::Inside(permit, Some(now)),
                Ok(Entry::Queued(turn)) => Stage::Queued(turn, false),
                Err(problem) => Stage::Refused(problem),
            };
        }
        if let Stage::Queued(turn, came_back) = &mut held.0 {
            let since = if *came_back { None } else { Some(Instant::now()) };
            held.0 = match ready!(turn.as_mut().poll(cx)) {
                Ok(permit) => Stage::Inside(permit, since),
                Err(problem) => Stage::Refused(problem),
            };
        }
        match &held.0 {
            Stage::Refused(problem) => Poll::Ready(Err(problem.clone())),
            _ => Poll::Ready(Ok(())),
        }
    }

    pub(super) fn refuse(&self, problem: Problem) {
        self.lock().0 = Stage::Refused(problem);
    }

    /// Notes that so much more of the body is here.
    pub(super) fn received(&self, bytes: usize) {
        let mut held = self.lock();
        let begun = held.1;
        match &mut held.0 {
            Stage::Receiving(reception) => reception.received += bytes,
            stage @ Stage::Outside => {
                *stage = Stage::Receiving(Reception { begun, received: bytes })
            }
            _ => {}
        }
    }

    /// The handler reads no more of the body, or waits no more for its turn: it has to ask.
    pub(super) fn stop_receiving(&self) {
        let mut held = self.lock();
        if let Stage::Receiving(_) | Stage::Queued(..) = held.0 {
            held.0 = Stage::Outside;
        }
    }

    pub(super) fn owed(&self) -> Owed {
        match &self.lock().0 {
            Stage::Outside => Owed::Entry,
            Stage::Refused(problem) => Owed::Refusal(problem.clone()),
            _ => Owed::Nothing,
        }
    }

    /// Whether it is too late for its body or for its answer, and else when to look again.
    pub(super) fn look(
        &self,
        now: Instant,
        pace: &Pace,
        answer_within: Duration,
    ) -> Result<Instant, Late> {
        let held = self.lock();
        match &held.0 {
            Stage::Receiving(reception) => reception.look(now, pace).ok_or(Late::Body),
            Stage::Outside => Ok(now + pace.look_every()),
            _ if now >= held.1 + answer_within => Err(Late::Answer),
            _ => Ok(held.1 + answer_within),
        }
    }

    /// The permit, for as long as the answer takes to be sent. `worked`: how long it took tells how
    /// busy we are.
    pub(super) fn answered(&self, worked: bool) -> Option<Permit> {
        let stage = std::mem::replace(&mut self.lock().0, Stage::Answered);
        let Stage::Inside(permit, since) = stage else { return None };
        if let Some(since) = since.filter(|_| worked) {
            let now = Instant::now();
            self.0.bulkhead.answered(now, now - since);
        }
        Some(permit)
    }

    fn lock(&self) -> MutexGuard<'_, (Stage, Instant)> {
        self.0.held.lock()
    }
}

/// A request that is aside. Dropped before it has come back, it is outside.
struct Leave<'a>(&'a Admission);

impl<'a> Leave<'a> {
    fn begin(admission: &'a Admission) -> Option<Self> {
        let mut held = admission.lock();
        if !matches!(held.0, Stage::Inside(..)) {
            return None;
        }
        held.0 = Stage::Aside;
        drop(held);
        Some(Self(admission))
    }

    async fn end(self) -> Result<(), Problem> {
        let Ticket { bulkhead, peer, .. } = &*self.0.0;
        self.0.lock().0 = match bulkhead.ask_again(*peer) {
            Entry::Inside(permit) => Stage::Inside(permit, None),
            Entry::Queued(turn) => Stage::Queued(turn, true),
        };
        let entered = std::future::poll_fn(|cx| self.0.poll_enter(cx)).await;
        if entered.is_err() {
            // Its handler hears of it, and knows more to say than that: what became of the request
            // before.
            self.0.lock().0 = Stage::Outside;
        }
        entered
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut held = self.0.lock();
        if let Stage::Aside | Stage::Queued(..) = held.0 {
            held.0 = Stage::Outside;
        }
    }
}

#[cfg(test)]
#[path = "admission/tests.rs"]
mod tests;
