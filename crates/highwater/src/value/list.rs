//! A list of bounded length.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    data::{At, Data, Usage},
    finding::FieldError,
    schema::Schema,
};

/// 1 to `MOST` items. Cheap to clone: states that hold one share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "Vec<T>", into = "Arc<[T]>")]
#[serde(bound(serialize = "T: Serialize + Clone", deserialize = "T: Deserialize<'de>"))]
pub struct List<T, const MOST: usize>(Arc<[T]>);

/// No items, or more than the list may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an array of 1 to {most} items")]
pub struct UnfitList {
    most: usize,
}

impl<T, const MOST: usize> List<T, MOST> {
    /// One item a key, by key: made of the first item with this key, the others are added to it.
    pub fn fold_by<K: Ord, U>(
        &self,
        key: impl Fn(&T) -> K,
        first: impl Fn(&T) -> U,
        add: impl Fn(&mut U, &T),
    ) -> List<U, MOST> {
        let mut folded: BTreeMap<K, U> = BTreeMap::new();
        for item in self {
            folded.entry(key(item)).and_modify(|sum| add(sum, item)).or_insert_with(|| first(item));
        }
        List(folded.into_values().collect())
    }
}

impl<T, const MOST: usize> TryFrom<Vec<T>> for List<T, MOST> {
    type Error = UnfitList;

    fn try_from(items: Vec<T>) -> Result<Self, UnfitList> {
        if (1..=MOST).contains(&items.len()) {
            Ok(Self(items.into()))
        } else {
            Err(UnfitList { most: MOST })
        }
    }
}

impl<T, const MOST: usize> From<List<T, MOST>> for Arc<[T]> {
    fn from(list: List<T, MOST>) -> Arc<[T]> {
        list.0
    }
}

impl<T, const MOST: usize> Deref for List<T, MOST> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T, const MOST: usize> IntoIterator for &'a List<T, MOST> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<T: Data + Clone, const MOST: usize> Data for List<T, MOST> {
    fn schema(place: Usage) -> Schema {
        Schema::of("array")
            .with("minItems", 1)
            .with("maxItems", MOST)
            .with_schema("items", T::schema(place))
    }

    fn read(json: &Value, at: &At<'_>, found: &mut Vec<FieldError>) -> Option<Self> {
        let Some(items) = json.as_array().filter(|items| (1..=MOST).contains(&items.len())) else {
            found.push(at.refuse(UnfitList { most: MOST }));
            return None;
        };
        let read: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| T::read(item, &At::Item(at, index), found))
            .collect();
        Self::try_from(read.into_iter().collect::<Option<Vec<T>>>()?).ok()
    }
}
