//! Runners that take turns, one operation of the store at a time, as it was chosen; and what
//! happens to them meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use highwater_log::{Membership, MembershipEvent, Partition, log::CommitOffsets};
use highwater_runtime::resilience::Backoff;
use tokio::{sync::mpsc, time::Instant};

use super::{
    super::{
        Assignment, Key, Limits, Progress, Projection, Runner, Source, Step, TopicPartition, Topics,
    },
    alone::Alone,
    choices::Choices,
    history::{History, Shelf},
    memory::{Budget, Memory, Tables, Tally, Tx},
};

/// So long nothing happens at a time.
const WHILE: Duration = Duration::from_millis(100);
/// No run needs as many turns.
const MOST_TURNS: usize = 5_000;
/// So often no runner has anything to do before the end: every comparison of checkpoints and every
/// wait was over.
const CALM: usize = 8;
/// Where comparisons may fail.
const LONG_CALM: usize = 20;
/// By then nothing is handed off any more.
const HANDED_OFF: usize = 6;

/// What a run begins with and what may happen in it.
#[derive(Clone, Debug)]
pub struct Play {
    pub histories: Vec<Arc<History>>,
    pub queues: Vec<Arc<History>>,
    pub projections: Vec<&'static str>,
    pub of_queues: Vec<&'static str>,
    pub tables: Tables,
    pub runners: usize,
    pub batch_events: usize,
    pub batch_bytes: usize,
    pub chunk: usize,
    /// So many records of each partition are there when it begins; the rest comes by and by.
    pub visible: usize,
    pub budget: Budget,
    pub events: Events,
    /// What a projection cannot apply, by its first offset.
    pub poison: Vec<(&'static str, u64)>,
    /// What the process does not survive, in the same way.
    pub killers: Vec<(&'static str, u64)>,
    pub parked_most: u64,
}

/// How often each may happen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events {
    /// One runner has to wait although it could go on.
    pub switches: usize,
    pub falls: usize,
    pub moves: usize,
    pub stops: usize,
    pub locks: usize,
    pub pauses: usize,
    /// Command queues lose their first records.
    pub forgets: usize,
}

/// A run that went wrong, or its end.
pub struct Played {
    pub choices: Choices,
    pub wrong: Option<String>,
    pub turns: usize,
}

enum Seat {
    Between(Box<Runner<Memory>>),
    Stepping(BoxFuture<'static, (Box<Runner<Memory>>, Step)>),
}

struct Player {
    seat: Option<Seat>,
    idle: bool,
    changes: mpsc::UnboundedSender<MembershipEvent>,
    progress: Progress,
    notes: Notes,
    has: bool,
}

/// When the log's own lag tools were told, and what.
pub type Notes = Arc<Mutex<Vec<(Instant, Vec<(u32, u64)>)>>>;

struct Stage<'a> {
    play: &'a Play,
    shelf: Shelf,
    store: Memory,
    players: Vec<Player>,
    left: Events,
    turn: usize,
}

impl Play {
    /// To its end, on a runtime whose clock stands still.
    pub fn run(&self, choices: Choices) -> Played {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let shelf = self.shelf();
        let store = Memory::new(&shelf, self.tables.clone(), choices, self.budget);
        store.server().poison.extend(self.poison.iter().copied());
        let mut turns = 0;
        let wrong = runtime.block_on(tokio::task::unconstrained(async {
            let players =
                (0..self.runners).map(|seat| self.player(&shelf, store.at_seat(seat))).collect();
            let mut stage = Stage {
                play: self,
                shelf,
                store: store.clone(),
                players,
                left: self.events,
                turn: 0,
            };
            let wrong = stage.perform(&mut turns).await;
            wrong.err()
        }));
        let choices = std::mem::take(&mut store.server().choices);
        Played { choices, wrong, turns }
    }

    fn player(&self, shelf: &Shelf, store: Memory) -> Player {
        let (changes, events) = mpsc::unbounded_channel();
        let notes = Notes::default();
        let noted = notes.clone();
        let commit: CommitOffsets = Arc::new(move |offsets| {
            let told =
                offsets.iter().map(|(partition, offset)| (partition.index, *offset)).collect();
            noted.lock().expect("no panic").push((Instant::now(), told));
        });
        let membership = Membership { events, leave: Box::new(|_| Box::pin(async {})), commit };
        let assignment = Assignment::new(membership, Topics::of("test", &["thing"]));
        let limits = Limits {
            batch_events: self.batch_events,
            batch_bytes: self.batch_bytes,
            backoff: Backoff {
                first: Duration::from_millis(50),
                longest: Duration::from_millis(200),
            },
            handoff: Duration::from_millis(300),
            verify_every: Duration::from_millis(300),
            parked_most: self.parked_most,
            ..Limits::default()
        };
        let projections = self
            .readers()
            .map(|(name, source)| Arc::new(Tally(name, source)) as Arc<dyn Projection<Tx>>)
            .collect();
        let id = store.next_runner();
        let log = Arc::new(shelf.clone());
        let runner = Runner::new(store, log, projections, assignment, limits, id);
        let progress = runner.progress();
        Player {
            seat: Some(Seat::Between(Box::new(runner))),
            idle: false,
            changes,
            progress,
            notes,
            has: false,
        }
    }

