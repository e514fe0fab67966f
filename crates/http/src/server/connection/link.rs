//! Owns what is known of one connection: its open exchanges, what of their answers is unsent, and
//! since when it waits for what. Its transport, its exchanges, its task and the room share it. Says
//! when it must end; never ends it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use hyper::body::Incoming;
use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::super::settings::HttpSettings;
use super::heads::Progress;

/// What the server wants of a connection; the higher wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(in super::super) enum Demand {
    Serve,
    /// Answer what is open, take nothing new.
    Leave,
    /// The same, and another one waits for the place: what crosses this word on its way has a
    /// moment, and no more.
    GiveWay,
    /// End at once.
    End,
}

/// What is due on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before this.
    Look(Instant),
    Leave(&'static str),
    End(&'static str),
}

pub(in super::super) struct Link {
    pub(in super::super) peer: SocketAddr,
    /// Beyond the limits: only health is answered here.
    pub(in super::super) health_only: bool,
    pub(in super::super) opened: Instant,
    /// What it asked last is a health route.
    asks_health: AtomicBool,
    /// Of the whole process.
    unsent: Arc<AtomicUsize>,
    demand: AtomicU8,
    /// The deadlines that the task looks at next have changed.
    pub(super) look_soon: AtomicBool,
    pub(super) task: AtomicWaker,
    state: Mutex<State>,
}

struct State {
    /// By slot; HTTP/1 uses one.
    exchanges: Vec<Option<Exchange>>,
    open: usize,
    /// The last exchange ended, or the connection was opened.
    quiet_since: Instant,
    /// A head is awaited or unfinished.
    head_since: Option<Instant>,
    /// Bytes came behind the open request of an HTTP/1 connection.
    read_ahead: bool,
    /// The transport takes nothing.
    blocked_since: Option<Instant>,
    half_closed_since: Option<Instant>,
    /// An exchange ended before the body of its request did.
    unread: bool,
    /// What a handler left of a body.
    left: Option<Incoming>,
    /// Given back by the transport at its end.
    stream: Option<TcpStream>,
}

/// How long a body that has come may take to be read, before the end of what its client sends
/// counts as the body's.
const REST_OF_BODY: Duration = Duration::from_millis(250);

/// So long the checks of a health route may take; a client that has no answer then does not take
/// it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// A request and its answer, until the answer's last byte is sent.
struct Exchange {
    references: u32,
    /// The request's body has not ended.
    receiving: bool,
    /// Bytes that its answer holds in memory until the last of them is sent.
    held: usize,
    /// Pieces of it that the parser has and the transport has not taken.
    pieces: u32,
    /// The transport took a piece, or got the first.
    progressed: Instant,
}

impl Link {
    pub(in super::super) fn new(
        peer: SocketAddr,
        health_only: bool,
        unsent: Arc<AtomicUsize>,
    ) -> Self {
        let now = Instant::now();
        let state = State {
            exchanges: Vec::new(),
            open: 0,
            quiet_since: now,
            head_since: Some(now),
            read_ahead: false,
            blocked_since: None,
            half_closed_since: None,
            unread: false,
            left: None,
            stream: None,
        };
        Self {
            peer,
            health_only,
            opened: now,
            asks_health: AtomicBool::new(false),
            unsent,
            demand: AtomicU8::new(Demand::Serve as u8),
            look_soon: AtomicBool::new(false),
            task: AtomicWaker::new(),
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(in super::super) fn demand(&self, demand: Demand) {
        self.demand.fetch_max(demand as u8, Ordering::AcqRel);
        self.task.wake();
    }

    pub(in super::super) fn is_demanded(&self, demand: Demand) -> bool {
        self.demand.load(Ordering::Acquire) >= demand as u8
    }

    #[cfg(test)]
    pub(in super::super) fn open_for_tests(self: &Arc<Self>) -> Ticket {
        Ticket::open(self, false, true)
    }

    pub(in super::super) fn asks_health(&self, asks: bool) {
        self.asks_health.store(asks, Ordering::Relaxed);
    }

    /// Whether its place among those for health is one that it needs.
    pub(in super::super) fn needs_health(&self, now: Instant) -> bool {
        self.asks_health.load(Ordering::Relaxed) && now < self.opened + ANSWERED_WITHIN
    }

    /// Since when nothing is open here.
    pub(in super::super) fn quiet_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.open == 0).then(|| state.head_since.unwrap_or(state.quiet_since))
    }

    /// Since when the slowest answer has stood still.
    pub(in super::super) fn stalled_since(&self) -> Option<Instant> {
        self.lock().stalled_since()
    }

    /// What all answers here hold in memory.
    pub(in super::super) fn held_bytes(&self) -> usize {
        self.lock().exchanges.iter().flatten().map(|exchange| exchange.held).sum()
    }

    pub(super) fn due(&self, now: Instant, settings: &HttpSettings) -> Due {
        let state = self.lock();
        let stalled = state.stalled_since();
        let gone = state.half_closed_since.filter(|_| stalled.is_none());
        let ends = [
            (state.head_since, settings.head_timeout(), "head"),
            (gone, settings.half_closed(), "gone"),
            (state.blocked_since, settings.write_timeout(), "stalled"),
            (stalled, settings.write_timeout(), "stalled"),
        ];
        // Whatever begins after now is due no sooner than the shortest of the limits.
        let shortest =
            settings.head_timeout().min(settings.write_timeout()).min(settings.idle_timeout());
        let mut next = now + shortest.max(Duration::from_millis(1));
        if let Some(since) = state.half_closed_since.filter(|_| state.is_receiving()) {
            let told = since + REST_OF_BODY;
            next = if told > now { next.min(told) } else { next };
        }
        for (since, limit, reason) in ends {
            let Some(at) = since.map(|since| since + limit) else { continue };
            if at <= now {
                return Due::End(reason);
            }
            next = next.min(at);
        }
        if state.open == 0 && state.head_since.is_none() {
            let at = state.quiet_since + settings.idle_timeout();
            if at <= now {
                return Due::Leave("idle");
            }
            next = next.min(at);
        }
        Due::Look(next)
    }

    /// A head is awaited or unfinished, and nothing is open beside it.
    pub(super) fn has_only_unfinished_head(&self) -> bool {
        let state = self.lock();
        state.open == 0 && state.head_since.is_some()
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.lock().open == 0
    }

    /// The client may still be sending something that is not read: a close now could reset the
    /// connection under the answer.
    pub(super) fn owes_reading(&self) -> bool {
        let state = self.lock();
        state.half_closed_since.is_none() && (state.head_since.is_some() || state.unread)
    }

    /// Bytes came.
    pub(super) fn received(&self, seen: Progress) {
        let mut state = self.lock();
        match seen {
            Progress::Frames { ended, within } => {
                if ended {
                    state.head_since = None;
                }
                if within {
                    state.head_since.get_or_insert_with(Instant::now);
                }
            }
            Progress::Bytes if state.open == 0 => {
                state.head_since.get_or_insert_with(Instant::now);
            }
            Progress::Bytes => state.read_ahead = !state.is_receiving(),
        }
    }

    /// The client sends no more. Says whether that is to be kept from the parser, because answers
    /// are awaited all the same.
    pub(super) fn half_closed(&self) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        let since = *state.half_closed_since.get_or_insert(now);
        if since == now {
            self.look_soon.store(true, Ordering::Release);
        }
        // What a handler has not read of a body may lie in the parser: only then it is short when
        // nothing follows.
        state.open > 0 && (!state.is_receiving() || now < since + REST_OF_BODY)
    }

    pub(super) fn blocked(&self, blocked: bool) {
        self.lock().blocked_since = blocked.then(Instant::now);
    }

    pub(super) fn give_back(&self, stream: TcpStream) {
        self.lock().stream = Some(stream);
    }

    pub(super) fn take_stream(&self) -> Option<TcpStream> {
        self.lock().stream.take()
    }

    pub(super) fn leave_body(&self, body: Incoming) {
        self.lock().left = Some(body);
    }

    pub(super) fn take_left(&self) -> Option<Incoming> {
        self.lock().left.take()
    }
}

