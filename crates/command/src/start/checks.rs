//! What must hold before an instance takes part: its settings fit together, its keys and the tables
//! are there.

use std::path::Path;

use highwater_log::LogSettings;
use highwater_runtime::{
    identity::DeploymentKeys,
    postgres::{self, Connections},
};

use super::{Error, IdentitySettings, SCHEMA_VERSION};
use crate::{
    owner::address::Address,
    settings::{LaneSettings, OwnerSettings, PeerSettings},
    store,
};

/// A commit takes its share of the budget before its first append; the budgets must fit in the
/// producers' queues.
pub(super) fn budget(
    owner: &OwnerSettings,
    lane: &LaneSettings,
    naming: &LogSettings,
) -> Result<(), Error> {
    let partitions = u64::from(naming.partitions.get()) * store::categories().len() as u64;
    let each = owner.in_flight_bytes as u64;
    let room = naming.queue_bytes() / 5 * 4;
    let lane = lane.in_flight_bytes as u64;
    if partitions * each + lane > room {
        Err(Error::Budget { partitions, each, lane, room })
    } else {
        Ok(())
    }
}

pub(super) fn lane(lane: &LaneSettings) -> Result<(), Error> {
    let limits = [
        ("lane.deadline_ms", lane.deadline_ms, LaneSettings::DEADLINE_MOST_MS),
        ("lane.silence_ms", lane.silence_ms, LaneSettings::SILENCE_MOST_MS),
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
pub(super) async fn database(tables: &Connections) -> Result<uuid::Uuid, Error> {
    let found = match version(tables).await {
        Ok(found) => found,
        Err(error) if postgres::is_unmigrated(&error) => 0,
        Err(error) => return Err(error.into()),
    };
    if found < SCHEMA_VERSION {
        return Err(Error::OlderSchema { found });
    }
    if found > SCHEMA_VERSION {
        return Err(Error::NewerSchema { found });
    }
    Ok(sqlx::query_scalar!("SELECT id FROM database_identity")
        .fetch_one(&mut tables.connect().await?)
        .await?)
}

/// On a connection of its own, which says why there is none.
async fn version(tables: &Connections) -> Result<i32, sqlx::Error> {
    let mut connection = tables.connect().await?;
    let found =
        sqlx::query_scalar!("SELECT version FROM schema_version WHERE component = 'system'")
            .fetch_optional(&mut connection)
            .await?;
    Ok(found.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_the_producers_queues_and_hold_the_largest_commit() {
        let (owner, lane, mut naming) =
            (OwnerSettings::default(), LaneSettings::default(), LogSettings::default());
        assert!(budget(&owner, &lane, &naming).is_ok(), "{:?}", budget(&owner, &lane, &naming));
        assert!(owner.in_flight_bytes >= owner.limits(&lane).commit_bytes);
        assert!(self::lane(&lane).is_ok());
        naming.queue_kbytes /= 2;
        assert!(matches!(budget(&owner, &lane, &naming), Err(Error::Budget { .. })));
    }
}
