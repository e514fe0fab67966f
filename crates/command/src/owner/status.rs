//! How the partitions stand that are owned here: the live state that `GET /admin/owners` shows, and
//! each term for the history in the `owners` topic. Told by supervisors and actors; must never
//! decide anything.

use std::{collections::BTreeMap, sync::Arc};

use highwater_protocol::time::Micros;
use highwater_runtime::clock::Clock;
use parking_lot::{Mutex, MutexGuard, RwLock};
use serde::Serialize;
use uuid::Uuid;

use super::{announcements::Announcements, assignment::Right, term::Term};

/// Why an owner waits: the log has times that its clock does not reach.
pub const TIMES_AHEAD: &str = "times-ahead";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Reads the log, and fences.
    TakingOver,
    Serving,
    /// An outcome is unknown: reads to the end, and fences under a new writer.
    Settling,
    Draining,
    /// Lost, or not to be had: tried again soon.
    Waiting,
}

/// What can be measured; all of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// The end of what was read.
    pub offset: u64,
    /// Records that `snapshots` has not covered yet.
    pub tail: u64,
    pub in_flight: usize,
    pub unanswered: usize,
    /// In memory.
    pub aggregates: usize,
    pub filter_bytes: usize,
    pub queue: CommandQueue,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CommandQueue {
    /// Every queued command below it has its outcome.
    pub drained: u64,
    /// Taken from it and not confirmed.
    pub open: usize,
    /// 1: it is read.
    pub served: bool,
}

/// A partition as it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Live {
    pub category: &'static str,
    pub partition: u32,
    pub phase: Phase,
    pub right: Right,
    pub why: String,
    pub epoch: Option<u64>,
    pub writer: Option<Uuid>,
    /// Of this epoch, or of the phase before there is one.
    pub since: String,
    #[serde(flatten)]
    pub figures: Figures,
}

/// One partition. Shared by its supervisor, its actor, and its readers.
pub struct Status {
    announcements: Arc<Announcements>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    live: Live,
    term: Option<Term>,
}

impl Status {
    pub fn new(
        announcements: Arc<Announcements>,
        clock: Arc<dyn Clock>,
        category: &'static str,
        partition: u32,
        right: Right,
        why: &str,
    ) -> Self {
        let (phase, since) = (Phase::TakingOver, text(clock.now()));
        let (epoch, writer, figures) = (None, None, Figures::default());
        let live = Live {
            category,
            partition,
            phase,
            right,
            why: why.to_owned(),
            epoch,
            writer,
            since,
            figures,
        };
        Self { announcements, clock, state: Mutex::new(State { live, term: None }) }
    }

    pub fn live(&self) -> Live {
        self.lock().live.clone()
    }

    /// Own epoch, if there was a valid fence since the last end.
    pub fn epoch(&self) -> Option<u64> {
        self.lock().term.as_ref().map(|term| term.epoch)
    }

    pub fn right(&self, right: Right) {
        self.lock().live.right = right;
    }

    /// The partition is about to be taken, again or for the first time.
    pub fn taking_over(&self) {
        let mut state = self.lock();
        state.live.phase = Phase::TakingOver;
        state.live.since = text(self.clock.now());
    }

    pub fn phase(&self, phase: Phase) {
        self.lock().live.phase = phase;
    }

    pub fn measure(&self, figures: Figures) {
        self.lock().live.figures = figures;
    }

    /// An own fence is valid. A second one of the same actor follows an unknown outcome.
    pub fn serving(&self, epoch: u64, writer: Uuid) {
        let mut state = self.lock();
        if let Some(before) = state.term.take() {
            state.live.why = OUTCOME_UNKNOWN.to_owned();
            self.close(&state.live, before, OUTCOME_UNKNOWN);
        }
        let since = text(self.clock.now());
        let (instance, url, why) =
            (self.announcements.instance, self.announcements.url.clone(), state.live.why.clone());
        let term = Term {
            epoch,
            writer,
            instance,
            url,
            why,
            since: since.clone(),
            until: None,
            ended: None,
        };
        self.announcements.note(state.live.category, state.live.partition, &term);
        state.term = Some(term);
        state.live.epoch = Some(epoch);
        state.live.writer = Some(writer);
        state.live.since = since;
        state.live.phase = Phase::Serving;
    }

    /// The actor has ended; what comes next here comes because of that.
    pub fn ended(&self, reason: &str) {
        let mut state = self.lock();
        if let Some(before) = state.term.take() {
            self.close(&state.live, before, reason);
        }
        reason.clone_into(&mut state.live.why);
        state.live.epoch = None;
        state.live.writer = None;
        state.live.since = text(self.clock.now());
        state.live.phase = Phase::Waiting;
    }

    fn close(&self, live: &Live, mut term: Term, reason: &str) {
        term.until = Some(text(self.clock.now()));
        term.ended = Some(reason.to_owned());
        self.announcements.note(live.category, live.partition, &term);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

const OUTCOME_UNKNOWN: &str = "outcome-unknown";

fn text(micros: i64) -> String {
    Micros(micros).to_text()
}

/// All partitions that are owned here, or about to be.
#[derive(Default)]
pub struct Statuses(RwLock<BTreeMap<(&'static str, u32), Arc<Status>>>);

impl Statuses {
    pub fn insert(&self, category: &'static str, partition: u32, status: Arc<Status>) {
        self.0.write().insert((category, partition), status);
    }

    /// Takes out this very one, not a later one.
    pub fn remove(&self, category: &'static str, partition: u32, status: &Arc<Status>) {
        let mut all = self.0.write();
        if all.get(&(category, partition)).is_some_and(|present| Arc::ptr_eq(present, status)) {
            all.remove(&(category, partition));
        }
    }

    /// Names partitions that are not served because their last event is of the future. For health.
    pub fn times(&self) -> Result<(), String> {
        let ahead = |live: &Live| live.why == TIMES_AHEAD && live.epoch.is_none();
        let named = self
            .all()
            .into_iter()
            .filter(ahead)
            .map(|live| format!("{}/{}", live.category, live.partition));
        let named = named.collect::<Vec<_>>().join(", ");
        if named.is_empty() {
            return Ok(());
        }
        Err(format!(
            "last events are dated ahead of this machine's clock, so these are not served (the log \
             says more): {named}"
        ))
    }

    pub fn all(&self) -> Vec<Live> {
        self.0.read().values().map(|status| status.live()).collect()
    }
}
