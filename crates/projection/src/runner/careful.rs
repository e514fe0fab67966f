//! After an end that was in no good order: what the runner before may have died of is applied by
//! itself, each projection and partition, and noted before that; and what one has died over in
//! small steps. So the next runner knows over which this one died. Pure: the runner notes and
//! applies.

use highwater_tables::runs::{Attempt, Run};
use uuid::Uuid;

use super::{
    batch::Item,
    plan::{Group, Job},
};

/// What a runner has died over goes in so many steps: of a full batch it takes two more deaths until
/// one commit is left.
const STEPS: usize = 64;
/// One commit that so many runners have died over is applied no more.
pub const MOST_DEATHS: usize = 3;
/// What is said of such a commit.
pub const KILLED: &str = "killed the process";

/// What is still to be applied in small steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Careful {
    /// So many events the runner before may have been at.
    left: usize,
    /// What it was about to apply, if it was careful already.
    attempt: Option<Attempt>,
}

impl Careful {
    /// What is to be done by the runner `me`, whose transactions have about `batch_events`, where
    /// the projection stands at `checkpoint`. `None`: nothing, `run` is its own.
    pub fn after(run: Run, me: Uuid, checkpoint: u64, batch_events: usize) -> Option<Self> {
        let Run { runner, attempt, applying } = run;
        let died_over = |mut attempt: Attempt| {
            attempt.dead.extend(Some(runner).filter(|_| applying));
            // Others took it for dead when they took over what it was about to apply.
            attempt.dead.retain(|dead| *dead != me);
            attempt
        };
        let attempt = attempt.filter(|attempt| attempt.end > checkpoint).map(died_over);
        (runner != me).then_some(Self { left: batch_events, attempt })
    }

    /// What runners have died over.
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// `job` in small steps.
    pub fn steps(&self, job: Job) -> Vec<Group> {
        let all = job.items().len();
        let suspects = job.items().iter().filter(|item| self.is_suspect(item)).count();
        let (mut groups, mut rest) = (Vec::new(), Some(job));
        while let Some(job) = rest.take() {
            let suspect = job.items().first().is_some_and(|item| self.is_suspect(item));
            let alike = job.items().iter().take_while(|item| self.is_suspect(item) == suspect);
            // Most deaths are over nothing that was applied: what is not known of is one step.
            let most = if suspect { suspects.div_ceil(STEPS).max(1) } else { all };
            let step = alike.count().min(most);
            let (head, tail) = job.cut(step);
            groups.push(self.step(head));
            rest = tail;
        }
        groups
    }

    /// So many events went through; `at_end`: the log has no more. Whether it is over.
    pub fn passed(&mut self, events: usize, at_end: bool) -> bool {
        self.left = self.left.saturating_sub(events);
        self.left == 0 || at_end
    }

    fn is_suspect(&self, item: &Item) -> bool {
        let start = item.what.start();
        self.attempt().is_some_and(|attempt| (attempt.first..attempt.end).contains(&start))
    }

    fn step(&self, job: Job) -> Group {
        let range = job.items().first().zip(job.items().last());
        let noted = range.map(|(first, last)| {
            let (first, end) = (first.what.start(), last.after.offset);
            let same =
                self.attempt().filter(|attempt| (attempt.first, attempt.end) == (first, end));
            let dead = same.map(|attempt| attempt.dead.clone()).unwrap_or_default();
            Attempt { first, end, dead }
        });
        Group { noted, ..Group::of(vec![job]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);
    const THIRD: Uuid = Uuid::from_u128(3);

    fn over(dead: &[Uuid]) -> Attempt {
        Attempt { first: 5, end: 9, dead: dead.to_vec() }
    }

    fn after(runner: Uuid, dead: &[Uuid], applying: bool, checkpoint: u64) -> Option<Careful> {
        let run = Run { runner, attempt: Some(over(dead)), applying };
        Careful::after(run, ME, checkpoint, 10)
    }

    fn died_over(runner: Uuid, dead: &[Uuid], applying: bool) -> Option<Attempt> {
        after(runner, dead, applying, 0).and_then(|careful| careful.attempt)
    }

    #[test]
    fn what_a_runner_died_over_counts_until_the_checkpoint_is_past_it() {
        assert_eq!(after(ME, &[THIRD], true, 0), None, "it is its own");
        let at = |checkpoint| after(OTHER, &[], true, checkpoint).map(|careful| careful.attempt);
        assert_eq!(at(8), Some(Some(over(&[OTHER]))));
        assert_eq!(at(9), Some(None), "it was applied");
    }

    #[test]
    fn a_runner_died_over_what_it_was_applying_and_over_nothing_else() {
        assert_eq!(died_over(OTHER, &[THIRD], true), Some(over(&[THIRD, OTHER])));
        assert_eq!(died_over(OTHER, &[THIRD], false), Some(over(&[THIRD])));
    }

    #[test]
    fn one_that_lives_died_over_nothing() {
        assert_eq!(died_over(OTHER, &[ME, THIRD], true), Some(over(&[THIRD, OTHER])));
        assert_eq!(died_over(OTHER, &[ME], false), Some(over(&[])));
    }

    #[test]
    fn it_is_over_after_as_many_events_as_may_have_been_on_their_way_or_at_the_end_of_the_log() {
        let run = Run { runner: OTHER, attempt: None, applying: false };
        let mut careful = Careful::after(run, ME, 0, 10).expect("another runner's");
        assert!(!careful.passed(9, false));
        assert!(careful.clone().passed(0, true));
        assert!(careful.passed(1, false));
    }
}
