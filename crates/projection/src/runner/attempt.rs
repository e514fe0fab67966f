//! One transaction: checkpoints and rows together, and what follows when it fails.

use std::collections::BTreeSet;

use highwater_tables::{
    parked::{Cause, Commit, Count},
    runs::Attempt,
};
use metrics::{counter, gauge};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::{
    Runner, Step,
    batch::{Item, Slice, TopicPartition},
    careful, changes,
    consumers::Consumer,
    failure::{self, Failure, OnFailure},
    lag::{self, Stage},
    parking,
    plan::{Group, Job},
    projection::{Key, Store},
};
use crate::rows;

impl<S: Store> Runner<S> {
    pub(super) async fn attempt(&mut self, mut group: Group) -> Step {
        let result = match self.note_first(&mut group).await {
            Err(failure) => Err(failure),
            Ok(Noted::Halts) => {
                self.after_failure(group, &killed());
                return Step::Failed;
            }
            Ok(Noted::GoesOn) if group.contested => self.transact_contested(&mut group).await,
            Ok(Noted::GoesOn) => self.transact(&group).await,
        };
        match result {
            Ok(none_parked) => {
                none_parked.iter().for_each(|key| self.shows_parked(key, Count::default()));
                self.settle(&group)
            }
            Err(failure) => {
                group.failed += 1;
                self.say_it_lives(&group).await;
                // A projection that goes alone already does not make the others wait by trying at
                // once.
                if group.jobs.iter().all(|job| self.consumers.troubled.contains_key(&job.key)) {
                    group.failed = group.failed.max(failure::ATTEMPTS_BEFORE_SPLIT);
                }
                if matches!(failure, Failure::Conflict) {
                    return self.after_conflict(group).await;
                }
                self.after_failure(group, &failure);
                Step::Failed
            }
        }
    }

    fn settle(&mut self, group: &Group) -> Step {
        for job in &group.jobs {
            // A partition that was let go meanwhile is no longer ours to say anything of.
            if let Some(follower) = self.consumers.track_of(&job.key) {
                follower.moved(job.key.projection, job.to.clone());
                let at_end = follower.has_all(job.key.projection);
                self.progress.reached(job.key.clone(), job.to.offset);
                if let Some(careful) = self.consumers.careful.get_mut(&job.key)
                    && careful.passed(job.weight(), at_end)
                {
                    self.consumers.careful.remove(&job.key);
                }
            }
            if self.consumers.troubled.remove(&job.key).is_some() {
                info!(
                    category = %job.key.topic_partition.category,
                    partition = job.key.topic_partition.partition,
                    projection = job.key.projection, "goes on"
                );
            }
            self.progress.works(&job.key, Stage::Transaction);
            counter!("highwater_projection_events_total", &lag::labels(&job.key))
                .increment(job.weight() as u64);
        }
        self.notices.failing.over("transactions go through again");
        self.handoff.go_on_for_the_rest(Instant::now());
        self.schedule.note_by(Instant::now() + self.limits.note_every);
        Step::Projected { events: group.jobs.iter().map(Job::weight).sum() }
    }

    pub(super) fn after_failure(&mut self, group: Group, failure: &Failure) {
        let jobs = group.jobs.len();
        for job in &group.jobs {
            self.progress.fails(&job.key, Some(job.to.offset), failure);
        }
        if matches!(failure, Failure::ReadOnly(_)) {
            self.store.distrust();
        }
        if matches!(failure, Failure::Unreachable(_) | Failure::ReadOnly(_)) {
            // Whatever happened to it, it may have forgotten something.
            self.schedule.verify_at = Some(Instant::now());
        }
        let park = self.to_park(&group, failure);
        match failure::on_failure(
            failure,
            group.failed,
            group.can_split(),
            park.is_some(),
            &self.limits.backoff,
        ) {
            OnFailure::RetryAfter(wait) => {
                debug!(
                    error = %failure, jobs, attempt = group.failed, wait_ms = wait.as_millis(),
                    "a transaction failed and is tried again"
                );
                self.notices.failing.warn("a transaction failed", failure);
                self.schedule.retry_at = Some(Instant::now() + wait);
                self.schedule.first(group);
            }
            OnFailure::Split => {
                info!(error = %failure, jobs, "a transaction failed and goes in parts");
                self.schedule.first_in_parts(group.split());
            }
            OnFailure::GoAlone => {
                group.jobs.into_iter().for_each(|job| self.go_alone(job.key, failure))
            }
            OnFailure::Park => self.schedule.first(Group { park, ..group }),
            OnFailure::Reload => {
                for topic_partition in group
                    .jobs
                    .into_iter()
                    .map(|job| job.key.topic_partition)
                    .collect::<BTreeSet<_>>()
                {
                    self.reload(topic_partition);
                }
            }
            OnFailure::Halt => {
                for job in group.jobs {
                    let offset =
                        job.items().first().map_or(job.from.offset, |item| item.what.start());
                    self.halt(job.key, offset, failure);
                }
            }
        }
    }

