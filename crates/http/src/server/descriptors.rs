//! Owns how many descriptors the process may have open (RLIMIT_NOFILE), and how many connections
//! fit into them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use super::room::Places;
use super::settings::HttpSettings;

/// What the soft limit is raised to at least, if the hard one allows: the log and the database want
/// files, too.
const WANTED: u64 = 65_536;

/// Raises the soft limit where it is too low, and says how many connections there may be.
pub(super) fn places(settings: &HttpSettings) -> Places {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = (settings.connection_limit
        + settings.health_connections
        + settings.spare_descriptors) as u64;
    let available = match current {
        Some(soft) if soft < needed => raise(soft, maximum, needed),
        soft => soft,
    };
    fit(settings, available)
}

fn raise(soft: u64, hard: Option<u64>, needed: u64) -> Option<u64> {
    let wanted = needed.max(WANTED).min(hard.unwrap_or(u64::MAX));
    if wanted <= soft {
        return Some(soft);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: hard }) {
        Ok(()) => {
            info!(from = soft, to = wanted, "raised the limit of open descriptors (ulimit -n)");
            Some(wanted)
        }
        Err(error) => {
            warn!(%error, soft, wanted, "the limit of open descriptors (ulimit -n) cannot be \
                raised");
            Some(soft)
        }
    }
}

/// Fewer connections where there are fewer descriptors; none given is no limit.
fn fit(settings: &HttpSettings, descriptors: Option<u64>) -> Places {
    let (all, health) = (settings.connection_limit.max(1), settings.health_connections);
    let descriptors = descriptors
        .map_or(usize::MAX, |descriptors| usize::try_from(descriptors).unwrap_or(usize::MAX));
    let fitting =
        descriptors.saturating_sub(settings.spare_descriptors.saturating_add(health)).max(1);
    if fitting >= all {
        return Places { all, of_one_peer: settings.connections_per_peer.max(1), health };
    }
    // A share stays the share that it was.
    let of_one_peer = (settings.connections_per_peer.saturating_mul(fitting) / all).max(1);
    warn!(
        connections = fitting,
        connection_limit = all,
        descriptors,
        spare_descriptors = settings.spare_descriptors,
        "fewer connections than http.connection_limit: the limit of open descriptors (ulimit -n) \
         leaves room for no more"
    );
    Places { all: fitting, of_one_peer, health }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_what_descriptors_leave_room_for() {
        let settings = HttpSettings::default();
        let places = |descriptors| {
            let Places { all, of_one_peer, health } = fit(&settings, descriptors);
            (all, of_one_peer, health)
        };
        assert_eq!(places(None), (4_096, 2_048, 16));
        assert_eq!(places(Some(65_536)), (4_096, 2_048, 16));
        assert_eq!(places(Some(4_096 + 16 + 512)), (4_096, 2_048, 16));
        assert_eq!(places(Some(1_024)), (496, 248, 16));
        assert_eq!(places(Some(256)), (1, 1, 16));
    }
}
