//! What a person sees meanwhile, on stderr: a bar with rate and ETA on a terminal, else a line now and then. Counts nothing that
//! matters.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    task::JoinHandle,
    time::{self, Instant, MissedTickBehavior},
};

const BAR: &str = "{msg:<8} {wide_bar} {human_pos}/{human_len}  {per_sec}  ETA {eta}";
/// How often a log, or whatever stderr is, gets a line.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How often the bar moves though nothing is answered.
const TICK_EVERY: Duration = Duration::from_millis(500);

/// One phase. Gone from the terminal when dropped.
pub(super) struct Progress {
    bar: ProgressBar,
    began: Instant,
    lines: Option<JoinHandle<()>>,
}

impl Progress {
    pub(super) fn new(phase: &'static str, length: u64) -> Self {
        let began = Instant::now();
        if !io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden()).with_message(phase);
            let lines = tokio::spawn(say(bar.clone(), began));
            return Self { bar, began, lines: Some(lines) };
        }
        let bar = ProgressBar::new(length).with_message(phase);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK_EVERY);
        Self { bar, began, lines: None }
    }

    pub(super) fn advance(&self) {
        self.bar.inc(1);
    }

    pub(super) fn done(self) {
        let (took, done) = (self.began.elapsed(), self.bar.position());
        self.bar.finish_and_clear();
        eprintln!("{}: {done} in {:.1} s, {:.0}/s", self.bar.message(), took.as_secs_f64(), rate(done, took));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(lines) = &self.lines {
            lines.abort();
        }
    }
}

async fn say(bar: ProgressBar, began: Instant) {
    let mut ticks = time::interval_at(began + LINE_EVERY, LINE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (done, length) = (bar.position(), bar.length().unwrap_or_default());
        let rate = rate(done, began.elapsed());
        let rest = Duration::try_from_secs_f64(length.saturating_sub(done) as f64 / rate)
            .map_or("unknown".to_owned(), |rest| HumanDuration(rest).to_string());
        eprintln!("{}: {done}/{length}, {rate:.0}/s, ETA {rest}", bar.message());
    }
}

/// A second.
fn rate(done: u64, took: Duration) -> f64 {
    done as f64 / took.as_secs_f64().max(f64::EPSILON)
}
