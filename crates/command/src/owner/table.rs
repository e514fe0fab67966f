//! Which partitions of a category are owned here, and the way in. Shared by requests and
//! supervisors.

use std::collections::BTreeMap;

use highwater_protocol::vocabulary::Value;
use parking_lot::RwLock;
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
        self.owned.read().get(&partition).cloned()
    }

    pub fn insert(&self, partition: u32, intake: mpsc::Sender<Delivery<C>>) {
        self.owned.write().insert(partition, intake);
        self.changed();
    }

    /// Takes out this very way in, not a later one.
    pub fn remove(&self, partition: u32, intake: &mpsc::Sender<Delivery<C>>) {
        let mut owned = self.owned.write();
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
        self.owned.read().len()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Nothing;

    #[test]
    fn an_owner_that_goes_takes_out_its_own_way_in_and_wakes_who_looks() {
        let table = Table::<Nothing>::new();
        let mut changes = table.watch();
        let ((first, _one), (second, _other)) = (mpsc::channel(1), mpsc::channel(1));
        assert!(table.is_empty() && table.find(3).is_none());
        for (change, len) in [
            (&(|| table.insert(3, first.clone())) as &dyn Fn(), 1),
            (&|| table.insert(3, second.clone()), 1),
            (&|| table.remove(3, &first), 1),
            (&|| table.insert(4, first.clone()), 2),
            (&|| table.remove(4, &first), 1),
        ] {
            change();
            assert!(changes.has_changed().is_ok_and(|changed| changed));
            changes.mark_unchanged();
            assert_eq!((table.len(), table.is_empty()), (len, false));
        }
        assert!(table.find(3).is_some_and(|present| present.same_channel(&second)));
        table.remove(3, &second);
        assert!(table.is_empty() && table.find(3).is_none());
    }
}
