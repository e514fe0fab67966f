//! Owns the logs (to stderr) and the metrics recorder of the process. Must never fail a second
//! caller: one process, one recorder; and never let a caller wait for stderr.

mod lines;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::shutdown::Shutdown;
use lines::{Bounds, Lines};

/// Seconds; from a hot cache to a hung disk.
const SECONDS_BUCKETS: [f64; 16] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// Counts and sizes: batches, bytes.
const AMOUNT_BUCKETS: [f64; 14] = [
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    200.0,
    500.0,
    1_000.0,
    5_000.0,
    20_000.0,
    100_000.0,
    1_000_000.0,
];
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("log filter `{given}` is not usable: {source}")]
    Filter { given: String, source: tracing_subscriber::filter::ParseError },
    #[error("the thread that writes the log does not start: {0}")]
    Lines(std::io::Error),
    #[error("the metrics recorder cannot be installed: {source}")]
    Metrics { source: metrics_exporter_prometheus::BuildError },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    Text,
}

/// Section `telemetry`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    pub format: Format,
    /// As `RUST_LOG`. `info,highwater_http::server=debug` also shows every answered request, not
    /// only refused and failed ones.
    pub filter: String,
    /// What may wait for the reader of stderr; lines beyond it are dropped and counted.
    pub queue_bytes: usize,
    /// A longer line is cut.
    pub line_bytes: usize,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            format: Format::Json,
            filter: "info".to_owned(),
            queue_bytes: 4 << 20,
            line_bytes: 16 << 10,
        }
    }
}

#[derive(Clone)]
pub struct Telemetry {
    pub metrics: PrometheusHandle,
}

/// Installs the log subscriber and the metrics recorder. A later call in the same process gets the
/// same recorder and keeps the first log settings.
pub fn init(settings: &TelemetrySettings) -> Result<Telemetry, Error> {
    let filter = EnvFilter::try_new(&settings.filter)
        .map_err(|source| Error::Filter { given: settings.filter.clone(), source })?;
    let metrics = recorder()?;
    let bounds = Bounds {
        queue_bytes: settings.queue_bytes.max(1),
        line_bytes: settings.line_bytes.max(SHORTEST_LINE_BYTES),
    };
    let lines = Lines::to(std::io::stderr(), bounds).map_err(Error::Lines)?;
    let writer = lines.clone();
    let ansi = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || writer.clone())
        .with_ansi(ansi)
        .with_target(true);
    let installed = match settings.format {
        Format::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        Format::Text => builder.try_init(),
    };
    // An error says that a subscriber is installed already, which is what a second call wants.
    if installed.is_ok() {
        let _ = LINES.set(lines);
    }
    Ok(Telemetry { metrics })
}

/// The queue of the installed subscriber.
static LINES: OnceLock<Lines> = OnceLock::new();
/// A whole error must fit.
const SHORTEST_LINE_BYTES: usize = 1_024;
/// How long the end of a process waits for the reader of stderr.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Writes `text` to stderr, in its turn among the lines of the log, without waiting.
pub fn say(text: &str) {
    match LINES.get() {
        Some(lines) => text.lines().for_each(|line| lines.put(format!("{line}\n").as_bytes())),
        None => eprintln!("{text}"),
    }
}

/// Writes what is left to say before the process ends, and waits for it for a second at most.
pub fn last_words(text: Option<&str>) {
    if let Some(lines) = LINES.get() {
        text.into_iter().for_each(say);
        return lines.flush(LAST_WORDS);
    }
    let Some(text) = text.map(str::to_owned) else { return };
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        eprintln!("{text}");
        let _ = said.send(());
    });
    let _ = heard.recv_timeout(LAST_WORDS);
}

/// A panic is a line of the log: the usual hook writes to stderr itself, and waits there. For the
/// `main` of a process.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        match LINES.get() {
            Some(_) => tracing::error!(panic = message, location, "a panic"),
            None => eprintln!("panic at {location}: {message}"),
        }
    }));
}

impl Telemetry {
    /// Keeps histograms from growing while no monitor scrapes them.
    pub fn upkeep(&self, shutdown: &Shutdown) {
        let (metrics, soft) = (self.metrics.clone(), shutdown.soft.clone());
        shutdown.tasks.spawn(async move {
            let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
            loop {
                tokio::select! {
                    _ = interval.tick() => metrics.run_upkeep(),
                    () = soft.cancelled() => return,
                }
            }
        });
    }
}

fn recorder() -> Result<PrometheusHandle, Error> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let handle = builder()
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|source| Error::Metrics { source })?;
    Ok(HANDLE.get_or_init(|| handle).clone())
}

fn builder() -> Result<PrometheusBuilder, metrics_exporter_prometheus::BuildError> {
    PrometheusBuilder::new()
        .set_buckets(&AMOUNT_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_init_shares_the_recorder() -> Result<(), Error> {
        let first = init(&TelemetrySettings::default())?;
        let second =
            init(&TelemetrySettings { format: Format::Text, ..TelemetrySettings::default() })?;
        metrics::histogram!("telemetry_test_duration_seconds").record(0.003);
        metrics::counter!("telemetry_test_total").increment(2);
        let (a, b) = (first.metrics.render(), second.metrics.render());
        for rendered in [&a, &b] {
            assert!(rendered.contains("telemetry_test_total 2"), "{rendered}");
            assert!(
                rendered.contains("telemetry_test_duration_seconds_bucket{le=\"0.005\"} 1"),
                "{rendered}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_bad_filter_is_named() {
        let settings =
            TelemetrySettings { filter: "info,=!".to_owned(), ..TelemetrySettings::default() };
        let error = init(&settings).err().map(|error| error.to_string());
        assert!(error.as_deref().is_some_and(|text| text.contains("info,=!")), "{error:?}");
    }
}
