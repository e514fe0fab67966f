//! Which partitions of a category are owned here, and the way in. Shared by requests and supervisors.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use protocol::vocabulary::Value;
use tokio::sync::{mpsc, watch};

use super::Delivery;

pub struct Table<C: Value> {
    owned: RwLock<BTreeMap<u32, mpsc::Sender<Delivery<C>>>>,
    changes: watch::Sender<u64>,
}

impl<C: Value> Table<C> {
    pub fn new() -> Self {
        Self { owned: RwLock::default(), changes: watch::Sender::new(0) }
    }

    pub fn find(&self, partition: u32) -> Option<mpsc::Sender<Delivery<C>>> {
        self.owned.read().unwrap_or_else(PoisonError::into_inner).get(&partition).cloned()
    }

    pub fn insert(&self, partition: u32, intake: mpsc::Sender<Delivery<C>>) {
        self.owned.write().unwrap_or_else(PoisonError::into_inner).insert(partition, intake);
        self.changed();
    }

    /// Takes out this very way in, not a later one.
    pub fn remove(&self, partition: u32, intake: &mpsc::Sender<Delivery<C>>) {
        let mut owned = self.owned.write().unwrap_or_else(PoisonError::into_inner);
        if owned.get(&partition).is_some_and(|present| present.same_channel(intake)) {
            owned.remove(&partition);
        }
        drop(owned);
        self.changed();
    }

    /// Wakes whenever a partition comes or goes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub fn len(&self) -> usize {
        self.owned.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl<C: Value> Default for Table<C> {
    fn default() -> Self {
        Self::new()
    }
}