    /// The others do not wait for it: it follows by itself, later, until it has caught up.
    fn go_alone(&mut self, key: Key, why: &Failure) {
        let failed = self.consumers.troubled.get(&key).map_or(1, |failed| failed.saturating_add(1));
        let wait = self.limits.backoff.after(failed);
        if failed == 1 {
            warn!(
                category = %key.topic_partition.category, partition = key.topic_partition.partition,
                projection = key.projection, error = %why,
                "a projection is left behind and tried again by itself, which is not said again"
            );
        }
        self.consumers.leave_out(&key);
        self.schedule.drop_jobs(|job| job.key == key);
        self.consumers.postpone(Consumer::alone(&key), failed, Instant::now() + wait);
        self.consumers.troubled.insert(key, failed);
    }

    /// Another runner moved a checkpoint, or the database fell back: the checkpoints say from
    /// where.
    pub(super) fn reload(&mut self, topic_partition: TopicPartition) {
        warn!(
            category = %topic_partition.category, partition = topic_partition.partition,
            "a checkpoint is not where it was left: reading it again"
        );
        counter!("highwater_projection_conflicts_total").increment(1);
        self.drop_work(&topic_partition);
        let until = Instant::now() + self.limits.backoff.first;
        self.consumers.postpone(Consumer::of(topic_partition), 0, until);
    }

    /// This projection stops on this partition; everything else goes on.
    pub(super) fn halt(&mut self, key: Key, offset: u64, why: &dyn std::fmt::Display) {
        error!(
            category = %key.topic_partition.category, partition = key.topic_partition.partition,
            projection = key.projection, offset, error = %why,
            "projection halted on this partition until a restart"
        );
        gauge!("highwater_projection_halted", &lag::labels(&key)).set(1.0);
        self.consumers.leave_out(&key);
        self.consumers.drop_consumer(&Consumer::alone(&key));
        self.schedule.drop_jobs(|job| job.key == key);
        self.progress.halted(key, offset);
    }

    /// Why the group's one commit is to be parked, if it is one of an aggregate that may be.
    fn to_park(&self, group: &Group, failure: &Failure) -> Option<Cause> {
        let [job] = group.jobs.as_slice() else { return None };
        let [item] = job.items() else { return None };
        let parks = self
            .projections
            .iter()
            .any(|projection| projection.name() == job.key.projection && projection.parks());
        let may = self.limits.parked_most > 0 && parks && group.park.is_none();
        parking::commit(item).filter(|_| may).map(|commit| parking::cause(commit, failure))
    }

    /// How many aggregates are parked there, as far as this runner knows.
    pub(super) fn shows_parked(&mut self, key: &Key, count: Count) {
        if count == Count::default() {
            self.consumers.parked.remove(key);
        } else {
            self.consumers.parked.insert(key.clone());
        }
        self.progress.parks(key, count.waiting);
    }

    /// Says what is about to be applied, where a runner before died. What so many have died over is
    /// parked instead.
    async fn note_first(&mut self, group: &mut Group) -> Result<Noted, Failure> {
        let Some((noted, job)) = group.noted.clone().zip(group.jobs.first()) else {
            return Ok(Noted::GoesOn);
        };
        let key = job.key.clone();
        let is_killer = noted.dead.len() >= careful::MOST_DEATHS;
        if is_killer && group.park.is_none() {
            group.park = self.to_park(group, &killed());
        }
        if group.park.is_some() {
            return Ok(Noted::GoesOn);
        }
        let mut tx = self.store.begin().await?;
        if is_killer {
            // Where nothing is parked the next start tries it again.
            let again = Attempt { dead: Vec::new(), ..noted };
            self.store.begin_runs(&mut tx, self.id, &[(key, Some(again))]).await?;
        } else {
            self.store.note(&mut tx, self.id, &key, &(noted.first..noted.end)).await?;
        }
        self.store.commit(tx, None).await?;
        Ok(if is_killer { Noted::Halts } else { Noted::GoesOn })
    }

    /// What was noted has failed, so it has not ended the process. Where that cannot be said, the
    /// next runner counts it as a death until this one says it after all.
    async fn say_it_lives(&mut self, group: &Group) {
        let Some(job) = group.jobs.first().filter(|_| group.noted.is_some()) else { return };
        let said = async {
            let mut tx = self.store.begin().await?;
            self.store.live_on(&mut tx, self.id, &job.key).await?;
            self.store.commit(tx, None).await
        };
        if let Err(failure) = said.await {
            debug!(error = %failure, "it is not noted that this was no death");
        }
    }

