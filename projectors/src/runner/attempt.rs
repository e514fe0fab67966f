//! One transaction: checkpoints and rows together, and what follows when it fails.

use super::*;

impl<S: Store> Runner<S> {
    pub(super) async fn attempt(&mut self, mut group: Group) -> Step {
        match transact(&self.store, &self.projections, &group).await {
            Ok(()) => self.settle(&group),
            Err(failure) => {
                group.failed += 1;
                self.after_failure(group, &failure);
                Step::Failed
            }
        }
    }

    fn settle(&mut self, group: &Group) -> Step {
        let mut places = BTreeSet::new();
        for job in &group.jobs {
            if let Some(track) = self.tracks.get_mut(&job.key.place) {
                track.moved(job.key.projection, job.to.clone());
            }
            self.progress.reached(job.key.clone(), job.to.offset);
            counter!("highwater_projection_events_total", &lag::labels(&job.key)).increment(job.weight() as u64);
            places.insert(&job.key.place);
        }
        let slowest = places.into_iter().filter_map(|place| {
            let track = self.tracks.get(place)?;
            Some((track.partition().clone(), track.checkpoints().map(|(_, at)| at.offset).min()?))
        });
        self.share.note(&slowest.collect::<Vec<_>>());
        Step::Projected { events: group.jobs.iter().map(Job::weight).sum() }
    }

    fn after_failure(&mut self, group: Group, failure: &Failure) {
        let jobs = group.jobs.len();
        match failure::on_failure(failure, group.failed, group.can_split(), &self.limits.backoff) {
            OnFailure::RetryAfter(wait) => {
                warn!(error = %failure, jobs, attempt = group.failed, wait_ms = wait.as_millis(), "a transaction failed and is tried again");
                self.retry_at = Some(Instant::now() + wait);
                self.queue.push_front(group);
            }
            OnFailure::Split => {
                info!(error = %failure, jobs, "a transaction failed and goes in parts");
                group.split().into_iter().rev().for_each(|part| self.queue.push_front(part));
            }
            OnFailure::Reload => {
                for place in group.jobs.into_iter().map(|job| job.key.place).collect::<BTreeSet<_>>() {
                    self.reload(place);
                }
            }
            OnFailure::Halt => {
                for job in group.jobs {
                    let offset = job.items().first().map_or(job.from.offset, |item| item.what.start());
                    self.halt(job.key, offset, failure);
                }
            }
        }
    }

    /// Somebody else moved a checkpoint, or the database fell back: the checkpoints say from where.
    fn reload(&mut self, place: Place) {
        warn!(category = %place.category, partition = place.partition, "a checkpoint is not where it was left: reading it again");
        counter!("highwater_projection_conflicts_total").increment(1);
        self.drop_work(&place);
        let not_before = Some(Instant::now() + self.limits.backoff.first);
        self.waiting.insert(place, Attempts { failed: 0, not_before });
    }

    /// This projection stops on this partition; everything else goes on.
    pub(super) fn halt(&mut self, key: Key, offset: u64, why: &dyn std::fmt::Display) {
        error!(
            category = %key.place.category, partition = key.place.partition, projection = key.projection, offset, error = %why,
            "projection halted on this partition until a restart"
        );
        gauge!("highwater_projection_halted", &lag::labels(&key)).set(1.0);
        if let Some(track) = self.tracks.get_mut(&key.place) {
            track.halt(key.projection);
        }
        self.queue.iter_mut().for_each(|group| group.jobs.retain(|job| job.key != key));
        self.queue.retain(|group| !group.jobs.is_empty());
        self.halted.insert(key);
    }
}

async fn transact<S: Store>(store: &S, projections: &[Arc<dyn Projection<S::Tx>>], group: &Group) -> Result<(), Failure> {
    let mut tx = store.begin().await?;
    // First, because it locks: whoever else moves the same checkpoints waits, and then loses.
    store.advance(&mut tx, &group.moves()).await?;
    for projection in projections {
        let own = group.jobs.iter().filter(|job| job.key.projection == projection.name());
        let slices: Vec<Slice<'_>> = own.map(Job::slice).filter(|slice| !slice.items.is_empty()).collect();
        if !slices.is_empty() {
            projection.apply(&mut tx, &slices).await?;
        }
    }
    store.commit(tx).await
}
