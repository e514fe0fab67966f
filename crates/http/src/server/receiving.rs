//! Owns bodies while they are received: how slowly they may come, and how much of them this process
//! holds. A request takes its permit when its body is complete, so that a client that sends slowly,
//! or not at all, keeps no other out.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use http_body::{Frame, SizeHint};
use metrics::{Counter, Gauge};
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;

use super::admission::Admission;
use super::peer::{Peer, Share};
use crate::problem::Problem;
use highwater_runtime::clock::Ids;
use highwater_runtime::resilience;

/// Bytes of bodies that are not complete, in this process.
#[derive(Clone)]
pub(super) struct Budget(Arc<BudgetState>);

struct BudgetState {
    limit: usize,
    share: Share,
    retry_after: Duration,
    ids: Arc<dyn Ids>,
    bytes: Mutex<Bytes>,
    receiving: Gauge,
    shed: Counter,
}

#[derive(Default)]
struct Bytes {
    all: usize,
    peers: BTreeMap<Peer, usize>,
}

impl Budget {
    pub(super) fn new(
        limit: usize,
        share: Share,
        retry_after: Duration,
        ids: Arc<dyn Ids>,
    ) -> Self {
        let receiving = metrics::gauge!("highwater_http_receiving_bytes");
        let shed = metrics::counter!("highwater_http_shed_total", "class" => CLASS);
        Self(Arc::new(BudgetState {
            limit,
            share,
            retry_after,
            ids,
            bytes: Mutex::default(),
            receiving,
            shed,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.0.bytes.lock()
    }

    fn spend(&self, peer: Peer, bytes: usize) -> Result<(), Problem> {
        let mut spent = self.lock();
        let all = spent.all.saturating_add(bytes);
        let of_the_peer = spent.peers.get(&peer).copied().unwrap_or_default().saturating_add(bytes);
        if all > self.0.limit || of_the_peer > self.0.share.of(self.0.limit) {
            drop(spent);
            return Err(self.refused());
        }
        spent.all = all;
        spent.peers.insert(peer, of_the_peer);
        self.count(&spent);
        Ok(())
    }

    fn give_back(&self, peer: Peer, bytes: usize) {
        let mut spent = self.lock();
        spent.all -= bytes;
        if let Some(of_the_peer) = spent.peers.get_mut(&peer) {
            *of_the_peer -= bytes;
            if *of_the_peer == 0 {
                spent.peers.remove(&peer);
            }
        }
        self.count(&spent);
    }

    fn count(&self, spent: &Bytes) {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        self.0.receiving.set(spent.all as f64);
    }

    fn refused(&self) -> Problem {
        self.0.shed.increment(1);
        let detail = "too much is being received from others; try again after the given time, with \
                      the same Idempotency-Key";
        let after = resilience::retry_after(self.0.retry_after, &*self.0.ids);
        Problem::unavailable("overloaded", detail, after).with("class", json!(CLASS))
    }
}

/// What refusals and metrics call the bodies that are not complete.
const CLASS: &str = "bodies";

/// The body of a request. Its end is shown when the request is inside.
pub(super) struct Incoming {
    body: Body,
    admission: Admission,
    budget: Budget,
    /// What is beyond it is not kept by the reader.
    limit: usize,
    received: usize,
    spent: usize,
    ended: bool,
}

impl Incoming {
    pub(super) fn new(body: Body, admission: Admission, budget: Budget, limit: usize) -> Self {
        Self { body, admission, budget, limit, received: 0, spent: 0, ended: false }
    }

    /// More has come, and more is to come unless the body ends with it.
    fn keep(&mut self, bytes: usize) -> Result<(), Problem> {
        self.admission.received(bytes);
        self.received = self.received.saturating_add(bytes);
        let kept = self.received.min(self.limit);
        // What is whole at once is never waited with: the common case.
        if kept > self.spent && !self.body.is_end_stream() {
            self.budget.spend(self.admission.peer(), kept - self.spent)?;
            self.spent = kept;
        }
        Ok(())
    }

    fn give_back(&mut self) {
        let spent = std::mem::take(&mut self.spent);
        if spent > 0 {
            self.budget.give_back(self.admission.peer(), spent);
        }
    }
}

impl HttpBody for Incoming {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, axum::Error>>> {
        let this = &mut *self;
        while !this.ended {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending => {
                    this.admission.received(0);
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let Err(problem) = this.keep(frame.data_ref().map_or(0, |data| data.len()))
                    else {
                        return Poll::Ready(Some(Ok(frame)));
                    };
                    this.admission.refuse(problem);
                    return Poll::Ready(Some(Err(axum::Error::new(RefusedBefore))));
                }
                Poll::Ready(None) => this.ended = true,
                broken @ Poll::Ready(Some(Err(_))) => return broken,
            }
        }
        // One that is too large is refused by its reader, and needs no place for that.
        if this.received <= this.limit && ready!(this.admission.poll_enter(cx)).is_err() {
            return Poll::Ready(Some(Err(axum::Error::new(RefusedBefore))));
        }
        this.give_back();
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        // A reader that believed it would not come to the end, where the place is taken.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.give_back();
        self.admission.stop_receiving();
    }
}

/// The answer is the refusal, whatever is made of this.
#[derive(Debug, thiserror::Error)]
#[error("the request was refused while its body was received")]
struct RefusedBefore;
