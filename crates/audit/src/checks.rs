//! What must hold in one partition beside the fold: versions 1, 2, 3 ... of every aggregate, each
//! command id once, commits whole, times that never run backwards, records on the partition of
//! their key. Knows nothing of what the events say.

use std::collections::{HashMap, HashSet};

use highwater_log::Partition;
use highwater_protocol::record::StoredRecord;
use uuid::Uuid;

use super::{
    fault::Fault,
    fold::{Commit, Fold, Position, Verdict, Void},
    placement::partition_for,
    record::{About, Body, Entry, Id},
    report::{Counts, PartitionReport},
};

pub struct Checks<'a> {
    partition: Partition,
    partitions: u32,
    /// `/<prefix>/<category>`, what `ce_source` must say.
    source: String,
    fold: Fold,
    versions: HashMap<Id, u64>,
    commands: &'a mut HashSet<Id>,
    counts: Counts,
}

impl<'a> Checks<'a> {
    /// `commands`: the ids that the topic's other partitions hold already.
    pub fn new(partition: &Partition, partitions: u32, commands: &'a mut HashSet<Id>) -> Self {
        let name = partition.topic.strip_suffix(super::EVENTS).unwrap_or(&partition.topic);
        let (prefix, category) = name.rsplit_once('.').unwrap_or(("", name));
        Self {
            partition: partition.clone(),
            partitions,
            source: format!("/{prefix}/{category}"),
            fold: Fold::default(),
            versions: HashMap::new(),
            commands,
            counts: Counts::default(),
        }
    }

    /// What a reader would store before the next record.
    pub fn position(&self) -> &Position {
        self.fold.position()
    }

    /// Looks at the next record, and says what is wrong with it.
    pub fn look(&mut self, stored: &StoredRecord) -> (Verdict, Vec<Fault>) {
        self.counts.records += 1;
        let mut faults = Vec::new();
        let read = Entry::read(&stored.record);
        let last_time = self.fold.now().last_time;
        let (verdict, torn) = self.fold.apply(read.as_ref().map_err(Clone::clone));
        let valid = !matches!(verdict, Verdict::Void(_));
        if let Some(first) = torn {
            match verdict {
                // The writer died in the middle of a commit: what the fence is for.
                Verdict::Fence => self.counts.unfinished_commits += 1,
                _ => faults.push(Fault::TornCommit { first }),
            }
        }
        if let (true, Ok(entry)) = (valid, &read) {
            self.look_at_headers(entry, last_time, stored, &mut faults);
        }
        self.count(&verdict, read.as_ref().ok(), &mut faults);
        (verdict, faults)
    }

    /// The partition's part of the report; `end` is how far it was to be read.
    pub fn finish(self, end: u64) -> PartitionReport {
        let mut counts = self.counts;
        counts.aggregates = self.versions.len() as u64;
        counts.open_commits = u64::from(self.fold.position().offset != self.fold.now().offset);
        PartitionReport {
            topic: self.partition.topic.to_string(),
            partition: self.partition.index,
            end,
            epoch: self.fold.now().epoch,
            counts,
        }
    }

    fn look_at_headers(
        &self,
        entry: &Entry,
        last_time: Option<[u8; 27]>,
        stored: &StoredRecord,
        faults: &mut Vec<Fault>,
    ) {
        if let Some(key) = stored.record.key.as_deref().filter(|_| entry.about().is_some()) {
            let belongs = partition_for(key, self.partitions);
            if belongs != self.partition.index {
                faults.push(Fault::OtherPartition { belongs });
            }
        }
        let Body::Event(_, event) = &entry.body else { return };
        if let Some(last) = last_time.filter(|last| event.time < *last) {
            faults.push(Fault::TimeBackwards { last: lossy(&last), time: lossy(&event.time) });
        }
        if event.source != self.source {
            faults.push(Fault::OtherSource {
                found: event.source.clone(),
                expected: self.source.clone(),
            });
        }
    }

    fn count(&mut self, verdict: &Verdict, entry: Option<&Entry>, faults: &mut Vec<Fault>) {
        let counts = &mut self.counts;
        match verdict {
            Verdict::Void(void) => {
                if let Some(fault) = counts.void(void.clone()) {
                    faults.push(fault);
                }
            }
            Verdict::Fence => counts.fences += 1,
            Verdict::Barrier => counts.barriers += 1,
            Verdict::Sealed => counts.sealed += 1,
            Verdict::Unknown => counts.unknown_kinds += 1,
            Verdict::Opened => {}
            Verdict::Ineffective => faults.push(Fault::Ineffective),
            Verdict::Commit(commit) => self.commit(commit, faults),
            Verdict::Outcome => match entry.map(|entry| &entry.body) {
                Some(Body::Rejected(about)) => {
                    counts.rejected += 1;
                    self.outcome(about, faults);
                }
                Some(Body::Unchanged(about)) => {
                    counts.unchanged += 1;
                    self.outcome(about, faults);
                }
                _ => {}
            },
        }
    }

    fn commit(&mut self, commit: &Commit, faults: &mut Vec<Fault>) {
        self.counts.commits += 1;
        self.counts.events += commit.last_version - commit.first_version + 1;
        let version = self.versions.entry(commit.aggregate).or_insert(0);
        if commit.first_version != *version + 1 {
            faults.push(Fault::Versions {
                aggregate: Uuid::from_bytes(commit.aggregate),
                after: *version,
                found: commit.first_version,
            });
        }
        // Goes on from what is there: one gap is one difference.
        *version = commit.last_version;
        self.command(commit.command, faults);
    }

    fn outcome(&mut self, about: &About, faults: &mut Vec<Fault>) {
        let at = self.versions.get(&about.aggregate).copied().unwrap_or(0);
        if about.version != at {
            faults.push(Fault::DecidedAt {
                aggregate: Uuid::from_bytes(about.aggregate),
                at,
                says: about.version,
            });
        }
        self.command(about.command, faults);
    }

    fn command(&mut self, id: Id, faults: &mut Vec<Fault>) {
        self.counts.commands += 1;
        if !self.commands.insert(id) {
            faults.push(Fault::CommandAgain { id: Uuid::from_bytes(id) });
        }
    }
}

impl Counts {
    /// Counts a void record. Void records are how the log works; one that no reader can read was
    /// written by no release of this program.
    fn void(&mut self, void: Void) -> Option<Fault> {
        match void {
            Void::Unreadable(why) => {
                self.void_unreadable += 1;
                return Some(Fault::Unreadable(why));
            }
            Void::AfterSealed => self.void_after_sealed += 1,
            Void::StaleFence => self.void_stale_fences += 1,
            Void::Stranger => self.void_strangers += 1,
            Void::AfterHole => self.void_after_hole += 1,
            Void::Again => self.void_repeats += 1,
        }
        None
    }
}

fn lossy(time: &[u8]) -> String {
    String::from_utf8_lossy(time).into_owned()
}
