//! A partition being followed for the projections that read it. Collects what arrives; knows
//! nothing of transactions.

use std::sync::Arc;

use futures_util::FutureExt;
use highwater_log::follow;
use highwater_protocol::{position::Position, wire::Wire};
use highwater_runtime::resilience::Once;
use metrics::counter;

use super::{
    arrival::Arrival,
    batch::{Item, Room, TopicPartition},
    partition_reader::PartitionReader,
    plan::Job,
    rules::{self, Checkpoints},
};

pub struct Follower {
    topic_partition: TopicPartition,
    reader: PartitionReader,
    /// Of the projections that go on.
    checkpoints: Checkpoints,
    /// What no job covers yet.
    arrived: Vec<Item>,
    events: usize,
    bytes: usize,
    /// Where the fold stands after `arrived`.
    read_to: Position<Wire>,
    caught_up: bool,
    /// The follower's end, until the runner takes it.
    ended: Option<follow::Error>,
    trouble: Once,
}

impl Follower {
    /// `reader` begins at or below every one of `checkpoints`, or where what lies below is
    /// forgotten.
    pub fn new(
        topic_partition: TopicPartition,
        reader: PartitionReader,
        checkpoints: Checkpoints,
    ) -> Self {
        let read_to = reader.position().clone();
        Self {
            topic_partition,
            reader,
            checkpoints,
            arrived: Vec::new(),
            events: 0,
            bytes: 0,
            read_to,
            caught_up: false,
            ended: None,
            trouble: Once::new("projector-reader"),
        }
    }

    /// Takes what has arrived, without waiting, until `room` is about full. Returns the room that
    /// is left.
    pub fn take_arrived(&mut self, room: Room) -> Room {
        while self.events < room.events && self.bytes < room.bytes && self.ended.is_none() {
            let Some(arrival) = self.reader.next().now_or_never() else { break };
            self.receive(arrival);
        }
        room.less(self.events, self.bytes)
    }

    /// Waits until something has arrived. Dropping the future loses nothing.
    pub async fn arrival(&mut self) {
        if self.ended.is_some() {
            return std::future::pending().await;
        }
        let arrival = self.reader.next().await;
        self.receive(arrival);
    }

    fn receive(&mut self, arrival: Result<Arrival, follow::Error>) {
        let arrival = match arrival {
            Ok(arrival) => arrival,
            Err(error) => {
                self.ended = Some(error);
                return;
            }
        };
        match arrival.trouble {
            Some(trouble) => self
                .trouble
                .warn(&format!("{}: the log's reader has trouble", self.topic_partition), &trouble),
            None => self.trouble.over("the log's reader goes on"),
        }
        if arrival.voids > 0 {
            let labels = [
                ("category", self.topic_partition.category.to_string()),
                ("partition", self.topic_partition.partition.to_string()),
            ];
            counter!("highwater_projection_void_records_total", &labels).increment(arrival.voids);
        }
        for item in arrival.items {
            self.events += item.what.weight();
            self.bytes += item.what.size_bytes();
            self.arrived.push(item);
        }
        self.read_to = arrival.position;
        self.caught_up = arrival.caught_up;
    }

    /// Why nothing more will come, once.
    pub fn take_end(&mut self) -> Option<follow::Error> {
        self.ended.take()
    }

    /// Everything that has arrived, as one job for each projection that does not have it yet.
    pub fn take_jobs(&mut self) -> Vec<Job> {
        let items: Arc<[Item]> = std::mem::take(&mut self.arrived).into();
        (self.events, self.bytes) = (0, 0);
        rules::jobs(&self.topic_partition, &self.checkpoints, &items, &self.read_to)
    }

    pub fn moved(&mut self, projection: &'static str, to: Position<Wire>) {
        if let Some(at) = self.checkpoints.get_mut(projection) {
            *at = to;
        }
    }

    pub fn leave_out(&mut self, projection: &'static str) {
        self.checkpoints.remove(projection);
    }

    /// Takes the projections of `other` over, if both stand at the same place with nothing in
    /// between.
    pub fn take_in(&mut self, other: &mut Self) -> bool {
        let even = self.arrived.is_empty()
            && other.arrived.is_empty()
            && self.read_to == other.read_to
            && self.ended.is_none();
        if even {
            self.checkpoints.append(&mut other.checkpoints);
        }
        even
    }

    pub fn checkpoints(&self) -> impl Iterator<Item = (&'static str, &Position<Wire>)> {
        self.checkpoints.iter().map(|(projection, at)| (*projection, at))
    }

    /// The log had no more when it was last read, and every projection has all of it.
    pub fn is_caught_up(&self) -> bool {
        self.caught_up
            && self.ended.is_none()
            && self.checkpoints.values().all(|at| at.offset >= self.read_to.offset)
    }

    /// The log had no more when it was last read, and this projection has all of it.
    pub fn has_all(&self, projection: &str) -> bool {
        let at = self.checkpoints.get(projection);
        self.caught_up && at.is_some_and(|at| at.offset >= self.read_to.offset)
    }

    pub fn partition(&self) -> &highwater_log::Partition {
        self.reader.partition()
    }
}

#[cfg(test)]
mod tests;