impl State {
    fn is_receiving(&self) -> bool {
        self.exchanges.iter().flatten().any(|exchange| exchange.receiving)
    }

    fn stalled_since(&self) -> Option<Instant> {
        self.exchanges
            .iter()
            .flatten()
            .filter(|exchange| exchange.pieces > 0)
            .map(|exchange| exchange.progressed)
            .min()
    }

    fn exchange(&mut self, slot: usize) -> Option<&mut Exchange> {
        self.exchanges.get_mut(slot)?.as_mut()
    }
}

/// A reference to an exchange, which is open until the last one is dropped.
pub(in super::super) struct Ticket {
    link: Arc<Link>,
    slot: usize,
}

impl Ticket {
    /// A head is complete.
    pub(super) fn open(link: &Arc<Link>, receiving: bool, http1: bool) -> Self {
        let exchange =
            Exchange { references: 1, receiving, held: 0, pieces: 0, progressed: Instant::now() };
        let mut state = link.lock();
        if http1 {
            (state.head_since, state.read_ahead) = (None, false);
        }
        state.open += 1;
        let slot = match state.exchanges.iter().position(Option::is_none) {
            Some(slot) => slot,
            None => {
                state.exchanges.push(None);
                state.exchanges.len() - 1
            }
        };
        state.exchanges[slot] = Some(exchange);
        drop(state);
        Self { link: Arc::clone(link), slot }
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    fn with<T>(&self, change: impl FnOnce(&mut Exchange) -> T) -> Option<T> {
        self.link.lock().exchange(self.slot).map(change)
    }

    /// The request's body has ended.
    pub(super) fn received(&self) {
        self.with(|exchange| exchange.receiving = false);
    }

    pub(super) fn is_receiving(&self) -> bool {
        self.with(|exchange| exchange.receiving).unwrap_or(false)
    }

    /// The answer holds at least so many bytes in memory, from now until its end.
    pub(super) fn hold(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let more = self.with(|exchange| {
            let more = bytes.saturating_sub(exchange.held);
            exchange.held += more;
            more
        });
        self.link.unsent.fetch_add(more.unwrap_or(0), Ordering::Relaxed);
    }

    /// The parser has a piece of the answer.
    pub(super) fn piece_out(&self) {
        self.with(|exchange| {
            if exchange.pieces == 0 {
                exchange.progressed = Instant::now();
            }
            exchange.pieces += 1;
        });
    }

    /// The transport has taken it, or never will.
    pub(super) fn piece_gone(&self) {
        self.with(|exchange| {
            exchange.pieces -= 1;
            exchange.progressed = Instant::now();
        });
    }
}

impl Clone for Ticket {
    fn clone(&self) -> Self {
        self.with(|exchange| exchange.references += 1);
        Self { link: Arc::clone(&self.link), slot: self.slot }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        let Some(exchange) = state.exchange(self.slot) else { return };
        exchange.references -= 1;
        if exchange.references > 0 {
            return;
        }
        self.link.unsent.fetch_sub(exchange.held, Ordering::Relaxed);
        state.unread |= exchange.receiving;
        state.exchanges[self.slot] = None;
        state.open -= 1;
        if state.open > 0 {
            return;
        }
        state.quiet_since = Instant::now();
        if std::mem::take(&mut state.read_ahead) {
            state.head_since = Some(state.quiet_since);
        }
        let half_closed = state.half_closed_since.is_some();
        drop(state);
        if half_closed {
            // The parser was not told, and asks again only when it is woken.
            self.link.task.wake();
        }
    }
}
