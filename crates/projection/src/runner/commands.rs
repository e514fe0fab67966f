//! A partition of `commands`, record by record. There is no fold: a record is accepted as soon as
//! it lies there, and its outcome is in `events`. The log forgets it after a while, so what is
//! missing is counted and gone on over.
//!
//! A position here is an offset; its witness is the last record below it, by its place, its time of
//! appending (as `epoch`) and its command (as `writer`), so that another history is noticed as long
//! as that record is there.

use highwater_log::{Delivery, Log, Partition, Subscription, follow, follow::Divergence};
use highwater_protocol::{
    command_queue::{self, DecodeError},
    position::{Position, Witness},
    record::StoredRecord,
    wire::Wire,
};
use metrics::counter;
use tracing::warn;
use uuid::Uuid;

use super::{
    arrival::Arrival,
    batch::{Item, What},
};

/// See the module.
#[derive(Debug)]
pub struct Commands {
    partition: Partition,
    position: Position<Wire>,
    subscription: Subscription,
}

impl Commands {
    /// Checks `from` and reads on from there, or from the first record that there still is.
    pub async fn resume(
        log: &dyn Log,
        partition: &Partition,
        from: Position<Wire>,
    ) -> Result<Self, follow::Error> {
        let begin = check(log, partition, &from).await?;
        let mut position = from;
        if begin > position.offset {
            go_on_over(partition, &mut position, begin);
        }
        let subscription = log.read(partition, position.offset).map_err(follow::Error::Log)?;
        Ok(Self { partition: partition.clone(), position, subscription })
    }

    pub fn position(&self) -> &Position<Wire> {
        &self.position
    }

    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Waits for the next delivery. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Arrival, follow::Error> {
        let delivery = self.subscription.deliveries.recv().await;
        self.receive(delivery.ok_or_else(|| follow::Error::Closed(self.partition.clone()))?)
    }

    fn receive(&mut self, delivery: Delivery) -> Result<Arrival, follow::Error> {
        let (mut items, mut caught_up, mut trouble) = (Vec::new(), false, None);
        match delivery {
            Delivery::Records(records) => {
                items.extend(records.into_iter().map(|stored| self.take(stored)))
            }
            Delivery::CaughtUp(end) => {
                if end > self.position.offset {
                    go_on_over(&self.partition, &mut self.position, end);
                }
                caught_up = end == self.position.offset;
            }
            Delivery::Trouble(what) => trouble = Some(what),
            Delivery::Failed(error) => return Err(follow::Error::Log(error)),
        }
        Ok(Arrival { items, voids: 0, position: self.position.clone(), caught_up, trouble })
    }

    fn take(&mut self, stored: StoredRecord) -> Item {
        if stored.offset > self.position.offset {
            go_on_over(&self.partition, &mut self.position, stored.offset);
        }
        let StoredRecord { offset, appended_at_ms, record } = stored;
        let command = command_queue::decode(record);
        let witness = witness(offset, appended_at_ms, &command);
        self.position =
            Position { offset: offset + 1, witness: Some(witness), ..Position::start() };
        // No projection here reads bodies, and a batch of them would be large.
        let command = command.map(|command| {
            Box::new(command_queue::AcceptedCommand { body: Vec::new(), ..command })
        });
        Item {
            what: What::Accepted { offset, appended_at_ms, command },
            after: self.position.clone(),
        }
    }
}

/// The first offset that is still there, if `from` is not known to be of another history.
pub async fn check(
    log: &dyn Log,
    partition: &Partition,
    from: &Position<Wire>,
) -> Result<u64, Divergence> {
    let (begin, end) = (log.begin(partition).await?, log.end(partition).await?);
    if from.offset > end {
        return Err(Divergence::BeyondEnd {
            partition: partition.clone(),
            identity: from.identity,
            offset: from.offset,
            end,
        });
    }
    let Some(known) = from.witness.as_ref().filter(|known| known.offset >= begin) else {
        return Ok(begin);
    };
    let stored = log
        .fetch(partition, known.offset, 1)
        .await?
        .into_iter()
        .find(|stored| stored.offset == known.offset);
    let found = stored.map(|stored| {
        witness(stored.offset, stored.appended_at_ms, &command_queue::decode(stored.record))
    });
    if found.as_ref() == Some(known) {
        return Ok(begin);
    }
    let named =
        |witness: &Witness<Wire>| format!("command {} of {} ms", witness.writer, witness.epoch);
    Err(Divergence::Witness {
        partition: partition.clone(),
        offset: known.offset,
        stored: named(known),
        found: found.as_ref().map_or_else(|| "no record".to_owned(), named),
    })
}

