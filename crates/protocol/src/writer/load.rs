//! What memory lacks of what commands need: asked of `snapshots` and the outcomes, one load at a
//! time.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::Domain,
    vocabulary::Vocabulary,
    writer::{
        Answer, Busy, Effect, RecordedOutcome, Snapshot, StepDown, Writer, intake::replay,
        rules::Rules,
    },
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Load<V: Vocabulary> {
    aggregates: BTreeSet<V::Aggregate>,
    commands: BTreeSet<V::Command>,
    /// The eviction watermark when it was asked: what was evicted since is none of its business.
    eviction_watermark: u64,
}

impl<V: Vocabulary> Load<V> {
    pub(super) fn is_for(&self, command: &V::Command) -> bool {
        self.commands.contains(command)
    }
}

impl<V: Vocabulary, D: Domain<V>, R: Rules> Writer<V, D, R> {
    pub(super) fn ask_for_load(&mut self, effects: &mut Vec<Effect<V>>) {
        if self.load.is_some() || self.wanted.is_empty() {
            return;
        }
        let mut load = Load {
            aggregates: BTreeSet::new(),
            commands: BTreeSet::new(),
            eviction_watermark: self.memory.eviction_watermark(),
        };
        while load.commands.len() < self.limits.load_batch {
            let Some(command) = self.wanted.pop_first() else { break };
            let Some(pending) = self.pending.get(&command) else { continue };
            load.commands.insert(command);
            load.aggregates.insert(pending.submission.aggregate);
        }
        let (aggregates, commands) =
            (load.aggregates.iter().copied().collect(), load.commands.iter().copied().collect());
        self.load = Some(load);
        effects.push(Effect::Load { aggregates, commands });
    }

    pub(super) fn loaded(
        &mut self,
        checkpoint: u64,
        aggregates: Vec<(V::Aggregate, Snapshot<D::State>)>,
        outcomes: Vec<(V::Command, RecordedOutcome<V>)>,
        effects: &mut Vec<Effect<V>>,
    ) {
        let Some(load) = self.load.take() else { return };
        if R::EVICTION_WATERMARK && checkpoint < load.eviction_watermark {
            return self.step_down(
                StepDown::BelowEvictionWatermark { checkpoint, watermark: load.eviction_watermark },
                effects,
            );
        }
        let domain = self.domain.clone();
        let mut found: BTreeMap<_, _> = aggregates.into_iter().collect();
        for id in load.aggregates {
            self.memory.found(&domain, id, found.remove(&id), checkpoint);
        }
        // Answered here and now: once evicted again, an outcome would not be missed before it is
        // done twice.
        for (command, recorded) in
            outcomes.into_iter().filter(|(command, _)| load.commands.contains(command))
        {
            let Some(answer) = self
                .pending
                .get(&command)
                .map(|pending| replay::<R, _, _>(&recorded, &pending.submission))
            else {
                continue;
            };
            self.memory.remember(command, checkpoint, recorded);
            if R::FOUND_ANSWERS {
                self.answer(command, answer, effects);
            }
        }
        for command in load.commands {
            if let Some(pending) = self.pending.get_mut(&command) {
                pending.checked = true;
                self.ready.push_back(command);
            }
        }
        self.heard_checkpoint(checkpoint);
    }

    pub(super) fn load_failed(&mut self, effects: &mut Vec<Effect<V>>) {
        let Some(load) = self.load.take() else { return };
        for command in load.commands {
            self.answer(command, Answer::Busy(Busy::SnapshotsUnreachable), effects);
        }
    }

    pub(super) fn heard_checkpoint(&mut self, offset: u64) {
        self.checkpoint = self.checkpoint.max(offset);
        self.memory.evict::<R>(offset, self.limits.cached_aggregates, self.limits.cached_outcomes);
    }
}
