//! A partition read through the fold from a stored position, after proving that the log is still
//! the same history (log-format.md, "What Kafka must promise"). Leaves nothing out: voids are
//! effects too. Never goes on over a gap.

use std::fmt;

use highwater_protocol::{
    fold::{Effect, Fold, Gap},
    position::{Position, Witness},
    record::StoredRecord,
    wire::{self, Wire},
};
use uuid::Uuid;

use crate::log::{self, Delivery, Log, Partition, Subscription};

/// How many records one look-up asks for while the first fence is searched.
const SEARCH_RECORDS: usize = 100;

/// The log is not the history that the position was taken from.
#[derive(Debug, thiserror::Error)]
pub enum Divergence {
    #[error("{partition}: the position belongs to the history that {} began, the log to the one \
             that {} began", name(.stored), name(.found))]
    Identity { partition: Partition, stored: Option<Uuid>, found: Option<Uuid> },
    #[error(
        "{partition}: the position saw {stored} at offset {offset}, the log has {found} there: \
         they are two histories"
    )]
    Witness { partition: Partition, offset: u64, stored: String, found: String },
    #[error(
        "{partition}: the position of the history that {} began lies at offset {offset}, \
         but the log ends at {end}: records were lost, or it is another log",
        name(.identity)
    )]
    BeyondEnd { partition: Partition, identity: Option<Uuid>, offset: u64, end: u64 },
    /// Neither proved nor disproved: try again.
    #[error(transparent)]
    Log(#[from] log::Error),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Diverged(Divergence),
    #[error("{partition}: {gap}")]
    Gap { partition: Partition, gap: Gap },
    #[error(transparent)]
    Log(log::Error),
    #[error("{0}: the log was closed")]
    Closed(Partition),
}

/// One record, and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedRecord {
    pub offset: u64,
    pub appended_at_ms: i64,
    pub effect: Effect<Wire>,
    /// Where the fold can be resumed after this record.
    pub position: Position<Wire>,
}

/// What one delivery of the log brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// One for every record, in the log's sequence.
    pub effects: Vec<FollowedRecord>,
    /// Where the fold can be resumed after these effects: never inside a commit.
    pub position: Position<Wire>,
    /// The offset after the last record applied; above `position.offset` while a commit is open.
    pub end: u64,
    /// At this moment the log had no more.
    pub caught_up: bool,
    /// The reader had a problem and goes on trying.
    pub trouble: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Follow {
    partition: Partition,
    fold: Fold<Wire>,
    subscription: Subscription,
}

impl Follow {
    /// Checks the identity and reads on from `position`.
    pub async fn resume(
        log: &dyn Log,
        partition: &Partition,
        position: Position<Wire>,
    ) -> Result<Self, Error> {
        check(log, partition, &position).await?;
        let subscription = log.read(partition, position.offset).map_err(Error::Log)?;
        Ok(Self { partition: partition.clone(), fold: Fold::resume(position), subscription })
    }

    /// The fold up to the last record applied.
    pub fn fold(&self) -> &Fold<Wire> {
        &self.fold
    }

    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Waits for the next delivery. Dropping the future loses nothing. After an error the follower
    /// is at its end.
    pub async fn next(&mut self) -> Result<Step, Error> {
        let delivery = self.subscription.deliveries.recv().await;
        self.apply(delivery.ok_or_else(|| Error::Closed(self.partition.clone()))?)
    }

    fn apply(&mut self, delivery: Delivery) -> Result<Step, Error> {
        let (mut effects, mut caught_up, mut trouble) = (Vec::new(), false, None);
        match delivery {
            Delivery::Records(records) => {
                effects.reserve(records.len());
                for stored in records {
                    effects.push(self.apply_one(stored)?);
                }
            }
            Delivery::CaughtUp(end) => {
                let expected = self.fold.next_offset();
                if end > expected {
                    // Offsets were used up by something that readers never see: a transaction's
                    // marker.
                    return Err(self.gap(Gap { expected, found: end }));
                }
                caught_up = end == expected;
            }
            Delivery::Trouble(what) => trouble = Some(what),
            Delivery::Failed(error) => return Err(Error::Log(error)),
        }
        Ok(Step {
            effects,
            position: self.fold.position().clone(),
            end: self.fold.next_offset(),
            caught_up,
            trouble,
        })
    }

