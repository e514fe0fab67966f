//! Which filters and sorts go together: those that an index serves, so that a page costs what it
//! shows. Others are refused, because what they cost grows with the table.

use highwater_http::problem::Problem;
use serde_json::json;

use super::Parameters;

/// Filters that may be given together, each or not, with any of these sorts.
#[derive(Clone, Copy, Debug)]
pub struct Combination {
    /// Has to be given.
    pub with: Option<&'static str>,
    pub filters: &'static [&'static str],
    /// Empty where the list has one fixed sequence.
    pub sorts: &'static [&'static str],
}

impl Combination {
    fn allows(&self, filters: &[&str], sort: &str) -> bool {
        let known = |filter: &&str| self.with == Some(*filter) || self.filters.contains(filter);
        let sorted = self.sorts.is_empty() || self.sorts.contains(&sort);
        sorted && self.with.is_none_or(|with| filters.contains(&with)) && filters.iter().all(known)
    }

    fn said(&self) -> String {
        let filters: Vec<_> = self.with.iter().chain(self.filters).copied().collect();
        let filters = if filters.is_empty() { "no filter".to_owned() } else { filters.join(", ") };
        if self.sorts.is_empty() {
            filters
        } else {
            format!("{filters} by {}", self.sorts.join(" or "))
        }
    }
}

/// 400 unless one of `served` allows the filters that are `given` with `sort`.
pub fn check(
    served: &[Combination],
    filters: &[&str],
    given: &Parameters,
    sort: &str,
) -> Result<(), Problem> {
    let present: Vec<&str> =
        given.iter().map(|(name, _)| name).filter(|name| filters.contains(name)).collect();
    if served.is_empty() || served.iter().any(|one| one.allows(&present, sort)) {
        return Ok(());
    }
    let named = if given.get("sort").is_some() {
        "sort"
    } else {
        present.last().copied().unwrap_or("sort")
    };
    let together: Vec<String> = served.iter().map(Combination::said).collect();
    let by = if sort.is_empty() { String::new() } else { format!(" by {sort}") };
    let detail =
        format!("no index serves {}{by}; served are: {}", present.join(", "), together.join("; "));
    Err(Problem::bad_parameter(named, detail).with("served", json!(together)))
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;

    use super::*;

    const FILTERS: [&str; 4] = ["a", "b", "c", "q"];
    const SERVED: [Combination; 3] = [
        Combination { with: None, filters: &["a", "b"], sorts: &["x", "-x"] },
        Combination { with: None, filters: &[], sorts: &["y"] },
        Combination { with: Some("q"), filters: &["c"], sorts: &["x", "y"] },
    ];

    fn checked(query: &str, sort: &str) -> Result<(), String> {
        let uri: Uri = format!("/x?{query}").parse().unwrap_or_default();
        let given = Parameters::of(&uri, &["a", "b", "c", "q", "sort", "limit"])
            .map_err(|problem| problem.detail().to_owned())?;
        check(&SERVED, &FILTERS, &given, sort).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn what_goes_together_is_served_and_nothing_else() {
        for (query, sort) in [
            ("", "x"),
            ("a=1", "-x"),
            ("b=1&a=1&limit=5", "x"),
            ("sort=y", "y"),
            ("q=1", "y"),
            ("c=1&q=1", "x"),
        ] {
            assert_eq!(checked(query, sort), Ok(()), "{query} by {sort}");
        }
        for (query, sort) in [
            ("a=1", "y"),
            ("c=1", "x"),
            ("a=1&c=1", "x"),
            ("q=1", "-x"),
            ("q=1&a=1", "x"),
            ("", "z"),
        ] {
            assert!(checked(query, sort).is_err(), "{query} by {sort}");
        }
        assert_eq!(
            checked("a=1&sort=y", "y"),
            Err("parameter sort: no index serves a by y; served are: a, b by x or -x; no filter by \
                 y; q, c by x or y".to_owned())
        );
        assert!(
            checked("a=1&c=1", "x")
                .is_err_and(|detail| detail.starts_with("parameter c: no index serves a, c by x"))
        );
    }
}
