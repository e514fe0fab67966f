//! What this instance said in the `owners` topic and stands by, so that it can be said again. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::known::LEAD;

#[derive(Default)]
pub(super) struct OwnAnnouncements {
    /// By key: the value, and the epoch of a partition that is served.
    stands: BTreeMap<String, (Vec<u8>, Option<u64>)>,
    overwritten: BTreeSet<String>,
    /// Since the last look.
    disbelieved: u64,
}

impl OwnAnnouncements {
    pub(super) fn keep(&mut self, key: String, value: Vec<u8>) {
        self.stands.insert(key, (value, None));
    }

    pub(super) fn keep_epoch(&mut self, key: String, value: Vec<u8>, epoch: u64) {
        self.stands.insert(key, (value, Some(epoch)));
    }

    /// It holds no longer.
    pub(super) fn forget(&mut self, key: &str) {
        self.stands.retain(|of, _| {
            of != key && !of.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'))
        });
    }

    /// Whether another owner may have this epoch; then this instance says nothing more of the
    /// partition.
    pub(super) fn hears(&mut self, key: &str, epoch: u64) -> bool {
        let Some((_, Some(own))) = self.stands.get(key) else { return true };
        let own = *own;
        if epoch > own.saturating_add(LEAD) {
            return false;
        }
        if epoch > own {
            self.forget(key);
        } else if epoch < own {
            // True once, and the last word of the topic now.
            self.overwritten.insert(key.to_owned());
        }
        true
    }

    /// Some of what was said may not be in the log.
    pub(super) fn unsaid(&mut self) {
        self.overwritten.extend(self.stands.keys().cloned());
    }

    /// A record that is not believed lies there now.
    pub(super) fn overwritten(&mut self, key: &str) {
        self.disbelieved += 1;
        if self.stands.contains_key(key) {
            self.overwritten.insert(key.to_owned());
        }
    }

    /// How many records were not believed since the last look, and what must be said again.
    pub(super) fn take_overwritten(&mut self) -> (u64, Vec<(String, Vec<u8>)>) {
        let overwritten = std::mem::take(&mut self.overwritten);
        let again = overwritten
            .into_iter()
            .filter_map(|key| self.stands.get(&key).map(|(value, _)| (key, value.clone())));
        (std::mem::take(&mut self.disbelieved), again.collect())
    }
}