    fn apply_one(&mut self, stored: StoredRecord) -> Result<FollowedRecord, Error> {
        let StoredRecord { offset, appended_at_ms, record } = stored;
        let effect = self.fold.apply(offset, wire::decode(record)).map_err(|gap| self.gap(gap))?;
        Ok(FollowedRecord {
            offset,
            appended_at_ms,
            effect,
            position: self.fold.position().clone(),
        })
    }

    fn gap(&self, gap: Gap) -> Error {
        Error::Gap { partition: self.partition.clone(), gap }
    }
}

/// Proves that `from` was taken from this very log: its first valid fence, its witness, its length.
pub async fn check(
    log: &dyn Log,
    partition: &Partition,
    from: &Position<Wire>,
) -> Result<(), Divergence> {
    let end = log.end(partition).await?;
    check_identity_below(log, partition, from, end).await?;
    check_length(partition, from, end)?;
    match &from.witness {
        Some(witness) => {
            let stored = log.fetch(partition, witness.offset, 1).await?.into_iter().next();
            check_witness(partition, witness, stored)
        }
        None => Ok(()),
    }
}

/// Proves that the history that `from` belongs to began as the log does. The rest is
/// [`check_length`] and [`check_witness`].
pub async fn check_identity(
    log: &dyn Log,
    partition: &Partition,
    from: &Position<Wire>,
) -> Result<(), Divergence> {
    let end = log.end(partition).await?;
    check_identity_below(log, partition, from, end).await
}

/// Proves that nothing was lost that `from` has seen.
pub fn check_length(
    partition: &Partition,
    from: &Position<Wire>,
    end: u64,
) -> Result<(), Divergence> {
    if from.offset > end {
        return Err(Divergence::BeyondEnd {
            partition: partition.clone(),
            identity: from.identity,
            offset: from.offset,
            end,
        });
    }
    Ok(())
}

/// The writer of the first valid fence, if there is one.
pub async fn first_writer(
    log: &dyn Log,
    partition: &Partition,
) -> Result<Option<Uuid>, log::Error> {
    let end = log.end(partition).await?;
    first_writer_below(log, partition, end, end).await
}

async fn check_identity_below(
    log: &dyn Log,
    partition: &Partition,
    from: &Position<Wire>,
    end: u64,
) -> Result<(), Divergence> {
    // Where the position knows no first fence, there must be none below it.
    let until = if from.identity.is_some() { end } else { from.offset.min(end) };
    let found = first_writer_below(log, partition, until, end).await?;
    if found != from.identity {
        return Err(Divergence::Identity {
            partition: partition.clone(),
            stored: from.identity,
            found,
        });
    }
    Ok(())
}

async fn first_writer_below(
    log: &dyn Log,
    partition: &Partition,
    until: u64,
    end: u64,
) -> Result<Option<Uuid>, log::Error> {
    let mut fold = Fold::<Wire>::new();
    while fold.next_offset() < until {
        let expected = fold.next_offset();
        let records = log.fetch(partition, expected, SEARCH_RECORDS).await?;
        if records.is_empty() {
            return Err(partition
                .error(format!("offset {expected} cannot be read, but the log ends at {end}")));
        }
        for stored in records {
            if stored.offset >= until {
                return Ok(None);
            }
            let effect = fold
                .apply(stored.offset, wire::decode(stored.record))
                .map_err(|gap| partition.error(gap))?;
            if let Effect::Fence { writer, .. } = effect {
                return Ok(Some(writer));
            }
        }
    }
    Ok(None)
}

/// Proves that `stored`, read at the witness's offset, is the record that was seen there.
pub fn check_witness(
    partition: &Partition,
    witness: &Witness<Wire>,
    stored: Option<StoredRecord>,
) -> Result<(), Divergence> {
    let stored = stored.filter(|stored| stored.offset == witness.offset);
    let entry = stored.and_then(|stored| wire::decode(stored.record).ok());
    let found = entry.map(|entry| Witness {
        offset: witness.offset,
        epoch: entry.epoch,
        writer: entry.writer,
        seq: entry.seq,
    });
    if found.as_ref() == Some(witness) {
        return Ok(());
    }
    Err(Divergence::Witness {
        partition: partition.clone(),
        offset: witness.offset,
        stored: Sender(witness).to_string(),
        found: found
            .map_or_else(|| "no valid record".to_owned(), |found| Sender(&found).to_string()),
    })
}

