//! What a person sees meanwhile, on stderr: a bar with rate and ETA on a terminal, else a line now
//! and then. Counts nothing that matters.

use std::{
    fmt,
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::{
    task::JoinHandle,
    time::{self, Instant, MissedTickBehavior},
};

const BAR: &str = "{msg:<8} {wide_bar} {human_pos}/{human_len}  {rate}  ETA {eta}";
/// How often a log, or whatever stderr is, gets a line.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How often the bar moves though nothing is answered.
const TICK_EVERY: Duration = Duration::from_millis(500);

/// Of one phase after another. Gone from the terminal when dropped.
pub(super) struct Progress {
    bar: ProgressBar,
    lines: Option<JoinHandle<()>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        if !io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
            return Self { lines: Some(tokio::spawn(say(bar.clone()))), bar };
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            let whole = |state: &ProgressState, out: &mut dyn fmt::Write| {
                // A bar that cannot be drawn is drawn at the next tick.
                let _ = write!(out, "{:.0}/s", state.per_sec());
            };
            bar.set_style(style.with_key("rate", whole));
        }
        bar.enable_steady_tick(TICK_EVERY);
        Self { bar, lines: None }
    }

    pub(super) fn begin(&self, phase: &'static str, length: u64) {
        self.bar.reset();
        self.bar.set_length(length);
        self.bar.set_message(phase);
    }

    pub(super) fn advance(&self) {
        self.bar.inc(1);
    }

    pub(super) fn done(&self) {
        let (phase, done, took) = (self.bar.message(), self.bar.position(), self.bar.elapsed());
        self.bar.suspend(|| {
            eprintln!("{phase}: {done} in {:.1} s, {:.0}/s", took.as_secs_f64(), rate(done, took))
        });
    }

    /// Says something between the bar's moves.
    pub(super) fn notices(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let bar = self.bar.clone();
        move |text| bar.suspend(|| eprintln!("highwater: {text}"))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if let Some(lines) = &self.lines {
            lines.abort();
        }
    }
}

async fn say(bar: ProgressBar) {
    let mut ticks = time::interval_at(Instant::now() + LINE_EVERY, LINE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (done, length) = (bar.position(), bar.length().unwrap_or_default());
        let rate = rate(done, bar.elapsed());
        let rest = Duration::try_from_secs_f64(length.saturating_sub(done) as f64 / rate);
        let rest = rest.map_or("unknown".to_owned(), |rest| HumanDuration(rest).to_string());
        eprintln!("{}: {done}/{length}, {rate:.0}/s, ETA {rest}", bar.message());
    }
}

/// A second.
fn rate(done: u64, took: Duration) -> f64 {
    done as f64 / took.as_secs_f64().max(f64::EPSILON)
}
