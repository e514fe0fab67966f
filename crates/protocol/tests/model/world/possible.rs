//! What can happen next.

use super::{Action, World, owner::Owner};
use crate::setup::{Fault, Setup};

impl World {
    pub fn possible(&self, setup: &Setup, actions: &mut Vec<Action>) {
        if setup.reduced && self.is_over(setup) {
            return;
        }
        // Two owners that have not begun are the same: the first of them begins.
        if self.spent.starts < setup.starts
            && let Some(free) = self.owners.iter().position(Option::is_none)
        {
            actions.push(Action::Start(free));
        }
        for (i, owner) in self.owners.iter().enumerate() {
            if let Some(owner) = owner {
                self.possible_of(setup, i, owner, actions);
            }
        }
        if self.log.len() < setup.log_records {
            actions.extend((0..self.zombies.len()).map(Action::ZombieLand));
        }
        if self.spent.snapshots < setup.snapshots
            && self.log.position(self.log.len()).offset > self.checkpoint as u64
        {
            actions.push(Action::Snapshot);
        }
        if self.spent.falls < setup.falls && self.checkpoint > 0 {
            actions.push(Action::FallBack);
        }
    }

    fn possible_of(&self, setup: &Setup, i: usize, owner: &Owner, actions: &mut Vec<Action>) {
        if self.spent.crashes < setup.crashes {
            actions.push(Action::Crash(i));
        }
        // The driver waits for a fence that is on its way; the writer does not rely on it.
        if self.spent.stops < setup.stops {
            actions.push(Action::Stop(i));
        }
        if self.spent.ticks < setup.ticks {
            actions.push(Action::Tick(i));
        }
        if let Some(front) = owner.queue.front() {
            let has_room = self.log.len() < setup.log_records;
            if has_room {
                actions.push(Action::Land(i));
            }
            if self.spent.faults < setup.faults {
                let is_possible = |fault: &&Fault| match fault {
                    Fault::Lost | Fault::Refused | Fault::Unsent => true,
                    Fault::Lie => front.seq.is_some(),
                    _ => has_room,
                };
                actions.extend(
                    setup.kinds.iter().filter(is_possible).map(|fault| Action::Fail(i, *fault)),
                );
            }
        }
        actions.extend(owner.reports_that_may_come().map(|place| Action::Report(i, place)));
        if owner.read() < self.log.len() {
            actions.push(Action::Read(i));
        }
        if owner.read_to_end.is_some_and(|end| owner.read() >= end)
            && self.spent.fences < setup.fences
        {
            actions.push(Action::CaughtUp(i));
        }
        if let Some(load) = &owner.load {
            actions.push(if load.seen_at.is_none() { Action::Query(i) } else { Action::Loaded(i) });
            if self.spent.load_failures < setup.load_failures {
                actions.push(Action::LoadFailed(i));
            }
        }
        let unsent = |command: &usize| self.client.sent[*command] < setup.commands[*command].times;
        if self.is_asked(setup, owner) {
            actions.extend(
                (0..setup.commands.len()).filter(unsent).map(|command| Action::Submit(i, command)),
            );
        }
        if owner.writer.takes().is_some_and(|next| next < setup.command_queue.len()) {
            actions.push(Action::Take(i));
        }
        if setup.hears && self.checkpoint > 0 {
            actions.push(Action::Hear(i));
        }
    }
}