impl From<Divergence> for Error {
    fn from(divergence: Divergence) -> Self {
        match divergence {
            Divergence::Log(error) => Error::Log(error),
            divergence => Error::Diverged(divergence),
        }
    }
}

struct Sender<'a>(&'a Witness<Wire>);

impl fmt::Display for Sender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Witness { epoch, writer, seq, .. } = self.0;
        match seq {
            Some(seq) => write!(f, "record {seq} of writer {writer} in epoch {epoch}"),
            None => write!(f, "the fence of writer {writer} for epoch {epoch}"),
        }
    }
}

fn name(writer: &Option<Uuid>) -> String {
    writer.map_or_else(|| "no writer".to_owned(), |writer| format!("writer {writer}"))
}

#[cfg(test)]
mod tests {
    use highwater_protocol::{
        entry::{Body, Entry},
        record::Record,
    };
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn follow(delivery: Delivery) -> Result<Step, Error> {
        let (_deliveries, receiver) = mpsc::channel(1);
        let subscription =
            Subscription { deliveries: receiver, guard: CancellationToken::new().drop_guard() };
        let partition = Partition { topic: "things".into(), index: 3 };
        Follow { partition, fold: Fold::new(), subscription }.apply(delivery)
    }

    fn stored(offset: u64) -> StoredRecord {
        StoredRecord { offset, appended_at_ms: 1, record: Record::default() }
    }

    #[test]
    fn a_gap_halts_and_names_both_offsets() {
        let gap = follow(Delivery::Records(vec![stored(0), stored(2)])).unwrap_err();
        assert!(matches!(&gap, Error::Gap { gap: Gap { expected: 1, found: 2 }, .. }), "{gap}");
        assert!(
            gap.to_string()
                .starts_with("things/3: the log continues at offset 2 where 1 was expected"),
            "{gap}"
        );
        assert!(
            matches!(follow(Delivery::CaughtUp(1)), Err(Error::Gap { .. })),
            "an end that no record explains"
        );
    }

    #[test]
    fn a_witness_is_the_record_at_its_place_by_epoch_writer_and_sequence() {
        let partition = Partition { topic: "things".into(), index: 3 };
        let (writer, barrier) = (Uuid::from_u128(7), |seq| (Body::Barrier, seq));
        let record = |(body, seq)| {
            wire::encode(
                &Entry { epoch: 3, writer, seq, drained: None, body },
                "/test/thing",
                Uuid::nil(),
            )
        };
        let at =
            |offset, entry| Some(StoredRecord { offset, appended_at_ms: 1, record: record(entry) });
        let witness = Witness { offset: 4, epoch: 3, writer, seq: Some(2) };
        let same =
            |witness: &Witness<Wire>, stored| check_witness(&partition, witness, stored).is_ok();
        assert!(same(&witness, at(4, barrier(Some(2)))));
        for other in [
            Witness { epoch: 2, ..witness.clone() },
            Witness { writer: Uuid::from_u128(8), ..witness.clone() },
            Witness { seq: Some(3), ..witness.clone() },
            Witness { seq: None, ..witness.clone() },
        ] {
            assert!(!same(&other, at(4, barrier(Some(2)))), "{other:?}");
        }
        assert!(!same(&witness, at(5, barrier(Some(2)))), "the record behind it");
        assert!(!same(&witness, Some(stored(4))) && !same(&witness, None));
        let fence = Witness { seq: None, ..witness };
        assert!(same(&fence, at(4, (Body::Fence, None))) && !same(&fence, at(4, barrier(Some(0)))));
    }

    #[test]
    fn voids_are_seen_and_trouble_is_passed_on() {
        let step = follow(Delivery::Records(vec![stored(0), stored(1)])).unwrap();
        assert!(step.effects.iter().all(|seen| matches!(seen.effect, Effect::Void(_))));
        assert_eq!((step.effects.len(), step.position.offset, step.caught_up), (2, 2, false));
        assert_eq!(
            follow(Delivery::Trouble("t".to_owned())).unwrap().trouble.as_deref(),
            Some("t")
        );
        assert!(follow(Delivery::CaughtUp(0)).unwrap().caught_up);
    }
}
