//! What a process takes of a core, and how many lines it logs, while nothing is asked of it.

use std::{fs, thread, time::Duration};

use tokio::time::Instant;

use super::{orders::until_status, request::Request, up::Up};

/// Of a core. A build without the optimiser may take what it takes when all is well on top of it.
const MOST_CPU: f64 = 0.05;
const MOST_LINES_A_MINUTE: f64 = 100.0;
const SHORT: Duration = Duration::from_secs(20);
/// They share the minutes.
const SITUATIONS: u32 = 4;
/// A state that begins has its lines.
const SETTLED: Duration = Duration::from_secs(10);
/// Of `/proc/PID/stat`; USER_HZ is 100 on every Linux.
const TICKS_A_SECOND: f64 = 100.0;

pub struct Watched {
    idle_cpu: f64,
}

impl Watched {
    /// While all is well.
    pub fn idle(up: &mut Up) -> Self {
        until_status(up, &Request::get("/readyz"), 200);
        measure(up, SETTLED);
        let (idle_cpu, lines) = measure(up, SETTLED);
        assert!(lines < MOST_LINES_A_MINUTE, "{lines:.0} lines a minute, and all is well");
        Self { idle_cpu }
    }

    pub fn refusing(&self, up: &mut Up, what: &str) {
        measure(up, SETTLED);
        let minutes = std::env::var("HIGHWATER_LONG_MINUTES")
            .ok()
            .map(|minutes| minutes.parse::<u32>().unwrap());
        let (cpu, lines) = measure(
            up,
            minutes.map_or(SHORT, |minutes| Duration::from_secs(60) * minutes / SITUATIONS),
        );
        println!(
            "{what}: {:.1} % of a core ({:.1} % when all is well), {lines:.0} lines a minute",
            cpu * 100.0,
            self.idle_cpu * 100.0
        );
        let most = if cfg!(debug_assertions) { MOST_CPU + self.idle_cpu } else { MOST_CPU };
        assert!(
            cpu < most,
            "{what}: {:.1} % of a core, {:.1} % are the most",
            cpu * 100.0,
            most * 100.0
        );
        assert!(lines < MOST_LINES_A_MINUTE, "{what}: {lines:.0} lines a minute");
    }
}

/// The share of a core, and lines a minute. Time is what is measured here, so it has to pass.
fn measure(up: &mut Up, within: Duration) -> (f64, f64) {
    up.said.try_iter().for_each(drop);
    let (began, before) = (Instant::now(), cpu(up.pid));
    thread::sleep(within);
    let (took, used) = (began.elapsed().as_secs_f64(), cpu(up.pid) - before);
    let lines = up.said.try_iter().fold(0_u32, |lines, _| lines + 1);
    (used / took, f64::from(lines) * 60.0 / took)
}

/// Seconds of CPU that the process has used, its own and the system's for it.
fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in brackets, may hold anything; user and system time are the 14th and 15th field.
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    (fields[10] + fields[11]) / TICKS_A_SECOND
}
