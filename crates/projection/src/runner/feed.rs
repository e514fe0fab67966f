//! What a track reads: a partition of `events` through the fold, or one of `commands` record by
//! record. Knows no projection.

use highwater_log::{Follow, Log, Partition, Step, follow};
use highwater_protocol::{fold::Effect, position::Position, wire::Wire};

use super::{
    batch::{Item, Source, What},
    commands::{self, Commands},
    heard::Heard,
};

pub enum Feed {
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

impl Feed {
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
            Feed::Events(follow) => follow.fold().position(),
            Feed::Commands(commands) => commands.position(),
        }
    }

    pub fn partition(&self) -> &Partition {
        match self {
            Feed::Events(follow) => follow.partition(),
            Feed::Commands(commands) => commands.partition(),
        }
    }

    /// Waits for the next delivery. Dropping the future loses nothing. After an error the feed is
    /// at its end.
    pub async fn next(&mut self) -> Result<Heard, follow::Error> {
        match self {
            Feed::Events(follow) => follow.next().await.map(visible),
            Feed::Commands(commands) => commands.next().await,
        }
    }
}

/// What the fold shows.
fn visible(step: Step) -> Heard {
    let (mut items, mut voids) = (Vec::new(), 0);
    for seen in step.effects {
        voids += u64::from(matches!(seen.effect, Effect::Void(_)));
        if let Some(what) = What::of(seen.effect, seen.offset) {
            items.push(Item { what, after: seen.position });
        }
    }
    Heard {
        items,
        voids,
        position: step.position,
        caught_up: step.caught_up,
        trouble: step.trouble,
    }
}
