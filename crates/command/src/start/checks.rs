//! What must hold before an instance takes part: its settings fit together, its keys and the tables
//! are there.

use std::path::Path;

use highwater_log::LogSettings;
use highwater_runtime::identity::DeploymentKeys;
use highwater_tables::{identity, migrations, postgres::Connections};

use super::{Error, IdentitySettings};
use crate::{
    owner::address::Address,
    settings::{OwnerSettings, PeerSettings, QueueSettings},
};

/// What a partition may hold unconfirmed: its share of the producers' queues, and no more than is
/// set. A commit takes its part of it before its first append, so the largest one must fit.
pub(super) fn share(
    owner: &OwnerSettings,
    queue: &QueueSettings,
    naming: &LogSettings,
    categories: usize,
) -> Result<usize, Error> {
    let partitions = u64::from(naming.partitions.get()) * categories.max(1) as u64;
    let room = naming.queue_bytes() / 5 * 4;
    let command_queue_bytes = queue.in_flight_bytes as u64;
    let share = room.saturating_sub(command_queue_bytes) / partitions;
    let share = usize::try_from(share).unwrap_or(usize::MAX).min(owner.in_flight_bytes);
    let least = owner.limits(queue).commit_bytes;
    if share < least {
        return Err(Error::Budget { partitions, share, least, queue: command_queue_bytes, room });
    }
    Ok(share)
}

pub(super) fn queue(queue: &QueueSettings) -> Result<(), Error> {
    let limits = [
        ("queue.deadline_ms", queue.deadline_ms, QueueSettings::DEADLINE_MOST_MS),
        ("queue.silence_ms", queue.silence_ms, QueueSettings::SILENCE_MOST_MS),
    ];
    let broken = limits.into_iter().find(|(_, found, most)| !(1..=*most).contains(found));
    broken.map_or(Ok(()), |(setting, found, most)| Err(Error::Limit { setting, found, most }))
}

/// Others would not believe an announcement with more in it.
pub(super) fn advertise(peers: &PeerSettings) -> Result<(), Error> {
    let advertise = peers.advertise.clone();
    if advertise.is_empty() {
        return Ok(());
    }
    Address::parse(&advertise).map(drop).map_err(|why| Error::Advertise { advertise, why })
}

pub(super) fn load_keys(settings: &IdentitySettings) -> Result<DeploymentKeys, Error> {
    if settings.keys.is_empty() {
        return Err(Error::NoKeys);
    }
    Ok(DeploymentKeys::load(Path::new(&settings.keys))?)
}

/// The database's identity, if its tables are those of this release.
pub(super) async fn database(tables: &Connections) -> Result<uuid::Uuid, migrations::Error> {
    let mut connection = migrations::open(tables, None).await?;
    Ok(identity::database_identity(&mut connection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_categories_start_with_the_defaults_and_three_have_what_is_set() {
        let (owner, queue, mut naming) =
            (OwnerSettings::default(), QueueSettings::default(), LogSettings::default());
        assert!(self::queue(&queue).is_ok());
        let share = |naming: &LogSettings, count| share(&owner, &queue, naming, count).ok();
        assert_eq!(share(&naming, 3), Some(owner.in_flight_bytes));
        let of_thirty = share(&naming, 30).expect("it starts");
        assert!(of_thirty >= owner.limits(&queue).commit_bytes);
        let all = 30 * u64::from(naming.partitions.get()) * of_thirty as u64;
        assert!(all + queue.in_flight_bytes as u64 <= naming.queue_bytes() / 5 * 4);
        naming.queue_kbytes /= 2;
        assert_eq!(share(&naming, 30), None);
        assert!(share(&naming, 3).is_some());
    }

    #[test]
    fn the_largest_commit_must_fit_into_what_is_set() {
        let owner = OwnerSettings { in_flight_bytes: 899_999, ..OwnerSettings::default() };
        let refused = share(&owner, &QueueSettings::default(), &LogSettings::default(), 1);
        assert!(matches!(refused, Err(Error::Budget { share: 899_999, .. })), "{refused:?}");
    }
}
