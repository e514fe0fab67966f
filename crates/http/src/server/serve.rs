//! Owns listening and serving until told to stop: softly, open requests are finished; hard, they
//! are dropped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::Error;
use super::connection::{self, link::Demand};
use super::descriptors;
use super::room::Room;
use super::settings::HttpSettings;
use super::shared::Server;
use highwater_runtime::clock::SystemIds;
use highwater_runtime::resilience::{self, Once};
use highwater_runtime::shutdown::Shutdown;

/// How often the gauges are set.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How long no connection may have been limited for the log to say that it is over.
const LIMITED_NO_MORE: Duration = Duration::from_secs(10);
/// The least wait when nothing can be accepted, for want of descriptors or memory.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Without authentication only loopback is served, unless `insecure` says that something in front
/// protects it.
pub fn check_listen(address: SocketAddr, insecure: bool) -> Result<(), Error> {
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    if !insecure {
        return Err(Error::NotLoopback { address });
    }
    warn!(%address, "listening beyond loopback without authentication: every caller is anonymous");
    Ok(())
}

pub async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::InUse { address },
        _ => Error::Bind { address, source },
    })
}

/// Serves with the default connection limits.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> Result<(), Error> {
    serve_with(listener, router, shutdown, &HttpSettings::default()).await
}

/// Serves until `shutdown.soft`, then finishes open requests until `shutdown.hard`.
pub async fn serve_with(
    listener: TcpListener,
    router: Router,
    shutdown: Shutdown,
    settings: &HttpSettings,
) -> Result<(), Error> {
    let server = Arc::new(Server {
        router,
        protocols: connection::protocols(settings),
        room: Arc::new(Room::new(descriptors::places(settings))),
        settings: settings.clone(),
    });
    let connections = TaskTracker::new();
    tokio::select! {
        () = shutdown.soft.cancelled() => {}
        () = accept(&listener, &server, &connections) => {}
    }
    drop(listener);
    server.room.demand_all(Demand::Leave);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = shutdown.hard.cancelled() => server.room.demand_all(Demand::End),
    }
    server.measure();
    Ok(())
}

/// Accepts for ever.
async fn accept(listener: &TcpListener, server: &Arc<Server>, connections: &TaskTracker) {
    let mut measure = tokio::time::interval(MEASURE_EVERY);
    measure.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut states = States::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = measure.tick() => {
                server.measure();
                states.look();
                continue;
            }
        };
        match accepted {
            Ok((stream, address)) => {
                states.accepting(None);
                if !begin(stream, address, server, connections) {
                    states.limited(address);
                }
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                states.accepting(Some(&error));
                server.room.give_way();
                tokio::time::sleep(resilience::retry_after(ACCEPT_AGAIN, &SystemIds)).await;
            }
        }
    }
}

/// Says whether it is served as any other.
fn begin(
    stream: TcpStream,
    address: SocketAddr,
    server: &Arc<Server>,
    connections: &TaskTracker,
) -> bool {
    let Some(seat) = server.room.enter(address) else {
        metrics::counter!("highwater_http_connections_refused_total", "reason" => "closed")
            .increment(1);
        return false;
    };
    let health_only = seat.link().health_only;
    if health_only {
        metrics::counter!("highwater_http_connections_refused_total", "reason" => "health-only")
            .increment(1);
    }
    // Only a matter of latency: a stream that refuses it works as well.
    let _ = stream.set_nodelay(true);
    connections.spawn(connection::serve(stream, seat, Arc::clone(server)));
    !health_only
}

/// The connection had ended before it was accepted; the next may be well.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// What was said last, so that each change is one line.
struct States {
    failing: bool,
    limited: Once,
}

impl Default for States {
    fn default() -> Self {
        Self { failing: false, limited: Once::new("connections-limited") }
    }
}

impl States {
    fn accepting(&mut self, error: Option<&io::Error>) {
        match error {
            Some(error) if !self.failing => {
                let descriptors = [Errno::MFILE, Errno::NFILE]
                    .map(|errno| Some(errno.raw_os_error()))
                    .contains(&error.raw_os_error());
                warn!(%error, descriptors, "connections cannot be accepted; trying again until \
                    they can");
            }
            None if self.failing => info!("connections are accepted again"),
            _ => {}
        }
        self.failing = error.is_some();
    }

    fn limited(&mut self, address: SocketAddr) {
        if self.limited.met() {
            let text = "a connection is answered on health routes only, if at all: as many as may \
                        be, or as its address may have, are busy";
            warn!(%address, "{text}; not said again while that lasts");
        }
    }

    /// Those of one address may be limited between others that are not, so that only time tells
    /// when it is over.
    fn look(&mut self) {
        self.limited.over_if_quiet(LIMITED_NO_MORE, "connections are answered as ever again");
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn with(&self, text: &str) -> usize {
            let bytes = self.0.lock();
            String::from_utf8_lossy(&bytes).lines().filter(|line| line.contains(text)).count()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_whose_share_is_full_is_said_once_however_many_others_come_between()
    -> Result<(), std::net::AddrParseError> {
        let (lines, mut states) = (Lines::default(), States::default());
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _said = tracing::subscriber::set_default(subscriber);
        let address = "192.0.2.1:1".parse()?;
        for _ in 0..1_000 {
            states.limited(address);
            states.accepting(None);
            states.look();
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert_eq!((lines.with("health routes only"), lines.with("as ever again")), (1, 0));
        tokio::time::advance(LIMITED_NO_MORE).await;
        states.look();
        assert_eq!((lines.with("health routes only"), lines.with("as ever again")), (1, 1));
        Ok(())
    }
}
