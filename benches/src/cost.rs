//! Processor time of a round, by the kernel's clock ticks: what a command costs does not depend on
//! how long it waited. Linux only.

use std::{fmt, io, time::Duration};

/// A tick of `/proc`, on every Linux that we know (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

/// Processor time spent until now.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime {
    all: Duration,
    server: Duration,
    client: Duration,
}

/// Processor time a command, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Of everything that ran on the machine: brokers, Postgres, client and kernel too.
    pub all: f64,
    pub server: f64,
    pub client: f64,
}

impl CpuTime {
    pub fn now(server: u32) -> io::Result<Self> {
        Ok(Self {
            all: Self::by_all()?,
            server: by_process(&server.to_string())?,
            client: by_process("self")?,
        })
    }

    /// By everything, neither idle nor waiting for a disk nor taken by a hypervisor.
    pub fn by_all() -> io::Result<Duration> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        // cpu, user, nice, system, idle, iowait, irq, softirq ...
        let fields: Vec<u32> = stat
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect();
        Ok([0, 1, 2, 5, 6].iter().filter_map(|at| fields.get(*at)).map(|ticks| TICK * *ticks).sum())
    }

    pub fn since(&self, before: &Self, commands: usize) -> Cost {
        let each = |now: Duration, then: Duration| {
            now.saturating_sub(then).as_secs_f64() * 1e6 / commands.max(1) as f64
        };
        Cost {
            all: each(self.all, before.all),
            server: each(self.server, before.server),
            client: each(self.client, before.client),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} µs of processor time a command (server {:.0}, client {:.0})",
            self.all, self.server, self.client
        )
    }
}

/// User and system time of a process, all its threads.
fn by_process(process: &str) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name stands in brackets and may hold anything.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok([11, 12]
        .iter()
        .filter_map(|at| fields.get(*at)?.parse::<u32>().ok())
        .map(|ticks| TICK * ticks)
        .sum())
}
