//! Owns the end of a process: soft cancellation (stop intake, finish what is open), hard cancellation (give up), and the
//! tasks that are waited for. Must never cancel hard before the drain limit unless a second signal asks for it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How long open work may take after the first signal, unless the settings say otherwise.
pub const DEFAULT_DRAIN_LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Cancelled first: take nothing new, finish what is open.
    pub soft: CancellationToken,
    /// Cancelled last: give up what is still open.
    pub hard: CancellationToken,
    /// The tasks that [`Shutdown::drain`] waits for.
    pub tasks: TaskTracker,
    pub drain_limit: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Without signals: the caller cancels.
    pub fn new() -> Self {
        Self::within(DEFAULT_DRAIN_LIMIT)
    }

    /// Without signals, with a drain limit.
    pub fn within(drain_limit: Duration) -> Self {
        Self { soft: CancellationToken::new(), hard: CancellationToken::new(), tasks: TaskTracker::new(), drain_limit }
    }

    /// SIGTERM and SIGINT cancel softly; a second one, or the drain limit, cancels hard.
    pub fn on_signals() -> std::io::Result<Self> {
        Self::on_signals_within(DEFAULT_DRAIN_LIMIT)
    }

    /// As [`Shutdown::on_signals`], with a drain limit. Needs a Tokio runtime.
    pub fn on_signals_within(drain_limit: Duration) -> std::io::Result<Self> {
        let shutdown = Self::within(drain_limit);
        let mut signals = Signals::new()?;
        let watched = shutdown.clone();
        tokio::spawn(async move {
            let first = tokio::select! {
                name = signals.next() => name,
                () = watched.soft.cancelled() => "a request to stop",
            };
            info!(signal = first, "draining");
            watched.soft.cancel();
            tokio::select! {
                name = signals.next() => warn!(signal = name, "second signal: giving up open work"),
                () = tokio::time::sleep(watched.drain_limit) => warn!("drain limit reached: giving up open work"),
                () = watched.hard.cancelled() => {}
            }
            watched.hard.cancel();
        });
        Ok(shutdown)
    }

    pub fn is_draining(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Cancels softly, waits for the tracked tasks, and cancels hard when the drain limit passes first.
    /// Returns whether everything ended in time. Ends with hard cancellation either way, so what must finish belongs in `tasks`.
    pub async fn drain(&self) -> bool {
        self.soft.cancel();
        self.tasks.close();
        let in_time = tokio::select! {
            () = self.tasks.wait() => true,
            () = tokio::time::sleep(self.drain_limit) => false,
            () = self.hard.cancelled() => false,
        };
        self.hard.cancel();
        in_time
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drain_waits_for_tasks_that_stop_softly() {
        let shutdown = Shutdown::new();
        let soft = shutdown.soft.clone();
        shutdown.tasks.spawn(async move { soft.cancelled().await });
        assert!(shutdown.drain().await);
        assert!(shutdown.hard.is_cancelled());
    }

    #[tokio::test]
    async fn the_drain_limit_cancels_hard() {
        let shutdown = Shutdown::within(Duration::from_millis(10));
        let hard = shutdown.hard.clone();
        let stubborn = shutdown.tasks.spawn(async move { hard.cancelled().await });
        assert!(!shutdown.drain().await);
        assert!(stubborn.await.is_ok());
    }

    #[tokio::test]
    async fn the_first_signal_cancels_softly_and_the_second_hard() -> std::io::Result<()> {
        let shutdown = Shutdown::on_signals_within(Duration::from_secs(3600))?;
        let terminate = || std::process::Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status();
        assert!(!shutdown.is_draining());
        assert!(terminate()?.success());
        assert!(tokio::time::timeout(Duration::from_secs(20), shutdown.soft.cancelled()).await.is_ok());
        assert!(!shutdown.hard.is_cancelled());
        assert!(terminate()?.success());
        assert!(tokio::time::timeout(Duration::from_secs(20), shutdown.hard.cancelled()).await.is_ok());
        Ok(())
    }

    #[tokio::test]
    async fn a_hard_cancellation_ends_the_drain_at_once() {
        let shutdown = Shutdown::within(Duration::from_secs(3600));
        shutdown.tasks.spawn(std::future::pending::<()>());
        shutdown.hard.cancel();
        assert!(!shutdown.drain().await);
    }
}
