//! The beginning of a partition: its checkpoints, the proof that the log is still the same history, and the follower.

use super::*;

enum Trouble {
    /// Tried again.
    Passing(String),
    /// The history is another one, or has a hole: nobody goes on here.
    Final(String),
}

impl<S: Store> Runner<S> {
    pub(super) async fn take_up(&mut self, lane: Lane) -> Step {
        match self.begin_following(&lane).await {
            Ok(Some(track)) => {
                for (projection, at) in track.checkpoints() {
                    let key = Key { projection, place: lane.place.clone() };
                    gauge!("highwater_projection_halted", &lag::labels(&key)).set(0.0);
                    self.progress.reached(key, at.offset);
                }
                self.waiting.remove(&lane);
                self.tracks.insert(lane, track);
                self.verify_at = self.verify_at.or_else(|| Some(Instant::now() + self.limits.verify_every));
                Step::TookUp
            }
            // Every projection is halted here.
            Ok(None) => {
                self.waiting.remove(&lane);
                Step::TookUp
            }
            Err(Trouble::Passing(why)) => {
                let failed = self.waiting.get(&lane).map_or(0, |attempts| attempts.failed).saturating_add(1);
                let wait = self.limits.backoff.after(failed);
                warn!(category = %lane.place.category, partition = lane.place.partition, error = why, wait_ms = wait.as_millis(), "could not begin, trying again");
                self.waiting.insert(lane, Attempts { failed, not_before: Some(Instant::now() + wait) });
                Step::Failed
            }
            Err(Trouble::Final(why)) => {
                self.halt_lane(&lane, &why);
                Step::Failed
            }
        }
    }

    async fn begin_following(&mut self, lane: &Lane) -> Result<Option<Track>, Trouble> {
        let place = &lane.place;
        let Some(partition) = self.share.partition(place) else {
            return Err(Trouble::Final(format!("no topic is known for {place}")));
        };
        let mut checkpoints = BTreeMap::new();
        for projection in self.readers_of(lane) {
            let key = Key { projection: projection.name(), place: place.clone() };
            match checkpoint(&self.store, &*projection, &key).await {
                Ok(at) => {
                    checkpoints.insert(key.projection, at);
                }
                Err(Failure::Unreachable(why) | Failure::Transient(why)) => return Err(Trouble::Passing(why)),
                Err(failure) => self.halt(key, 0, &failure),
            }
        }
        let Some(lowest) = checkpoints.values().min_by_key(|at| at.offset).cloned() else { return Ok(None) };
        // Each one belongs to the history of the log, also where the follower begins below it.
        for at in checkpoints.values().filter(|at| **at != lowest) {
            feed::check(&*self.log, &partition, place.source, at).await.map_err(|error| trouble(&error))?;
        }
        let feed = Feed::resume(&*self.log, &partition, place.source, lowest).await.map_err(|error| trouble(&error))?;
        Ok(Some(Track::new(place.clone(), feed, checkpoints)))
    }

    /// Who belongs to the lane: not who has halted, and not who goes alone.
    fn readers_of(&self, lane: &Lane) -> Vec<Arc<dyn Projection<S::Tx>>> {
        let reads = |projection: &&Arc<dyn Projection<S::Tx>>| {
            let key = Key { projection: projection.name(), place: lane.place.clone() };
            let alone = Lane::alone(&key);
            let belongs = match lane.alone {
                Some(name) => name == key.projection,
                None => !self.tracks.contains_key(&alone) && !self.waiting.contains_key(&alone),
            };
            let reads = projection.source() == lane.place.source && projection.categories().contains(&&*lane.place.category);
            reads && belongs && !self.progress.is_halted(&key)
        };
        self.projections.iter().filter(reads).cloned().collect()
    }

    /// The follower ended: the log has a problem, or is another log.
    pub(super) fn lost_the_log(&mut self, lane: Lane, end: &follow::Error) {
        // What was read and not projected is read again.
        if let Some(track) = self.tracks.remove(&lane) {
            let readers: BTreeSet<&'static str> = track.checkpoints().map(|(projection, _)| projection).collect();
            self.drop_jobs(|job| job.key.place == lane.place && readers.contains(job.key.projection));
        }
        match trouble(end) {
            Trouble::Passing(why) => {
                warn!(category = %lane.place.category, partition = lane.place.partition, error = why, "the log stopped, following again");
                let not_before = Some(Instant::now() + self.limits.backoff.first);
                self.waiting.insert(lane, Attempts { failed: 1, not_before });
            }
            Trouble::Final(why) => self.halt_lane(&lane, &why),
        }
    }

    fn halt_lane(&mut self, lane: &Lane, why: &str) {
        for projection in self.readers_of(lane) {
            let key = Key { projection: projection.name(), place: lane.place.clone() };
            let offset = self.progress.offset(&key).unwrap_or(0);
            self.halt(key, offset, &why);
        }
        self.tracks.remove(lane);
        self.waiting.remove(lane);
    }
}

fn trouble(error: &follow::Error) -> Trouble {
    match error {
        follow::Error::Diverged(_) | follow::Error::Gap { .. } => Trouble::Final(error.to_string()),
        follow::Error::Log(_) | follow::Error::Closed(_) => Trouble::Passing(error.to_string()),
    }
}

async fn checkpoint<S: Store>(store: &S, projection: &dyn Projection<S::Tx>, key: &Key) -> Result<Position<Wire>, Failure> {
    let mut tx = store.begin().await?;
    let start = projection.take_up(&mut tx, &key.place).await?;
    let mut at = store.load(&mut tx, std::slice::from_ref(key)).await?;
    if start == Start::Over {
        info!(category = %key.place.category, partition = key.place.partition, projection = key.projection, "projected again from the beginning");
        store.reset(&mut tx, key).await?;
        at = vec![Position::start()];
    }
    store.commit(tx).await?;
    at.pop().ok_or_else(|| Failure::Transient("the checkpoint was not returned".to_owned()))
}
