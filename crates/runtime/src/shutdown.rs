//! Owns the end of a process: leaving (others take over while requests are still served), soft
//! cancellation (stop intake, finish what is open), hard cancellation (give up), and the tasks that
//! are waited for. Must never cancel hard before the drain limit unless a second signal asks for
//! it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// How long open work may take after the first signal, unless the settings say otherwise.
pub const DEFAULT_DRAIN_LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Cancelled first, at the latest with `soft`: hand off what others can take. Requests are
    /// still served.
    pub leaving: CancellationToken,
    /// Cancelled next: take nothing new, finish what is open.
    pub soft: CancellationToken,
    /// Cancelled last: give up what is still open.
    pub hard: CancellationToken,
    /// A task that holds a token of these when a signal comes puts off the soft cancellation,
    /// within `drain_limit`.
    pub handoffs: TaskTracker,
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
        let soft = CancellationToken::new();
        let (leaving, handoffs) = (soft.child_token(), TaskTracker::new());
        Self {
            leaving,
            soft,
            hard: CancellationToken::new(),
            handoffs,
            tasks: TaskTracker::new(),
            drain_limit,
        }
    }

    /// SIGTERM and SIGINT cancel softly, after what is to be handed off; a second one, or the
    /// drain limit, cancels hard.
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
            let give_up_at = tokio::time::Instant::now() + watched.drain_limit;
            watched.leaving.cancel();
            watched.handoffs.close();
            let second = tokio::select! {
                () = watched.handoffs.wait() => None,
                () = watched.soft.cancelled() => None,
                () = tokio::time::sleep_until(give_up_at) => None,
                name = signals.next() => Some(name),
            };
            watched.soft.cancel();
            if let Some(name) = second {
                warn!(signal = name, "second signal: giving up open work");
                return watched.hard.cancel();
            }
            tokio::select! {
                name = signals.next() => warn!(signal = name, "second signal: giving up open work"),
                () = tokio::time::sleep_until(give_up_at) => warn!("drain limit reached: giving up \
                    open work"),
                () = watched.hard.cancelled() => {}
            }
            watched.hard.cancel();
        });
        Ok(shutdown)
    }

    pub fn is_draining(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Cancels softly, waits for the tracked tasks, and cancels hard when the drain limit passes
    /// first. Returns whether everything ended in time. Ends with hard cancellation either way, so
    /// what must finish belongs in `tasks`.
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
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
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

    /// Signals come to every test of the process.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    fn terminate() -> std::io::Result<()> {
        let sent = std::process::Command::new("kill")
            .args(["-TERM", &std::process::id().to_string()])
            .status()?;
        assert!(sent.success());
        Ok(())
    }

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
        let _alone = ALONE.lock().await;
        let shutdown = Shutdown::on_signals_within(Duration::from_secs(3600))?;
        assert!(!shutdown.is_draining());
        terminate()?;
        assert!(
            tokio::time::timeout(Duration::from_secs(20), shutdown.soft.cancelled()).await.is_ok()
        );
        assert!(!shutdown.hard.is_cancelled());
        terminate()?;
        assert!(
            tokio::time::timeout(Duration::from_secs(20), shutdown.hard.cancelled()).await.is_ok()
        );
        Ok(())
    }

    #[tokio::test]
    async fn who_hands_over_puts_off_the_soft_cancellation_of_a_signal() -> std::io::Result<()> {
        let _alone = ALONE.lock().await;
        let shutdown = Shutdown::on_signals_within(Duration::from_secs(3600))?;
        let handing_off = shutdown.handoffs.token();
        terminate()?;
        assert!(
            tokio::time::timeout(Duration::from_secs(20), shutdown.leaving.cancelled())
                .await
                .is_ok()
        );
        assert!(shutdown.is_draining() && !shutdown.soft.is_cancelled());
        drop(handing_off);
        assert!(
            tokio::time::timeout(Duration::from_secs(20), shutdown.soft.cancelled()).await.is_ok()
        );
        assert!(!shutdown.hard.is_cancelled());
        Ok(())
    }

    #[tokio::test]
    async fn a_soft_cancellation_is_the_end_of_any_handoff() {
        let shutdown = Shutdown::new();
        let _handing_off = shutdown.handoffs.token();
        assert!(!shutdown.is_draining());
        assert!(shutdown.drain().await);
        assert!(shutdown.leaving.is_cancelled());
    }

    #[tokio::test]
    async fn a_hard_cancellation_ends_the_drain_at_once() {
        let shutdown = Shutdown::within(Duration::from_secs(3600));
        shutdown.tasks.spawn(std::future::pending::<()>());
        shutdown.hard.cancel();
        assert!(!shutdown.drain().await);
    }
}
