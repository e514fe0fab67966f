//! What happens, and what owners make of it.

use std::{collections::VecDeque, sync::Arc};

use highwater_protocol::{
    entry::Entry,
    writer::{Answer, AppendReport, Effect, Input, QueuedCommand, StepDown, Submission, Token},
};

use super::{
    Action, World,
    client::NOT_IN_LOG,
    kept::Kept,
    owner::{Load, Owner},
    small::{Does, Small},
};
use crate::setup::{Fault, Setup};

impl World {
    pub fn act(&mut self, setup: &Setup, action: Action) {
        self.happens(setup, action);
        if setup.reduced {
            self.reduce(setup);
        }
    }

    pub(super) fn happens(&mut self, setup: &Setup, action: Action) {
        match action {
            Action::Start(i) => self.start(setup, i),
            Action::Crash(i) => {
                self.spent.crashes += 1;
                self.client.change(|client| client.gives_up(i));
                self.end(i);
            }
            Action::Stop(i) => {
                self.spent.stops += 1;
                self.step(setup, i, Input::Stop);
            }
            Action::Tick(i) => {
                self.spent.ticks += 1;
                let Some(seconds) = self.change(i, |owner| {
                    owner.seconds += 1;
                    owner.seconds
                }) else {
                    return;
                };
                self.step(setup, i, Input::Tick { now_ms: u64::from(seconds) * 1_000 });
            }
            Action::Land(i) => {
                let Some(entry) = self.change(i, |owner| owner.queue.pop_front()).flatten() else {
                    return;
                };
                self.land(setup, i, entry, |offset| Some(AppendReport::At(offset)));
            }
            Action::Fail(i, fault) => self.fail(setup, i, fault),
            Action::ZombieLand(k) => {
                let entry = self.zombies[k].pop_front();
                self.sort_zombies();
                if let Some(entry) = entry {
                    self.log.change(|log| log.take(setup, entry));
                }
            }
            Action::Report(i, place) => {
                let Some((writer, seq, reported)) =
                    self.change(i, |owner| owner.reports.remove(place))
                else {
                    return;
                };
                self.step(setup, i, Input::Report { writer, seq, reported });
            }
            Action::Read(i) => self.read(setup, i),
            Action::CaughtUp(i) => {
                self.spent.fences += 1;
                self.change(i, |owner| owner.read_to_end = None);
                // Fresh for every attempt.
                self.step(setup, i, Input::CaughtUp { writer: self.spent.fences });
            }
            Action::Query(i) => {
                let checkpoint = self.checkpoint;
                self.change(i, |owner| {
                    owner.load.iter_mut().for_each(|load| load.seen_at = Some(checkpoint))
                });
            }
            Action::Loaded(i) => self.loaded(setup, i),
            Action::LoadFailed(i) => {
                self.spent.load_failures += 1;
                self.change(i, |owner| owner.load = None);
                self.step(setup, i, Input::LoadFailed);
            }
            Action::Submit(i, command) => {
                let log = &self.log;
                let token = self.client.change(|client| client.ask(setup, log, i, command));
                let Some(submission) = self.submission(setup, i, token, command) else { return };
                self.step(setup, i, Input::Submit(submission));
            }
            Action::Take(i) => self.take(setup, i),
            Action::Snapshot => {
                self.spent.snapshots += 1;
                self.checkpoint =
                    usize::try_from(self.log.position(self.log.len()).offset).unwrap_or(0);
            }
            Action::FallBack => {
                self.spent.falls += 1;
                self.checkpoint = 0;
            }
            Action::Hear(i) => {
                self.step(setup, i, Input::Checkpoint { offset: self.checkpoint as u64 })
            }
        }
    }

    pub(super) fn change<A>(
        &mut self,
        i: usize,
        change: impl FnOnce(&mut Owner) -> A,
    ) -> Option<A> {
        self.owners[i].as_mut().map(|owner| owner.change(change))
    }

    fn start(&mut self, setup: &Setup, i: usize) {
        let clock = setup.clocks[usize::from(self.spent.starts)];
        self.spent.starts += 1;
        let (writer, effects) =
            (setup.begin)(setup.limits(), self.log.position(self.checkpoint).clone());
        let mut owner = Owner {
            writer,
            own: None,
            queue: VecDeque::new(),
            next_seq: 0,
            reports: Vec::new(),
            read_to_end: None,
            load: None,
            clock,
            seconds: 0,
            seen: (0, 0),
        };
        self.log.entries[..self.checkpoint].iter().for_each(|entry| owner.has_seen(entry));
        self.owners[i] = Some(Kept::new(owner));
        self.carry_out(setup, i, effects);
    }