    async fn transact(&mut self, group: &Group) -> Result<Vec<Key>, Failure> {
        let tx = self.store.begin().await?;
        self.write(group, tx).await
    }

    /// Which of the keys that were looked up have nothing parked any more.
    pub(super) async fn write(
        &mut self,
        group: &Group,
        mut tx: S::Tx,
    ) -> Result<Vec<Key>, Failure> {
        // First, because it locks: another runner that moves the same checkpoints waits, and then
        // loses; and so does an operator's retry of what is parked.
        self.store.advance(&mut tx, &group.moves()).await?;
        if let Some(cause) = &group.park {
            let parked = park(&self.store, group, cause, self.limits.parked_most, &mut tx).await?;
            // Readers are to hear that the row lacks something.
            self.store.commit(tx, changes::text(&group.jobs).as_deref()).await?;
            parked.say(cause);
            self.shows_parked(&parked.key, parked.count);
            return Ok(Vec::new());
        }
        let mut none_parked = Vec::new();
        for projection in &self.projections {
            let own = group.jobs.iter().filter(|job| job.key.projection == projection.name());
            let mut parted: Vec<(&Job, Vec<Item>)> = Vec::new();
            for job in own.clone().filter(|job| self.consumers.parked.contains(&job.key)) {
                let ids = rows::touched(&[job.slice()]);
                let parked = self.store.parked_among(&mut tx, &job.key, &ids).await?;
                if parked.is_empty() {
                    let here = std::slice::from_ref(&job.key);
                    if self.store.parked(&mut tx, here).await? == [Count::default()] {
                        none_parked.push(job.key.clone());
                    }
                    continue;
                }
                let (applied, waits) = parking::part(job.items(), &parked)?;
                if !waits.is_empty() {
                    self.store.wait(&mut tx, &job.key, &waits).await?;
                }
                parted.push((job, applied));
            }
            let slices: Vec<Slice<'_>> = own
                .map(|job| match parted.iter().find(|(other, _)| std::ptr::eq(*other, job)) {
                    Some((job, items)) => {
                        Slice { topic_partition: &job.key.topic_partition, items }
                    }
                    None => job.slice(),
                })
                .filter(|slice| !slice.items.is_empty())
                .collect();
            if !slices.is_empty() {
                projection.apply(&mut tx, &slices).await?;
            }
        }
        self.store.commit(tx, changes::text(&group.jobs).as_deref()).await?;
        Ok(none_parked)
    }
}

/// What becomes of a group that is noted first.
enum Noted {
    GoesOn,
    /// So many have died over it, and it is not parked.
    Halts,
}

fn killed() -> Failure {
    Failure::Deterministic(careful::KILLED.to_owned())
}

/// What a transaction parks.
struct ParkedCommit {
    key: Key,
    commit: Commit,
    /// How many aggregates are parked there then.
    count: Count,
}

impl ParkedCommit {
    fn say(&self, cause: &Cause) {
        warn!(
            category = %self.key.topic_partition.category,
            partition = self.key.topic_partition.partition,
            projection = self.key.projection, aggregate = %self.commit.aggregate,
            schema = cause.schema, version = cause.version, offset = self.commit.first_offset,
            error = cause.error, parked = self.count.waiting,
            "an event cannot be applied: its aggregate is parked"
        );
    }
}

/// Parks the one commit of the group.
async fn park<S: Store>(
    store: &S,
    group: &Group,
    cause: &Cause,
    most: u64,
    tx: &mut S::Tx,
) -> Result<ParkedCommit, Failure> {
    let job = group.jobs.first();
    let found = job.and_then(|job| Some((job, parking::waiting(job.items().first()?)?)));
    let Some((job, commit)) = found else {
        return Err(Failure::Deterministic("there is no commit to be parked".to_owned()));
    };
    let commit = commit?;
    store.park(tx, &job.key, &commit, cause).await?;
    let count = store.parked(tx, std::slice::from_ref(&job.key)).await?;
    let count = count.first().copied().unwrap_or(Count { waiting: 1, discarded: 0 });
    // Those that were given up were looked at by an operator: they are not counted.
    if count.waiting > most {
        return Err(Failure::Deterministic(format!(
            "{} and {} aggregates before it are parked, which is more than bad data: {}",
            cause.schema, most, cause.error
        )));
    }
    Ok(ParkedCommit { key: job.key.clone(), commit, count })
}
