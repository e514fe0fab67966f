//! What a world costs, as the kernel counts it; nothing where there is no `/proc`.

use std::{fmt, fs};

/// The time of processors up to some moment, from which the peak of memory is counted.
pub struct Cost {
    ticks: u64,
}

impl Cost {
    pub fn from_now() -> Self {
        // The peak begins anew ("proc(5)", clear_refs).
        let _ = fs::write("/proc/self/clear_refs", "5");
        Self { ticks: ticks() }
    }

    /// Of processors, spent since by this process: other tests in it count, too.
    pub fn seconds(&self) -> u64 {
        (ticks() - self.ticks) / TICKS_PER_SECOND
    }
}

/// What has been spent since.
impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s of processors, at most {} MiB", self.seconds(), peak_kib() / 1024)
    }
}

const TICKS_PER_SECOND: u64 = 100;

/// User and system time of this process.
fn ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}
