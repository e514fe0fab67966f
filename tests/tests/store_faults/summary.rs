//! What a run came to, as it is printed.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    client::{Attempt, Sent},
    faults::{Fault, Injected, Silences, spread},
    log::LogRead,
};

pub struct Summary {
    faults: Vec<String>,
    take_overs: Vec<TakeOvers>,
    commands: usize,
    lasted: Duration,
    /// Final answers by what they were.
    answers: BTreeMap<&'static str, usize>,
    /// Sendings that were not the last, by what came back.
    retries: BTreeMap<String, usize>,
    /// Answers in each second of the load, least first.
    seconds: Vec<usize>,
    /// Of commands that were sent once, shortest first.
    latencies: Vec<Duration>,
    fences: u64,
    voids: u64,
}

impl Summary {
    pub fn of(injected: &[Injected], sent: &[Sent], log: &LogRead, lasted: Duration) -> Self {
        let (mut answers, mut retries) = (BTreeMap::new(), BTreeMap::new());
        for sent in sent {
            let answer = match (sent.answer.status, sent.answer.events().is_empty()) {
                (201 | 200, false) => "acknowledged",
                (200, true) => "nothing to do",
                (409, _) => "rejected",
                _ => "refused by version",
            };
            *answers.entry(answer).or_default() += 1;
            if sent.answer.replayed {
                *answers.entry("answered from the record (counted above)").or_default() += 1;
            }
            for attempt in &sent.attempts {
                let what = match attempt {
                    Attempt::Later(code) => format!("503 {code}"),
                    Attempt::Refused => "connection refused".to_owned(),
                    Attempt::Broken => "connection broken".to_owned(),
                    Attempt::Wrong(_) => "wrong".to_owned(),
                };
                *retries.entry(what).or_default() += 1;
            }
        }
        let faults = injected.iter().map(ToString::to_string).collect();
        let mut latencies: Vec<_> = sent
            .iter()
            .filter(|sent| sent.attempts.is_empty())
            .map(|sent| sent.answer.at - sent.began)
            .collect();
        latencies.sort();
        let (seconds, commands) = (by_second(sent, lasted), sent.len());
        Self {
            faults,
            take_overs: take_overs(injected),
            commands,
            lasted,
            answers,
            retries,
            seconds,
            latencies,
            fences: log.fences,
            voids: log.voids,
        }
    }

    /// Of each kind of fault of an owner and each period; the whole time from a fault to the next
    /// first.
    pub fn take_overs(&self) -> &[TakeOvers] {
        &self.take_overs
    }

    /// Final answers a second, outages included.
    pub fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.commands).unwrap_or(u32::MAX)) / self.lasted.as_secs_f64()
    }
}

/// What all faults of one kind brought, in one period: p50, p99 and the longest of the longest
/// silences, in seconds.
#[derive(Clone, Debug)]
pub struct TakeOvers {
    pub fault: Fault,
    what: &'static str,
    period: &'static str,
    faults: usize,
    /// Over the faults, of the worst partition of each.
    pub worst: [f64; 3],
    /// Over all partitions of all faults.
    each: [f64; 3],
}

fn take_overs(injected: &[Injected]) -> Vec<TakeOvers> {
    let mut found = Vec::new();
    let kinds = [
        ("kill -9 of an owner", Fault::KillOwner),
        ("SIGTERM of an owner", Fault::StopOwner),
        ("kill -9 of an owner beside one that was started a moment ago", Fault::KillBesideStandby),
    ];
    for (what, fault) in kinds {
        let all: Vec<&Silences> = injected
            .iter()
            .filter(|injected| injected.fault == fault)
            .map(|injected| &injected.silence)
            .collect();
        for period in 0..all.first().map_or(0, |silences| silences.periods().len()) {
            let of = |silences: &Silences| {
                silences.periods()[period].1.values().copied().collect::<Vec<_>>()
            };
            let worst = spread(
                all.iter().map(|silences| of(silences).into_iter().max().unwrap_or_default()),
            );
            let each = spread(all.iter().flat_map(|silences| of(silences)));
            found.push(TakeOvers {
                fault,
                what,
                period: all[0].periods()[period].0,
                faults: all.len(),
                worst,
                each,
            });
        }
    }
    found
}

fn by_second(sent: &[Sent], lasted: Duration) -> Vec<usize> {
    let first = sent.iter().map(|sent| sent.began).min();
    let mut seconds = vec![0; usize::try_from(lasted.as_secs()).unwrap_or(0)];
    for sent in sent {
        let at = first.map_or(0, |first| (sent.answer.at - first).as_secs());
        if let Some(second) = seconds.get_mut(usize::try_from(at).unwrap_or(usize::MAX)) {
            *second += 1;
        }
    }
    seconds.sort_unstable();
    seconds
}

fn at<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    sorted
        .get((sorted.len() * percent).div_ceil(100).saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.faults.iter().enumerate() {
            writeln!(f, "{:>2}. {fault}", number + 1)?;
        }
        for take_overs in &self.take_overs {
            writeln!(f, "{take_overs}")?;
        }
        writeln!(
            f,
            "commands: {} in {:.1} s, {:.0} a second",
            self.commands,
            self.lasted.as_secs_f64(),
            self.rate()
        )?;
        let [least, half, most] = [0, 50, 100].map(|percent| at(&self.seconds, percent));
        writeln!(
            f,
            "answers in a second: {half} in half of the seconds or fewer, {least} at least, {most} \
             at most"
        )?;
        let [p50, p99, max] =
            [50, 99, 100].map(|percent| at(&self.latencies, percent).as_secs_f64() * 1_000.0);
        writeln!(
            f,
            "answered at the first sending within: p50 {p50:.0} ms, p99 {p99:.0} ms, \
             max {max:.0} ms"
        )?;
        for (what, count) in &self.answers {
            writeln!(f, "  {what}: {count}")?;
        }
        writeln!(f, "retries: {}", self.retries.values().sum::<usize>())?;
        for (what, count) in &self.retries {
            writeln!(f, "  {what}: {count}")?;
        }
        write!(f, "fences: {}, void records: {}", self.fences, self.voids)
    }
}

impl fmt::Display for TakeOvers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            period,
            faults,
            worst: [p50, p99, max],
            each: [p50_each, p99_each, max_each],
            ..
        } = self;
        write!(
            f,
            "{what}, {faults} times, silence {period}: of the worst partition p50 {p50:.2} s, p99 \
             {p99:.2} s, max {max:.2} s; "
        )?;
        write!(f, "of each partition p50 {p50_each:.2} s, p99 {p99_each:.2} s, max {max_each:.2} s")
    }
}