    fn land(
        &mut self,
        setup: &Setup,
        i: usize,
        entry: Entry<Small>,
        reported: impl FnOnce(u64) -> Option<AppendReport>,
    ) {
        if let Some(reported) = reported(self.log.len() as u64) {
            self.change(i, |owner| owner.reported(&entry, reported));
        }
        self.log.change(|log| log.take(setup, entry));
    }

    fn fail(&mut self, setup: &Setup, i: usize, fault: Fault) {
        self.spent.faults += 1;
        let out = |owner: &mut Owner| {
            if fault == Fault::Unsent { owner.queue.pop_back() } else { owner.queue.pop_front() }
        };
        let Some(entry) = self.change(i, out).flatten() else { return };
        let end = AppendReport::At(self.log.len() as u64);
        let lost =
            |world: &mut Self, reported| world.change(i, |owner| owner.reported(&entry, reported));
        match fault {
            Fault::Lost => _ = lost(self, AppendReport::Failed),
            Fault::Refused => _ = lost(self, AppendReport::Refused),
            Fault::Unsent => _ = lost(self, AppendReport::Unsent),
            Fault::Lie => _ = lost(self, end),
            Fault::Somewhere => self.land(setup, i, entry, |_| Some(AppendReport::Somewhere)),
            Fault::Failed => self.land(setup, i, entry, |_| Some(AppendReport::Failed)),
            Fault::TakenAndRefused => self.land(setup, i, entry, |_| Some(AppendReport::Refused)),
            Fault::Twice => {
                self.change(i, |owner| owner.queue.push_front(entry.clone()));
                self.land(setup, i, entry, |_| None);
            }
        }
    }

    fn read(&mut self, setup: &Setup, i: usize) {
        let Some(owner) = &self.owners[i] else { return };
        let (offset, head, serving) =
            (owner.read(), owner.writer.fold().head(), owner.writer.serving());
        let entry = self.log.as_read(setup, head, offset);
        let hole = serving == Some((entry.epoch, entry.writer))
            && entry.seq.is_some_and(|seq| seq > head.next_seq);
        self.change(i, |owner| {
            if owner.writer.serving().is_none() {
                owner.has_seen(&entry);
            }
        });
        self.step(setup, i, Input::Read { offset: offset as u64, entry: Ok(entry) });
        let serves = self.owners[i].as_ref().and_then(|owner| owner.writer.serving());
        if hole && serves == serving {
            self.breaks("an owner goes on after a hole");
        }
    }

    fn loaded(&mut self, setup: &Setup, i: usize) {
        let Some(Load { aggregates, commands, seen_at: Some(checkpoint) }) =
            self.change(i, |owner| owner.load.take()).flatten()
        else {
            return;
        };
        let found = commands.iter().filter_map(|command| self.log.outcomes.get_key_value(command));
        let found = found
            .filter(|(_, (end, _))| *end <= checkpoint && !setup.forgets_outcomes)
            .map(|(command, (_, recorded))| (*command, recorded.clone()));
        let (outcomes, aggregates) = (found.collect(), self.log.states(&aggregates, checkpoint));
        self.step(setup, i, Input::Loaded { checkpoint: checkpoint as u64, aggregates, outcomes });
    }

    /// With what the filters of the owner say, which say nothing before it serves.
    fn submission(
        &self,
        setup: &Setup,
        i: usize,
        token: Token,
        command: usize,
    ) -> Option<Submission<Small, Does>> {
        let (sent, owner) = (&setup.commands[command], self.owners[i].as_ref()?);
        let says = owner.writer.serving().is_some();
        Some(Submission {
            token,
            command: sent.id,
            aggregate: sent.aggregate,
            fingerprint: sent.fingerprint,
            older_fingerprints: Vec::new(),
            expected: sent.expected.clone(),
            payload: Ok(Arc::new(sent.does)),
            caller_key: sent.caller_key,
            // The instance that minted a key knows that no owner has seen it.
            fresh: !sent.caller_key
                || says && sent.told_new.0 && owner.seen.0 & (1 << sent.id) == 0,
            new_aggregate: says && sent.told_new.1 && owner.seen.1 & (1 << sent.aggregate) == 0,
            meta: (),
            at: owner.clock.saturating_sub(sent.behind),
            deadline_ms: u64::MAX,
            queued: None,
        })
    }

