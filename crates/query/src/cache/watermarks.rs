//! Below which offset an entry must not be shown any more. Pure. Grows with what changed, up to a
//! limit; beyond it the watermarks of keys become watermarks of their partitions, which costs
//! entries and never truth.

use std::collections::HashMap;

use highwater_tables::changes::{self, Change, key_of};

use super::Key;

pub struct Watermarks {
    /// Counts what makes every earlier entry worthless.
    count: u64,
    listening: bool,
    views: Vec<View>,
    most_keys: usize,
}

struct View {
    projection: &'static str,
    category: &'static str,
    partitions: HashMap<u32, u64>,
    /// By the part of the id that notifications name: partition and offset. Ids that share it share
    /// a watermark: that drops too much, and never too little.
    keys: HashMap<u64, (u32, u64)>,
}

impl Watermarks {
    pub fn new(views: &[(&'static str, &'static str)], most_keys: usize) -> Self {
        let view = |(projection, category): &(&'static str, &'static str)| View {
            projection,
            category,
            partitions: HashMap::new(),
            keys: HashMap::new(),
        };
        Self { count: 0, listening: false, views: views.iter().map(view).collect(), most_keys }
    }

    /// `None`: nothing can be kept. Asked before a load begins.
    pub fn now(&self) -> Option<u64> {
        self.listening.then_some(self.count)
    }

    pub fn begin(&mut self) {
        self.start_over();
        self.listening = true;
    }

    pub fn end(&mut self) {
        self.start_over();
        self.listening = false;
    }

    /// Whether an entry whose load began at `since` and found `offset` may be shown.
    pub fn allow(&self, key: &Key, since: u64, offset: u64) -> bool {
        let view = self
            .views
            .iter()
            .find(|view| view.projection == key.projection && view.category == key.category);
        view.is_some_and(|view| self.now() == Some(since) && view.watermark(key) <= offset)
    }

    /// What a projector's transaction changed. A notification that is not understood may mean
    /// anything.
    pub fn raise(&mut self, payload: &str) {
        let Some(changes) = changes::parse(payload) else { return self.start_over() };
        for change in &changes {
            for view in &mut self.views {
                if view.category == change.category && change.projections.contains(&view.projection)
                {
                    view.raise(change, self.most_keys);
                }
            }
        }
    }

    fn start_over(&mut self) {
        self.count += 1;
        for view in &mut self.views {
            view.partitions.clear();
            view.keys.clear();
        }
    }
}

impl View {
    fn watermark(&self, key: &Key) -> u64 {
        let of_partition = self.partitions.get(&key.partition).copied().unwrap_or(0);
        let of_key = self.keys.get(&key_of(key.id)).map_or(0, |(_, offset)| *offset);
        of_partition.max(of_key)
    }

    fn raise(&mut self, change: &Change<'_>, most_keys: usize) {
        let Some(keys) = &change.keys else {
            return self.raise_partition(change.partition, change.offset);
        };
        for key in keys {
            let watermark = self.keys.entry(*key).or_insert((change.partition, 0));
            *watermark = (change.partition, watermark.1.max(change.offset));
        }
        if self.keys.len() > most_keys {
            for (partition, offset) in std::mem::take(&mut self.keys).into_values() {
                self.raise_partition(partition, offset);
            }
        }
    }

    fn raise_partition(&mut self, partition: u32, offset: u64) {
        let watermark = self.partitions.entry(partition).or_insert(0);
        *watermark = (*watermark).max(offset);
    }
}
