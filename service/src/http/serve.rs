//! Owns listening and serving until told to stop: softly, open requests are finished; hard, they are dropped.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::warn;

use super::Error;
use super::connection::Limited;
use super::settings::HttpSettings;
use crate::shutdown::Shutdown;

/// Without authentication only loopback is served, unless `insecure` says that something in front protects it.
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
        std::io::ErrorKind::AddrInUse => Error::InUse { address },
        _ => Error::Bind { address, source },
    })
}

/// Serves with the default connection limits.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> Result<(), Error> {
    serve_with(listener, router, shutdown, &HttpSettings::default()).await
}

/// Serves until `shutdown.soft`, then finishes open requests until `shutdown.hard`.
pub async fn serve_with(listener: TcpListener, router: Router, shutdown: Shutdown, settings: &HttpSettings) -> Result<(), Error> {
    let room = Arc::new(Semaphore::new(settings.connection_limit.min(Semaphore::MAX_PERMITS)));
    let limited = Limited { listener, room, idle: settings.idle_timeout() };
    let soft = shutdown.soft.clone().cancelled_owned();
    let server = axum::serve(limited, router).with_graceful_shutdown(soft);
    tokio::select! {
        served = server => served.map_err(|source| Error::Serve { source }),
        () = shutdown.hard.cancelled() => Ok(()),
    }
}