    fn take(&mut self, setup: &Setup, i: usize) {
        let Some(next) = self.owners[i].as_ref().and_then(|owner| owner.writer.takes()) else {
            return;
        };
        let (token, source) = (100 + next as u64, next as u64);
        let Some(submission) = self.submission(setup, i, token, setup.command_queue[next]) else {
            return;
        };
        let submission =
            Submission { queued: Some(QueuedCommand { source, missing: () }), ..submission };
        self.step(setup, i, Input::Queued { offset: source, submission: Some(submission) });
    }

    fn step(&mut self, setup: &Setup, i: usize, input: Input<Small, Does, u8>) {
        let Some(effects) = self.change(i, |owner| owner.writer.step(input)) else { return };
        self.carry_out(setup, i, effects);
        let has_read = |offset: u64| {
            self.owners[i].as_ref().is_some_and(|owner| owner.read() as u64 >= offset)
        };
        if self.owes.is_some_and(|(owner, end)| owner == i && has_read(end)) {
            self.breaks("an owner goes on although the log has lost what it acknowledged");
        }
    }

    fn carry_out(&mut self, setup: &Setup, i: usize, effects: Vec<Effect<Small>>) {
        let end = self.log.len();
        for effect in effects {
            match effect {
                Effect::Append(entries) => {
                    self.change(i, |owner| {
                        entries.iter().for_each(|entry| owner.has_seen(entry));
                        owner.next_seq =
                            entries.last().and_then(|entry| entry.seq).map_or(0, |seq| seq + 1);
                        owner.queue.extend(entries);
                    });
                }
                Effect::ReadToEnd => _ = self.change(i, |owner| owner.read_to_end = Some(end)),
                Effect::Load { aggregates, commands } => {
                    self.change(i, |owner| {
                        owner.load = Some(Load { aggregates, commands, seen_at: None })
                    });
                }
                Effect::Serving { epoch, writer, .. } => {
                    _ = self.change(i, |owner| owner.own = Some((epoch, writer)))
                }
                Effect::OutcomeUnknown { .. } => {}
                Effect::Answer { token, answer } => self.hear(setup, i, token, &answer),
                Effect::StepDown(why) => self.stepped_down(setup, i, &why),
            }
        }
    }

    fn hear(&mut self, setup: &Setup, i: usize, token: Token, answer: &Answer<Small>) {
        let log = &self.log;
        let wrong = self.client.change(|client| client.hear(setup, log, token, answer));
        match (wrong, answer) {
            (Some(NOT_IN_LOG), Answer::Done { outcome, .. })
                if setup.kinds.contains(&Fault::Lie) =>
            {
                self.owes_after(i, outcome)
            }
            (Some(wrong), _) => self.breaks(wrong),
            (None, _) => {}
        }
    }

    fn stepped_down(&mut self, setup: &Setup, i: usize, why: &StepDown) {
        let lies = setup.kinds.contains(&Fault::Lie);
        match why {
            StepDown::Diverged { .. } | StepDown::Gap { .. } if !lies => {
                self.breaks("an owner found that it had acknowledged what is not in the log");
            }
            StepDown::BelowEvictionWatermark { .. } if self.spent.falls == 0 => {
                self.breaks("an owner evicted what `snapshots` did not have")
            }
            _ => {}
        }
        if self.client.waits_for(i) {
            self.breaks("an owner ended and left a submission without an answer");
        }
        self.owes = self.owes.filter(|(owner, _)| *owner != i);
        self.end(i);
    }

    /// What it had queued may come to the log all the same.
    fn end(&mut self, i: usize) {
        if let Some(owner) = self.owners[i].take() {
            self.zombies.push(owner.queue.clone());
            self.sort_zombies();
        }
    }

    pub(super) fn sort_zombies(&mut self) {
        self.zombies.retain(|queue| !queue.is_empty());
        self.zombies.sort_by_key(|queue| {
            queue.front().map(|entry| {
                (entry.writer, entry.seq, entry.body.metadata().map(|metadata| metadata.command))
            })
        });
    }

    fn breaks(&mut self, what: &'static str) {
        self.broken.get_or_insert(what);
    }
}
