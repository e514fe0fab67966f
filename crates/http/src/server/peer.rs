//! Who sends, as far as a connection tells: shares are by this.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use serde::Deserialize;

/// The bits of an IPv6 address that name a network: one household or host has all of the rest.
const NETWORK: u128 = !0 << 64;

/// An address, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(IpAddr);

impl Peer {
    /// Requests that name none are all of one peer.
    pub(super) fn of(request: &Request) -> Self {
        let address = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(address)| address.ip());
        Self::from(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
            address => address,
        })
    }
}

/// How much of a limit one peer may have, in percent: 1 to 100.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub struct Share(u8);

impl Share {
    pub const MOST: Self = Self(75);

    /// At least one.
    pub(super) fn of(self, limit: usize) -> usize {
        (limit / 100 * usize::from(self.0) + limit % 100 * usize::from(self.0) / 100).max(1)
    }
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u8> for Share {
    type Error = String;

    fn try_from(percent: u8) -> Result<Self, String> {
        if (1..=100).contains(&percent) {
            Ok(Self(percent))
        } else {
            Err(format!("{percent} is no share: 1 to 100 (percent)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_peer_and_a_mapped_address_is_the_one_that_it_maps()
    -> Result<(), Box<dyn std::error::Error>> {
        let peer = |text: &str| text.parse::<IpAddr>().map(Peer::from);
        assert_eq!(peer("2001:db8:1:2::1")?, peer("2001:db8:1:2:ffff::9")?);
        assert_ne!(peer("2001:db8:1:2::1")?, peer("2001:db8:1:3::1")?);
        assert_eq!(peer("::ffff:192.0.2.1")?, peer("192.0.2.1")?);
        assert_ne!(peer("192.0.2.1")?, peer("192.0.2.2")?);
        Ok(())
    }

    #[test]
    fn a_share_is_of_the_limit_and_never_nothing() {
        assert_eq!([4, 1_000, 1, 0, usize::MAX].map(|limit| Share(75).of(limit) > 0), [true; 5]);
        assert_eq!((Share(75).of(4), Share(75).of(1_536), Share(100).of(7)), (3, 1_152, 7));
    }

    #[test]
    fn what_is_no_share_is_refused_by_name() -> Result<(), Box<highwater_runtime::config::Error>> {
        for (given, taken) in
            [("0", false), ("1", true), ("100", true), ("101", false), ("many", false)]
        {
            let flags = vec![("http.peer_share_percent".to_owned(), given.to_owned())];
            let settings =
                highwater_runtime::config::Config::load_with(None, Some(Vec::new()), flags)?
                    .section::<crate::server::HttpSettings>("http");
            assert_eq!(settings.is_ok(), taken, "{given}");
            let said = settings.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(taken || said.contains("http.peer_share_percent"), "{said}");
        }
        Ok(())
    }
}
