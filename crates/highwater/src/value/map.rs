//! A map for states.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    data::{Data, Usage},
    schema::Schema,
    value::Id,
};

/// What a state keeps by id: one block sorted by id. It is cheap to clone, and a change copies it
/// at the speed of memory if `V` is `Copy`; so what puts into it has a maximum (a code of a
/// command), and folding has none.
#[derive(Deserialize, Serialize)]
#[serde(from = "BTreeMap<Id<K>, V>", into = "BTreeMap<Id<K>, V>")]
#[serde(bound(serialize = "V: Serialize + Clone", deserialize = "V: Deserialize<'de>"))]
pub struct Map<K, V> {
    // Not of `Id`: the standard library copies a block as such only for types whose `Clone` is
    // derived.
    entries: Arc<[(Uuid, V)]>,
    of: PhantomData<fn() -> K>,
}

// By hand, since nothing is asked of `K`.
impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.entries))
    }
}

impl<K, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl<K, V: Eq> Eq for Map<K, V> {}

impl<K, V: Hash> Hash for Map<K, V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entries.hash(state);
    }
}

impl<K, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self::of(Arc::new([]))
    }
}

impl<K, V> From<BTreeMap<Id<K>, V>> for Map<K, V> {
    fn from(entries: BTreeMap<Id<K>, V>) -> Self {
        Self::of(entries.into_iter().map(|(id, value)| (id.uuid(), value)).collect())
    }
}

impl<K, V: Clone> From<Map<K, V>> for BTreeMap<Id<K>, V> {
    fn from(map: Map<K, V>) -> Self {
        map.iter().map(|(id, value)| (id, value.clone())).collect()
    }
}

impl<K, V> Map<K, V> {
    fn of(entries: Arc<[(Uuid, V)]>) -> Self {
        Self { entries, of: PhantomData }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is kept under `id`.
    pub fn get(&self, id: Id<K>) -> Option<&V> {
        self.find(id).ok().map(|at| &self.entries[at].1)
    }

    /// All entries, by id.
    pub fn iter(&self) -> impl Iterator<Item = (Id<K>, &V)> {
        self.entries.iter().map(|(id, value)| (Id::new(*id), value))
    }

    fn find(&self, id: Id<K>) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&id.uuid(), |(other, _)| *other)
    }
}

impl<K, V: Clone> Map<K, V> {
    /// A copy with `value` under `id`, in place of what was there.
    #[must_use]
    pub fn with(&self, id: Id<K>, value: V) -> Self {
        let (at, rest) = match self.find(id) {
            Ok(at) => (at, at + 1),
            Err(at) => (at, at),
        };
        let (before, after) = (&self.entries[..at], &self.entries[rest..]);
        Self::of([before, &[(id.uuid(), value)], after].concat().into())
    }

    /// A copy with nothing under `id`.
    #[must_use]
    pub fn without(&self, id: Id<K>) -> Self {
        match self.find(id) {
            Ok(at) => Self::of([&self.entries[..at], &self.entries[at + 1..]].concat().into()),
            Err(_) => self.clone(),
        }
    }
}

impl<K: 'static, V: Data + Clone> Data for Map<K, V> {
    fn schema(place: Usage) -> Schema {
        Schema::of("object").with_schema("additionalProperties", V::schema(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map() {
        let id = |n: u128| Id::<()>::new(Uuid::from_u128(n));
        let map = Map::default().with(id(3), 'c').with(id(1), 'a').with(id(2), 'b');
        let map = map.with(id(3), 'd');
        let entries: Vec<_> = map.iter().map(|(id, value)| (id, *value)).collect();
        assert_eq!(entries, [(id(1), 'a'), (id(2), 'b'), (id(3), 'd')]);
        assert_eq!((map.len(), map.get(id(2)), map.get(id(4))), (3, Some(&'b'), None));
        let less = map.without(id(2)).without(id(4));
        assert_eq!((less.len(), less.get(id(2)), less.is_empty()), (2, None, false));
    }

    #[test]
    fn it_is_an_object_by_id() {
        let text = r#"{"1d0f3a52-6c1b-5e4f-8a90-2b7c4d5e6f01":true}"#;
        let map: Map<(), bool> = serde_json::from_str(text).expect("a map");
        assert_eq!(serde_json::to_string(&map).expect("JSON"), text);
    }
}