/// What was missed cannot be read any more by any reader; what became of it is in `events`.
fn go_on_over(partition: &Partition, position: &mut Position<Wire>, found: u64) {
    let missed = found - position.offset;
    warn!(%partition, from = position.offset, found, missed, "accepted commands are not in the log \
        any more: going on with the first that is");
    counter!(
        "highwater_projection_missed_commands_total",
        "topic" => partition.topic.to_string(),
        "partition" => partition.index.to_string()
    )
    .increment(missed);
    *position = Position { offset: found, ..Position::start() };
}

fn witness(
    offset: u64,
    appended_at_ms: i64,
    command: &Result<command_queue::AcceptedCommand, DecodeError>,
) -> Witness<Wire> {
    let id = match command {
        Ok(command) => command.command,
        Err(DecodeError::Undecodable { metadata: Some(metadata), .. }) => metadata.command,
        Err(_) => Uuid::nil(),
    };
    Witness { offset, epoch: appended_at_ms.max(0).unsigned_abs(), writer: id, seq: None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;
    use highwater_protocol::record::Record;
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::runner::tests::history::{History, Shelf, accepted};

    fn at(offset: u64) -> Commands {
        let (_deliveries, receiver) = mpsc::channel(1);
        let subscription =
            Subscription { deliveries: receiver, guard: CancellationToken::new().drop_guard() };
        let partition = Partition { topic: "things".into(), index: 3 };
        Commands { partition, position: Position { offset, ..Position::start() }, subscription }
    }

    fn stored(offset: u64) -> StoredRecord {
        let record = command_queue::encode(&accepted(offset));
        StoredRecord { offset, appended_at_ms: 1_000 + i64::try_from(offset).unwrap_or(0), record }
    }

    /// A command queue of three commands, and where a reader stands after each offset.
    fn queue() -> (Shelf, Partition, impl Fn(u64) -> Position<Wire>) {
        let queue = Arc::new(History::of_queue(&[true; 3]));
        let at = {
            let queue = queue.clone();
            move |offset: u64| queue.positions[&offset].clone()
        };
        (
            Shelf::new(&[], &[queue], 3, 1),
            Partition { topic: "test.thing.commands".into(), index: 0 },
            at,
        )
    }

    #[tokio::test]
    async fn a_place_of_this_command_queue_is_gone_on_from() -> Result<(), follow::Error> {
        let (log, partition, at) = queue();
        for offset in 0..=3 {
            let mut commands = Commands::resume(&log, &partition, at(offset)).await?;
            let mut read = Vec::new();
            while let Some(arrival) = commands.next().now_or_never() {
                read.extend(arrival?.items.into_iter().map(|item| (item.what.start(), item.after)));
            }
            assert_eq!(
                read,
                (offset..3).map(|offset| (offset, at(offset + 1))).collect::<Vec<_>>()
            );
            assert_eq!(commands.position(), &at(3));
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_place_of_another_command_queue_is_refused_as_long_as_its_record_is_there() {
        let (log, partition, at) = queue();
        let others: [fn(&mut Witness<Wire>); 3] = [
            |witness| witness.epoch += 1,
            |witness| witness.writer = Uuid::from_u128(77),
            |witness| witness.seq = Some(0),
        ];
        for change in others {
            let mut from = at(2);
            change(from.witness.as_mut().unwrap());
            let refused = check(&log, &partition, &from).await.unwrap_err();
            assert!(matches!(refused, Divergence::Witness { offset: 1, .. }), "{refused}");
        }
        let beyond = Position { offset: 4, ..at(3) };
        assert!(matches!(
            check(&log, &partition, &beyond).await,
            Err(Divergence::BeyondEnd { offset: 4, end: 3, .. })
        ));
        // The last record below it is still there: it is compared. One that is forgotten cannot be.
        let mut from = at(2);
        from.witness.as_mut().unwrap().epoch += 1;
        log.forget(1);
        assert!(check(&log, &partition, &from).await.is_err());
        log.forget(1);
        assert_eq!(check(&log, &partition, &from).await.unwrap(), 2);
        let commands = Commands::resume(&log, &partition, at(1)).await.unwrap();
        assert_eq!(
            commands.position(),
            &Position { offset: 2, ..Position::start() },
            "what is forgotten is gone on over"
        );
        assert_eq!(Commands::resume(&log, &partition, at(2)).await.unwrap().position(), &at(2));
    }

    #[test]
    fn every_record_is_a_place_to_resume_at() -> Result<(), follow::Error> {
        let mut commands = at(5);
        let garbage = StoredRecord { offset: 6, appended_at_ms: -1, record: Record::default() };
        let arrival = commands.receive(Delivery::Records(vec![stored(5), garbage]))?;
        let witness = |offset, epoch, writer| Some(Witness { offset, epoch, writer, seq: None });
        let topic_partitions: Vec<_> = arrival
            .items
            .iter()
            .map(|item| (item.after.offset, item.after.witness.clone()))
            .collect();
        assert_eq!(
            topic_partitions,
            [(6, witness(5, 1_005, Uuid::from_u128(5))), (7, witness(6, 0, Uuid::nil()))]
        );
        assert!(matches!(
            &arrival.items[0].what,
            What::Accepted { offset: 5, command: Ok(command), .. } if command.body.is_empty()
        ));
        assert!(matches!(
            &arrival.items[1].what,
            What::Accepted { command: Err(DecodeError::Undecodable { metadata: None, .. }), .. }
        ));
        assert_eq!((arrival.position.offset, arrival.caught_up), (7, false));
        assert!(commands.receive(Delivery::CaughtUp(7))?.caught_up);
        assert!(
            !commands.receive(Delivery::CaughtUp(6))?.caught_up,
            "what came since has not been read"
        );
        Ok(())
    }

    #[test]
    fn what_is_missing_is_counted_and_a_command_queue_without_a_gap_shows_nothing()
    -> Result<(), follow::Error> {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let _local = metrics::set_default_local_recorder(&recorder);
        let missed = || {
            recorder
                .handle()
                .render()
                .lines()
                .find(|line| line.starts_with("highwater"))
                .map(str::to_owned)
        };
        let mut commands = at(5);
        commands.receive(Delivery::Records(vec![stored(5), stored(6)]))?;
        commands.receive(Delivery::CaughtUp(7))?;
        assert_eq!(missed(), None);
        commands.receive(Delivery::Records(vec![stored(9)]))?;
        commands.receive(Delivery::CaughtUp(13))?;
        let expected =
            "highwater_projection_missed_commands_total{topic=\"things\",partition=\"3\"} 5";
        assert_eq!(missed().as_deref(), Some(expected));
        Ok(())
    }

    #[test]
    fn what_is_missing_is_gone_on_over() -> Result<(), follow::Error> {
        let mut commands = at(5);
        let arrival = commands.receive(Delivery::Records(vec![stored(9)]))?;
        assert_eq!((arrival.items[0].what.start(), arrival.position.offset), (9, 10));
        let ended = commands.receive(Delivery::CaughtUp(12))?;
        assert_eq!(
            (ended.position, ended.caught_up),
            (Position { offset: 12, ..Position::start() }, true)
        );
        assert!(
            commands
                .receive(Delivery::Failed(highwater_log::Error::Refused("no".to_owned())))
                .is_err()
        );
        assert_eq!(
            commands.receive(Delivery::Trouble("t".to_owned()))?.trouble.as_deref(),
            Some("t")
        );
        Ok(())
    }
}
