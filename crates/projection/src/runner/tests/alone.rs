//! One runner that a test steps by itself, and what it works on.

use std::time::Duration;

use highwater_log::MembershipEvent;
use tokio::{sync::mpsc, time::Instant};

use super::{
    super::{Progress, Runner, Step},
    history::Shelf,
    memory::Memory,
    standstill::unless_it_spins,
    turns::Notes,
};

pub struct Alone {
    pub shelf: Shelf,
    pub store: Memory,
    pub runner: Runner<Memory>,
    pub progress: Progress,
    pub changes: mpsc::UnboundedSender<MembershipEvent>,
    pub notes: Notes,
}

impl Alone {
    /// Steps as [`Runner::run`] does for so long, and says what each step did.
    pub async fn go_on_for(&mut self, time: Duration) -> Vec<Step> {
        let (until, mut steps) = (Instant::now() + time, Vec::new());
        let going = async {
            while Instant::now() < until {
                let step = self.runner.step().await;
                if matches!(step, Step::Waiting | Step::CaughtUp) {
                    let _ = tokio::time::timeout_at(until, self.runner.wait()).await;
                }
                steps.push(step);
                // Each step is a poll of its own, and counted.
                tokio::task::yield_now().await;
            }
        };
        unless_it_spins(going).await;
        steps
    }

    /// When it has something to do again, from now on, and what it does then.
    pub async fn next_step(&mut self) -> (Duration, Step) {
        let began = Instant::now();
        for _ in 0..100 {
            let step = self.runner.step().await;
            if step != Step::Waiting {
                return (began.elapsed(), step);
            }
            self.runner.wait().await;
        }
        panic!("it waits for something that it does not do");
    }

    /// How many events each transaction had.
    pub async fn transactions_within(&mut self, time: Duration) -> Vec<usize> {
        let events = |step| if let Step::Projected { events } = step { Some(events) } else { None };
        self.go_on_for(time).await.into_iter().filter_map(events).collect()
    }
}