    /// One runner that has everything, for tests that step it themselves.
    pub fn alone(&self) -> Alone {
        let shelf = self.shelf();
        let store = Memory::new(&shelf, self.tables.clone(), Choices::first(), self.budget);
        store.server().poison.extend(self.poison.iter().copied());
        store.server().killers.extend(self.killers.iter().copied());
        let another = self.another(&shelf, &store);
        Alone { shelf, store, ..another }
    }

    /// Another runner on the same log and store.
    pub fn another(&self, shelf: &Shelf, store: &Memory) -> Alone {
        let Player { seat, changes, progress, notes, .. } = self.player(shelf, store.at_seat(1));
        let Some(Seat::Between(runner)) = seat else { panic!("it has not begun") };
        changes.send(MembershipEvent::Assigned(self.partitions())).expect("a runner");
        Alone {
            shelf: shelf.clone(),
            store: store.clone(),
            runner: *runner,
            progress,
            changes,
            notes,
        }
    }

    pub fn partitions(&self) -> Vec<Partition> {
        let all = |topic: &'static str, histories: &[Arc<History>]| {
            (0..)
                .zip(histories)
                .map(|(index, _)| Partition { topic: topic.into(), index })
                .collect::<Vec<_>>()
        };
        [all("test.thing.events", &self.histories), all("test.thing.commands", &self.queues)]
            .concat()
    }

    fn shelf(&self) -> Shelf {
        Shelf::new(&self.histories, &self.queues, self.visible, self.chunk)
    }

    fn readers(&self) -> impl Iterator<Item = (&'static str, Source)> {
        let of = |names: &[&'static str], source| {
            names.iter().map(|name| (*name, source)).collect::<Vec<_>>()
        };
        [of(&self.projections, Source::Events), of(&self.of_queues, Source::Commands)]
            .concat()
            .into_iter()
    }

    /// Every projection on every partition, with what lies there.
    pub fn keys(&self) -> Vec<(Key, Arc<History>)> {
        let of = |(projection, source)| {
            let histories = if source == Source::Events { &self.histories } else { &self.queues };
            let key = move |partition| Key {
                projection,
                topic_partition: TopicPartition { category: "thing".into(), partition, source },
            };
            (0..)
                .zip(histories)
                .map(|(partition, history)| (key(partition), history.clone()))
                .collect::<Vec<_>>()
        };
        self.readers().flat_map(of).collect()
    }

    /// Where every projection stands at the end.
    fn ends(&self) -> BTreeMap<Key, u64> {
        let end = |history: &History| *history.positions.keys().last().expect("a start");
        self.keys().into_iter().map(|(key, history)| (key, end(&history))).collect()
    }
}

