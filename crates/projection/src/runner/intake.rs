//! What changes hands and what arrives: assignments, and what the log brought as groups of jobs.

use tokio::time::Instant;
use tracing::{debug, info};

use super::{
    Runner,
    batch::{Room, TopicPartition},
    membership::Change,
    plan::Job,
    projection::Store,
};

impl<S: Store> Runner<S> {
    pub(super) fn on_assignment(&mut self, change: Change) {
        match change {
            Change::Gained(topic_partitions) => {
                if !topic_partitions.is_empty() {
                    info!(partitions = topic_partitions.len(), "partitions assigned");
                }
                for topic_partition in topic_partitions {
                    debug!(
                        category = %topic_partition.category, partition = topic_partition.partition,
                        source = ?topic_partition.source, "assigned"
                    );
                    // It may have been given back before it was handed off.
                    self.handoff.leaving.remove(&topic_partition);
                    self.consumers.gain(topic_partition);
                }
            }
            Change::Gone(topic_partitions) => {
                for topic_partition in topic_partitions {
                    info!(
                        category = %topic_partition.category, partition = topic_partition.partition,
                        source = ?topic_partition.source, "revoked"
                    );
                    self.begin_handoff(topic_partition);
                }
            }
        }
    }

    /// What is read but not projected is read again by the next follower.
    pub(super) fn drop_work(&mut self, topic_partition: &TopicPartition) {
        self.consumers.drop_topic_partition(topic_partition);
        self.schedule.drop_jobs(|job| job.key.topic_partition == *topic_partition);
    }

    /// Everything that has arrived, as one group; a projection that goes alone has one of its own,
    /// after it, and what may end the process goes in small steps, after all others.
    pub(super) fn gather(&mut self) {
        self.consumers.rejoin();
        let mut room = Room { events: self.limits.batch_events, bytes: self.limits.batch_bytes };
        let (mut together, mut alone, mut careful) = (Vec::new(), Vec::new(), Vec::new());
        let mut ended = Vec::new();
        let now = Instant::now();
        let others_first = self.handoff.waits_for_others(now);
        for (consumer, follower) in &mut self.consumers.followers {
            if self.handoff.is_leaving(&consumer.topic_partition) {
                if others_first {
                    continue;
                }
                self.handoff.let_others_go_first(now);
            }
            room = follower.take_arrived(room);
            let (suspect, taken): (Vec<Job>, Vec<Job>) = follower
                .take_jobs()
                .into_iter()
                .partition(|job| self.consumers.careful.contains_key(&job.key));
            for job in suspect {
                let steps = self.consumers.careful.get(&job.key).map(|careful| careful.steps(job));
                careful.extend(steps.into_iter().flatten());
            }
            match consumer.alone {
                None => together.extend(taken),
                Some(_) => alone.push(taken),
            }
            if let Some(end) = follower.take_end() {
                ended.push((consumer.clone(), end));
            }
        }
        self.schedule.last(std::iter::once(together).chain(alone));
        // What may end this runner waits for what does not.
        self.schedule.queue.extend(careful);
        for (consumer, end) in ended {
            self.lost_the_log(consumer, &end);
        }
    }
}
