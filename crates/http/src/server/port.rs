//! Owns a port between the moment it is taken and the moment the process has started. Must never
//! let a client connect before that.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use super::Error;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;

/// Taken, and not listened on yet: a client that connects is refused, and goes elsewhere. What the
/// system accepts before the process has started would wait for it, while another instance would
/// have answered.
#[derive(Debug)]
pub struct Port {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Port {
    /// One on which another process listens is refused here.
    pub fn reserve(address: SocketAddr) -> Result<Self, Error> {
        let reserved = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A restart needs it. Two that do not listen yet can then have one port, and the second
            // to listen hears that it is in use.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(Self { address: socket.local_addr()?, socket })
        };
        reserved().map_err(|source| refused(address, source))
    }

    /// With the port that the system chose where none was named.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn listen(self) -> Result<TcpListener, Error> {
        self.socket.listen(BACKLOG).map_err(|source| refused(self.address, source))
    }
}

fn refused(address: SocketAddr, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::AddrInUse => Error::InUse { address },
        _ => Error::Bind { address, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[tokio::test]
    async fn who_connects_before_it_is_listened_on_is_refused_and_one_process_listens()
    -> Result<(), Error> {
        let port = Port::reserve(ANY)?;
        let address = port.address();
        let refused = std::net::TcpStream::connect(address).err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::ConnectionRefused));
        let other = Port::reserve(address)?;
        let _listener = port.listen()?;
        assert!(std::net::TcpStream::connect(address).is_ok());
        assert!(matches!(other.listen(), Err(Error::InUse { .. })));
        assert!(matches!(Port::reserve(address), Err(Error::InUse { .. })));
        Ok(())
    }
}
