//! The query string of a request: only names that are known, each once, each of its form. Says what
//! is allowed when it refuses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use axum::{extract::Query, http::Uri};
use highwater_http::{number::canonical, problem::Problem};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use uuid::Uuid;

/// Of a value that is repeated in a problem.
const SHOWN_CHARACTERS: usize = 40;

/// Known parameters with their values, none of them empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Refuses every name that is not in `allowed`.
    pub fn of(uri: &Uri, allowed: &[&str]) -> Result<Self, Problem> {
        Self::with_repeated(uri, allowed, None)
    }

    /// The same; one of the names may be given several times, which is as one value joined by
    /// commas.
    pub(super) fn with_repeated(
        uri: &Uri,
        allowed: &[&str],
        repeated: Option<&str>,
    ) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| {
            Problem::bad_request(
                "query.malformed",
                "the query string is not name=value pairs joined by &",
            )
        })?;
        let mut known = BTreeMap::<String, String>::new();
        for (name, value) in pairs {
            if !allowed.contains(&name.as_str()) {
                let detail = format!(
                    "`{}` is not known here; known are: {}",
                    shown(&name),
                    allowed.join(", ")
                );
                return Err(
                    Problem::bad_parameter(&shown(&name), detail).with("allowed", json!(allowed))
                );
            }
            if value.is_empty() || value.contains('\0') {
                return Err(Problem::bad_parameter(
                    &name,
                    "must be text, not empty and without NUL",
                ));
            }
            match known.get_mut(&name) {
                Some(before) if repeated == Some(&name) => {
                    before.push(',');
                    before.push_str(&value);
                }
                Some(_) => return Err(Problem::bad_parameter(&name, "is given twice")),
                None => drop(known.insert(name, value)),
            }
        }
        Ok(Self(known))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value as `read` understands it; `form` says what it must be.
    pub fn parsed<T>(
        &self,
        name: &str,
        form: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let refused = || Problem::bad_parameter(name, format!("\"{}\" is not {form}", shown(text)));
        read(text).map(Some).ok_or_else(refused)
    }

    pub fn text(&self, name: &str, most_characters: usize) -> Result<Option<String>, Problem> {
        let fits = |text: &str| (text.chars().count() <= most_characters).then(|| text.to_owned());
        self.parsed(name, &format!("text of at most {most_characters} characters"), fits)
    }

    pub fn id(&self, name: &str) -> Result<Option<Uuid>, Problem> {
        self.parsed(name, "a hyphenated UUID", hyphenated)
    }

    /// Ids joined by commas: each once, in their sequence.
    pub(super) fn ids(&self, name: &str, most: usize) -> Result<Option<Vec<Uuid>>, Problem> {
        let all = |text: &str| {
            let ids = text.split(',').take(most + 1).map(hyphenated).collect::<Option<Vec<_>>>()?;
            (ids.len() <= most).then(|| ids.into_iter().collect::<BTreeSet<_>>())
        };
        let read = self.parsed(name, &format!("hyphenated UUIDs, at most {most}"), all)?;
        Ok(read.map(|ids| ids.into_iter().collect()))
    }

    pub fn integer(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Problem> {
        let within = |text: &str| canonical(text).filter(|number| (least..=most).contains(number));
        let form = format!("an integer from {least} to {most}, as 7 and not as 07, +7 or 7.0");
        self.parsed(name, &form, within)
    }

    pub fn one_of(
        &self,
        name: &str,
        allowed: &[&'static str],
    ) -> Result<Option<&'static str>, Problem> {
        let known = |text: &str| allowed.iter().find(|known| **known == text).copied();
        self.parsed(name, &format!("one of: {}", allowed.join(", ")), known)
            .map_err(|problem| problem.with("allowed", json!(allowed)))
    }

    /// Names joined by commas, each of `allowed`.
    pub fn some_of(
        &self,
        name: &str,
        allowed: &[&'static str],
    ) -> Result<Option<Vec<&'static str>>, Problem> {
        let find = |part: &str| allowed.iter().find(|known| **known == part).copied();
        let all = |text: &str| text.split(',').map(find).collect::<Option<Vec<_>>>();
        let read =
            self.parsed(name, &format!("a list joined by commas of: {}", allowed.join(", ")), all);
        read.map_err(|problem| problem.with("allowed", json!(allowed)))
    }

    /// As a query string again, with another value for `name`.
    pub fn with(&self, name: &str, value: &str) -> String {
        let others = self.iter().filter(|(other, _)| *other != name);
        let pairs = others
            .chain([(name, value)])
            .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

fn hyphenated(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == uuid::fmt::Hyphenated::LENGTH)
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// RFC 3986: all but what is unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn escaped(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Result<Parameters, Problem> {
        let uri: Uri = format!("/x?{query}").parse().unwrap_or_default();
        Parameters::of(&uri, &["a", "b", "limit"])
    }

    #[test]
    fn what_is_unknown_twice_empty_or_nul_is_refused() {
        for (query, says) in [
            ("c=1", "a, b, limit"),
            ("A=1", "a, b, limit"),
            ("a=1&a=2", "twice"),
            ("a=", "not empty"),
            ("a", "not empty"),
            ("a=%00", "without NUL"),
            ("%00=1", "known are"),
        ] {
            let detail =
                of(query).err().map(|problem| problem.detail().to_owned()).unwrap_or_default();
            assert!(detail.contains(says), "{query}: {detail}");
        }
        assert_eq!(of("").map(|parameters| parameters.0.len()).ok(), Some(0));
    }

    #[test]
    fn values_have_their_form() -> Result<(), Problem> {
        let given = of("a=%C3%A4+b%26c&b=-7&limit=201")?;
        assert_eq!(given.text("a", 5)?.as_deref(), Some("ä b&c"));
        assert!(given.text("a", 4).is_err());
        assert_eq!(given.integer("b", -10, 0)?, Some(-7));
        assert!(
            given
                .integer("limit", 1, 200)
                .is_err_and(|problem| problem.detail().contains("from 1 to 200"))
        );
        for other in ["07", "%2B7", "+7", "7%20", "7.0", "00", "-0"] {
            let given = of(&format!("limit={other}"))?;
            assert!(
                given
                    .integer("limit", -9, 200)
                    .is_err_and(|problem| problem.detail().contains("as 7 and not as 07")),
                "{other}"
            );
        }
        assert!(given.id("b").is_err());
        assert!(
            given.one_of("a", &["x", "y"]).is_err_and(|problem| problem.detail().contains("x, y"))
        );
        assert_eq!(of("a=x,y")?.some_of("a", &["x", "y"])?, Some(vec!["x", "y"]));
        assert!(of("a=x,,y")?.some_of("a", &["x", "y"]).is_err());
        Ok(())
    }

    #[test]
    fn a_query_string_is_written_as_it_was_read() -> Result<(), Problem> {
        let given = of("a=%C3%A4+b%26c&b=1")?;
        assert_eq!(given.with("b", "2"), "a=%C3%A4%20b%26c&b=2");
        assert_eq!(of(&given.with("limit", "5"))?.text("a", 9)?.as_deref(), Some("ä b&c"));
        Ok(())
    }

    #[test]
    fn long_values_are_cut_in_problems() {
        let detail = of(&format!("a={}", "ä".repeat(500)))
            .and_then(|given| given.id("a").map(|_| String::new()));
        assert!(detail.is_err_and(|problem| problem.detail().chars().count() < 120));
    }
}
