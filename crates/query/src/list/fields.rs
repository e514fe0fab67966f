//! Sparse fieldsets: `fields=a,b` leaves only these in every item.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

/// The fields that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields(Vec<&'static str>);

impl Fields {
    pub fn of(mut names: Vec<&'static str>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self(names)
    }

    /// Part of an entity tag.
    pub fn suffix(&self) -> String {
        self.0.join(".")
    }

    /// The wanted fields of `item`, by name; values keep their text.
    pub fn only<T: Serialize>(&self, item: &T) -> Result<Box<RawValue>, serde_json::Error> {
        serde_json::value::to_raw_value(&self.left(&serde_json::to_vec(item)?)?)
    }

    /// The same for JSON that is written already.
    pub fn only_of(&self, item: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.left(item)?)
    }

    fn left<'a>(
        &self,
        item: &'a [u8],
    ) -> Result<BTreeMap<&'a str, &'a RawValue>, serde_json::Error> {
        let mut fields: BTreeMap<&str, &RawValue> = serde_json::from_slice(item)?;
        fields.retain(|name, _| self.0.contains(name));
        Ok(fields)
    }
}

/// The body of a list.
pub fn items<R: Serialize>(
    rows: &[R],
    fields: Option<&Fields>,
) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct Body<T> {
        items: T,
    }

    match fields {
        None => serde_json::to_vec(&Body { items: rows }),
        Some(fields) => serde_json::to_vec(&Body {
            items: rows.iter().map(|row| fields.only(row)).collect::<Result<Vec<_>, _>>()?,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_fields_are_left() -> Result<(), serde_json::Error> {
        #[derive(Serialize)]
        struct Row {
            b: i128,
            a: &'static str,
            c: Vec<u8>,
        }

        let rows = [Row { b: i128::from(u64::MAX) * 10, a: "x", c: vec![1] }];
        let text =
            |fields| items(&rows, fields).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(text(None)?, r#"{"items":[{"b":184467440737095516150,"a":"x","c":[1]}]}"#);
        let fields = Fields::of(vec!["b", "a", "b"]);
        assert_eq!(text(Some(&fields))?, r#"{"items":[{"a":"x","b":184467440737095516150}]}"#);
        assert_eq!(fields.suffix(), "a.b");
        Ok(())
    }
}