impl Stage<'_> {
    async fn perform(&mut self, turns: &mut usize) -> Result<(), String> {
        for seat in 0..self.players.len() {
            self.assign(seat, true);
        }
        let (mut calm, enough) = (0, if self.play.budget.begins > 0 { LONG_CALM } else { CALM });
        while calm < enough {
            *turns += 1;
            if *turns > MOST_TURNS {
                return Err("there is no end".to_owned());
            }
            let before = self.store.server().tables.clone();
            if self.happens().await {
                calm = 0;
            } else {
                match self.whose_turn() {
                    Some(seat) => self.take_turn(seat),
                    None if self.shelf.grow(self.play.chunk) => self.wake(),
                    None => {
                        if calm == HANDED_OFF {
                            self.no_runner_knows_what_is_anothers()?;
                            // A runner that lost what it had has it again in the end.
                            (0..self.players.len()).for_each(|seat| self.assign(seat, true));
                        }
                        tokio::time::advance(WHILE).await;
                        self.wake();
                        calm += 1;
                    }
                }
            }
            if let Some(wrong) = self.store.server().wrong.take() {
                return Err(wrong);
            }
            if self.store.server().tables != before {
                calm = 0;
            }
        }
        self.look()
    }

    /// A runner that has nothing shows no lag.
    fn no_runner_knows_what_is_anothers(&self) -> Result<(), String> {
        let known = self
            .players
            .iter()
            .filter(|player| !player.has)
            .map(|player| player.progress.all())
            .find(|known| !known.is_empty());
        known.map_or(Ok(()), |known| Err(format!("a runner that has nothing believes {known:?}")))
    }

    /// At the end every runner has everything, and knows it.
    fn look(&self) -> Result<(), String> {
        let ends = self.play.ends();
        let stored: BTreeMap<Key, u64> = self
            .store
            .server()
            .tables
            .checkpoints
            .iter()
            .map(|(key, at)| (key.clone(), at.offset))
            .collect();
        if stored != ends {
            let halted: Vec<_> =
                self.players.iter().map(|player| player.progress.all_halted()).collect();
            return Err(format!(
                "the checkpoints are {stored:?} instead of {ends:?}; halted: {halted:?}"
            ));
        }
        for player in &self.players {
            if player.progress.all() != ends || !player.progress.all_halted().is_empty() {
                return Err(format!(
                    "a runner believes {:?}, halted {:?}",
                    player.progress.all(),
                    player.progress.all_halted()
                ));
            }
            let failing = player.progress.failing(Duration::ZERO);
            if !failing.is_empty() {
                return Err(format!("still failing: {failing:?}"));
            }
        }
        Ok(())
    }

    fn whose_turn(&mut self) -> Option<usize> {
        let mut server = self.store.server();
        let ready = |seat: usize| !self.players[seat].idle && server.can_go_on(seat);
        let others: Vec<usize> =
            (0..self.players.len()).filter(|seat| *seat != self.turn && ready(*seat)).collect();
        let (goes_on, mut ready) = (ready(self.turn), others);
        if goes_on {
            ready.insert(0, self.turn);
        }
        if ready.is_empty() || (goes_on && self.left.switches == 0) {
            return ready.first().copied();
        }
        let turn = ready[server.choices.of(ready.len())];
        self.left.switches -= usize::from(goes_on && turn != self.turn);
        self.turn = turn;
        Some(turn)
    }

    fn take_turn(&mut self, seat: usize) {
        let player = &mut self.players[seat];
        let mut stepping = match player.seat.take() {
            Some(Seat::Between(mut runner)) => async move {
                let step = runner.step().await;
                (runner, step)
            }
            .boxed(),
            Some(Seat::Stepping(stepping)) => stepping,
            None => return,
        };
        player.seat = Some(match (&mut stepping).now_or_never() {
            Some((runner, step)) => {
                player.idle = matches!(step, Step::Waiting | Step::CaughtUp);
                Seat::Between(runner)
            }
            None => Seat::Stepping(stepping),
        });
    }

    /// Something that is no runner's turn.
    async fn happens(&mut self) -> bool {
        let past = self.store.server().past.len();
        let falls = if self.left.falls > 0 { past } else { 0 };
        let Events { moves, stops, locks, pauses, forgets, .. } = self.left;
        let names: Vec<&'static str> = self.play.readers().map(|(name, _)| name).collect();
        let (moves, locks) = (moves.min(1) * self.players.len(), locks.min(1) * names.len());
        let kinds = [falls, moves, stops.min(1), locks, pauses.min(1), forgets.min(1)];
        let mut chosen = self.store.server().choices.rarely_of(1 + kinds.iter().sum::<usize>());
        if chosen == 0 {
            return false;
        }
        chosen -= 1;
        let kind = kinds
            .iter()
            .position(|many| {
                if chosen < *many {
                    true
                } else {
                    chosen -= many;
                    false
                }
            })
            .expect("one of them");
        match kind {
            0 => {
                self.left.falls -= 1;
                // The latest first.
                self.store.server().fall_back(past - 1 - chosen);
            }
            1 => {
                self.left.moves -= 1;
                self.assign(chosen, !self.players[chosen].has);
            }
            2 => {
                self.left.stops -= 1;
                self.shelf.stop();
                self.shelf.grow(1);
            }
            3 => {
                self.left.locks -= 1;
                let (name, attempts) = (names[chosen], 1 + self.store.server().choices.of(8));
                self.store.server().busy.insert(name, attempts);
            }
            4 => {
                self.left.pauses -= 1;
                tokio::time::advance(WHILE * 4).await;
            }
            _ => {
                self.left.forgets -= 1;
                let more = 1 + self.store.server().choices.of(4);
                self.shelf.forget(more as u64);
            }
        }
        self.wake();
        true
    }

    fn wake(&mut self) {
        self.players.iter_mut().for_each(|player| player.idle = false);
    }

    fn assign(&mut self, seat: usize, has: bool) {
        let (partitions, player) = (self.play.partitions(), &mut self.players[seat]);
        player.has = has;
        let event = if has {
            MembershipEvent::Assigned(partitions)
        } else {
            MembershipEvent::Revoked { partitions, lost: false }
        };
        player.changes.send(event).expect("a runner");
    }
}
