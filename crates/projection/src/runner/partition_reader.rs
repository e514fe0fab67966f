//! What a follower reads: a partition of `events` through the fold, or one of `commands` record by
//! record. Knows no projection.

use highwater_log::{Follow, Log, Partition, Step, follow};
use highwater_protocol::{fold::Effect, position::Position, wire::Wire};

use super::{
    arrival::Arrival,
    batch::{Item, Source, What},
    commands::{self, Commands},
};

pub enum PartitionReader {
    Events(Follow),
    Commands(Commands),
}

/// Proves, as far as the log still can, that `from` was taken from this very log.
pub async fn check(
    log: &dyn Log,
    partition: &Partition,
    source: Source,
    from: &Position<Wire>,
) -> Result<(), follow::Error> {
    match source {
        Source::Events => Ok(follow::check(log, partition, from).await?),
        Source::Commands => Ok(commands::check(log, partition, from).await.map(drop)?),
    }
}

impl PartitionReader {
    /// Checks `from` and reads on from there; where the log has forgotten what comes next, from the
    /// first record that there is.
    pub async fn resume(
        log: &dyn Log,
        partition: &Partition,
        source: Source,
        from: Position<Wire>,
    ) -> Result<Self, follow::Error> {
        match source {
            Source::Events => Follow::resume(log, partition, from).await.map(Self::Events),
            Source::Commands => Commands::resume(log, partition, from).await.map(Self::Commands),
        }
    }

    pub fn position(&self) -> &Position<Wire> {
        match self {
            PartitionReader::Events(follow) => follow.fold().position(),
            PartitionReader::Commands(commands) => commands.position(),
        }
    }

    pub fn partition(&self) -> &Partition {
        match self {
            PartitionReader::Events(follow) => follow.partition(),
            PartitionReader::Commands(commands) => commands.partition(),
        }
    }

    /// Waits for the next delivery. Dropping the future loses nothing. After an error the reader is
    /// at its end.
    pub async fn next(&mut self) -> Result<Arrival, follow::Error> {
        match self {
            PartitionReader::Events(follow) => follow.next().await.map(visible),
            PartitionReader::Commands(commands) => commands.next().await,
        }
    }
}

/// What the fold shows.
fn visible(step: Step) -> Arrival {
    let (mut items, mut voids) = (Vec::new(), 0);
    for seen in step.effects {
        voids += u64::from(matches!(seen.effect, Effect::Void(_)));
        if let Some(what) = What::of(seen.effect, seen.offset) {
            items.push(Item { what, after: seen.position });
        }
    }
    Arrival {
        items,
        voids,
        position: step.position,
        caught_up: step.caught_up,
        trouble: step.trouble,
    }
}
