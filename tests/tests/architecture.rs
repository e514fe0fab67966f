//! docs/invariants.md names its tests; this one looks whether they exist.

use std::path::PathBuf;

/// The kinds of docs/invariants.md, and how many numbers each has.
const INVARIANTS: [(char, usize); 3] = [('A', 9), ('L', 14), ('W', 4)];

#[test]
fn every_test_that_the_page_names_exists() {
    let page = std::fs::read_to_string(root().join("docs/invariants.md")).unwrap();
    let invariants = page.split("\n**").skip(1);
    // Without the store: an application takes the library, and its tests do not come with it.
    let alone = |named: &Named| {
        ["crates/", "tests/tests/crate_edges.rs", "tests/tests/arch"]
            .iter()
            .any(|of| named.file.starts_with(of))
    };
    let guarded = invariants.filter(|text| named(text).iter().any(alone) || text.starts_with("W3"));
    let guarded: Vec<&str> = guarded.filter_map(|text| Some(text.split_once("**")?.0)).collect();
    for (kind, count) in INVARIANTS {
        for number in 1..=count {
            let name = format!("{kind}{number}");
            assert!(guarded.contains(&name.as_str()), "{name} names no test: {guarded:?}");
        }
    }
    let named = named(&page);
    let lost: Vec<&Named> = named.iter().filter(|named| !named.missing && !exists(named)).collect();
    assert!(lost.is_empty(), "named and not there: {lost:#?}");
}

/// The kinds of docs/security.md, and how many numbers each has.
const ATTACKS: [(char, usize); 6] = [('C', 11), ('W', 5), ('L', 4), ('P', 11), ('A', 2), ('S', 4)];

#[test]
fn every_attack_has_a_row_whose_test_exists() {
    let page = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    for (kind, count) in ATTACKS {
        for number in 1..=count {
            let start = format!("| {kind}{number} |");
            let row = page
                .lines()
                .find(|line| line.starts_with(&start))
                .unwrap_or_else(|| panic!("docs/security.md has no row {start}"));
            let tests = named(row);
            assert!(
                tests.iter().any(|named| !named.missing && exists(named)),
                "{kind}{number} names no test that exists: {tests:?}"
            );
        }
    }
    let all = named(&page);
    let lost: Vec<_> = all.iter().filter(|named| !exists(named)).collect();
    assert!(lost.is_empty(), "named and not there: {lost:#?}");
}

#[test]
fn a_name_without_a_test_is_found() {
    let page = "| `tests/tests/architecture.rs#no_such_test`; `no/such/file.rs#test` (missing); \
                `tests/tests/architecture.rs#exists` |";
    let found: Vec<(bool, bool)> =
        named(page).iter().map(|named| (named.missing, exists(named))).collect();
    assert_eq!(found, [(false, false), (true, false), (false, true)]);
}

/// `file#test` in backticks.
#[derive(Debug)]
struct Named<'a> {
    file: &'a str,
    test: &'a str,
    missing: bool,
}

fn named(page: &str) -> Vec<Named<'_>> {
    page.lines().flat_map(named_in_line).collect()
}

/// Of a line split at backticks every second part is code, and what comes next is said of it.
fn named_in_line(line: &str) -> Vec<Named<'_>> {
    let parts: Vec<&str> = line.split('`').collect();
    let code = parts.windows(2).skip(1).step_by(2);
    let named = code.filter_map(|pair| {
        let (file, test) = pair[0].split_once('#').filter(|(file, _)| file.ends_with(".rs"))?;
        Some(Named { file, test, missing: pair[1].trim_start().starts_with("(missing)") })
    });
    named.collect()
}

fn exists(named: &Named<'_>) -> bool {
    let source = std::fs::read_to_string(root().join(named.file)).unwrap_or_default();
    source.contains(&format!("fn {}(", named.test))
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
