//! A map by id that costs the same however many rows it has. Its rows have no sequence: a caller
//! that makes effects of several sorts them.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::vocabulary::{Id, Value};

/// Rows are boxed, so that growth moves pointers, not rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table<K: Id, V: Value>(HashMap<K, Box<V>>);

impl<K: Id, V: Value> Table<K, V> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key).map(|row| &**row)
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key).map(|row| &mut **row)
    }

    pub(super) fn get_or_insert_with(&mut self, key: K, row: impl FnOnce() -> V) -> &mut V {
        self.0.entry(key).or_insert_with(|| Box::new(row()))
    }

    /// What was there before.
    pub(super) fn insert(&mut self, key: K, row: V) -> Option<V> {
        self.0.insert(key, Box::new(row)).map(|before| *before)
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key).map(|row| *row)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.values_mut().map(|row| &mut **row)
    }

    /// The keys of the rows that are `wanted`, in sequence.
    pub(super) fn keys_where(&self, mut wanted: impl FnMut(&K, &V) -> bool) -> Vec<K> {
        let mut keys: Vec<K> =
            self.0.iter().filter(|(key, row)| wanted(key, row)).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// All rows, in the sequence of their keys; none are left.
    pub(super) fn take_all(&mut self) -> Vec<V> {
        let mut rows: Vec<(K, Box<V>)> = std::mem::take(&mut self.0).into_iter().collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        rows.into_iter().map(|(_, row)| *row).collect()
    }
}

/// The same for the same rows, in whatever sequence they came.
impl<K: Id, V: Value> Hash for Table<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let sum = self.0.iter().fold(0_u64, |sum, row| {
            let mut hasher = DefaultHasher::new();
            row.hash(&mut hasher);
            sum.wrapping_add(hasher.finish())
        });
        sum.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(table: &Table<u64, &'static str>) -> u64 {
        let mut hasher = DefaultHasher::new();
        table.hash(&mut hasher);
        hasher.finish()
    }

    fn filled(rows: impl IntoIterator<Item = (u64, &'static str)>) -> Table<u64, &'static str> {
        let mut table = Table::new();
        rows.into_iter().for_each(|(key, row)| {
            table.insert(key, row);
        });
        table
    }

    #[test]
    fn equal_rows_are_equal_and_hash_alike_in_whatever_sequence_they_came() {
        let (one, other) = (
            filled([(1, "a"), (2, "b"), (3, "c")]),
            filled([(3, "c"), (2, "x"), (1, "a"), (2, "b")]),
        );
        assert_eq!(one, other);
        assert_eq!(hashed(&one), hashed(&other));
        for different in [
            filled([(1, "a"), (2, "b")]),
            filled([(1, "b"), (2, "a"), (3, "c")]),
            filled([(1, "a"), (2, "b"), (4, "c")]),
        ] {
            assert_ne!(hashed(&one), hashed(&different), "{different:?}");
        }
    }

    #[test]
    fn what_is_taken_out_is_in_the_sequence_of_its_keys() {
        let mut table =
            filled((0..100).rev().map(|key| (key, if key % 2 == 0 { "even" } else { "odd" })));
        assert_eq!(
            table.keys_where(|_, row| *row == "even"),
            (0..100).step_by(2).collect::<Vec<_>>()
        );
        assert_eq!(table.remove(&1), Some("odd"));
        let taken = table.take_all();
        assert_eq!((taken.len(), taken[0], taken[1], taken[2]), (99, "even", "even", "odd"));
        assert!(table.is_empty());
    }
}
