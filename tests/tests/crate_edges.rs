//! Which crate may use which: the architecture as a table, enforced on every manifest of the
//! workspace.
#![expect(clippy::unwrap_used, reason = "a workspace that cannot be read must fail the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Each crate and the crates of the workspace that it may use. It may also use what those may use.
const MAY_USE: [(&str, &[&str]); 21] = [
    ("highwater-protocol", &[]),
    ("highwater-log", &["highwater-protocol"]),
    ("highwater-runtime", &[]),
    ("highwater-rows", &["highwater-protocol"]),
    ("highwater-tables", &["highwater-rows"]),
    ("highwater-generator", &[]),
    ("highwater-http", &["highwater-runtime"]),
    ("highwater-command", &["highwater-log", "highwater-http", "highwater-tables"]),
    ("highwater-projection", &["highwater-log", "highwater-http", "highwater-tables"]),
    ("highwater-query", &["highwater-protocol", "highwater-http", "highwater-tables"]),
    // Of the protocol the records alone: no fold and no decoder (`the_audit_reads_by_itself`).
    ("highwater-audit", &["highwater-log", "highwater-tables"]),
    (
        "highwater-cli",
        &["highwater-audit", "highwater-command", "highwater-projection", "highwater-query"],
    ),
    ("highwater-macros", &[]),
    ("highwater", &["highwater-macros", "highwater-cli"]),
    ("events", &["highwater"]),
    ("store", &["events"]),
    ("command-api", &["store"]),
    ("projectors", &["store"]),
    ("query-api", &["store"]),
    ("highwater-tests", &["store"]),
    ("highwater-benches", &["store"]),
];

/// Crates that do no I/O and read no clock: all that they may be built from.
const PURE: [(&str, &[&str]); 6] = [
    ("highwater-protocol", &["serde", "thiserror", "uuid"]),
    ("highwater-rows", &["serde", "serde_json", "thiserror", "uuid"]),
    ("highwater-macros", &["proc-macro2", "quote", "syn"]),
    // What they are without features.
    ("highwater", &["serde", "serde_json", "thiserror", "uuid"]),
    ("events", &["thiserror"]),
    ("store", &[]),
];

/// Libraries that have one home.
const AT_HOME: [(&str, &[&str]); 3] = [
    ("rdkafka", &["highwater-log", "highwater-tests", "highwater-benches"]),
    ("hmac", &["highwater-runtime", "highwater-http"]),
    ("serde_json_canonicalizer", &["highwater-http"]),
];

/// One dependency of one manifest.
#[derive(Clone, Debug)]
struct Edge {
    from: String,
    to: String,
    kind: DependencyKind,
    /// Behind a feature.
    optional: bool,
}

#[test]
fn every_crate_uses_only_what_it_may() {
    let (members, edges) = workspace();
    assert_eq!(violations(&members, &edges), Vec::<String>::new());
}

#[test]
fn the_workspace_is_really_read() {
    let (members, edges) = workspace();
    assert!(
        members.contains("highwater-protocol") && members.contains("highwater-cli"),
        "{members:?}"
    );
    for (from, to) in [
        ("events", "highwater"),
        ("store", "events"),
        ("highwater-log", "rdkafka"),
        ("highwater-runtime", "hmac"),
    ] {
        assert!(
            edges.iter().any(|edge| edge.from == from && edge.to == to),
            "{from} uses {to}, but that was not seen"
        );
    }
}

/// An application of another author could be written in the same way.
#[test]
fn the_store_names_the_facade_alone() {
    let (members, edges) = workspace();
    let is_store = |name: &str| members.contains(name) && !name.starts_with("highwater");
    let below: Vec<&Edge> = edges
        .iter()
        .filter(|edge| is_store(&edge.from) && edge.to.starts_with("highwater-"))
        .filter(|edge| edge.kind != DependencyKind::Development)
        .collect();
    assert!(below.is_empty(), "{below:?}");
    assert!(edges.iter().any(|edge| edge.from == "store" && edge.to == "highwater"));
}

#[test]
fn planted_violations_are_found() {
    let (members, edges) = workspace();
    for (from, to, kind) in [
        ("highwater-protocol", "events", DependencyKind::Normal),
        ("highwater-protocol", "tokio", DependencyKind::Normal),
        ("highwater-protocol", "serde_json", DependencyKind::Build),
        ("events", "store", DependencyKind::Normal),
        ("highwater", "tokio", DependencyKind::Normal),
        ("highwater", "store", DependencyKind::Development),
        ("highwater-macros", "highwater-protocol", DependencyKind::Normal),
        ("highwater-command", "store", DependencyKind::Normal),
        ("highwater-cli", "store", DependencyKind::Development),
        ("highwater-tables", "highwater-runtime", DependencyKind::Normal),
        ("highwater-rows", "sqlx", DependencyKind::Normal),
        ("highwater-generator", "highwater", DependencyKind::Normal),
        ("store", "chrono", DependencyKind::Normal),
        ("highwater-log", "highwater-runtime", DependencyKind::Normal),
        ("highwater-runtime", "highwater-http", DependencyKind::Normal),
        ("highwater-http", "highwater-protocol", DependencyKind::Normal),
        ("highwater-command", "highwater-query", DependencyKind::Normal),
        ("highwater-command", "highwater-projection", DependencyKind::Development),
        ("highwater-projection", "highwater-command", DependencyKind::Normal),
        ("highwater-query", "highwater-projection", DependencyKind::Normal),
        ("highwater-query", "highwater-log", DependencyKind::Normal),
        ("highwater-query", "store", DependencyKind::Normal),
        ("highwater-projection", "highwater-cli", DependencyKind::Normal),
        ("highwater-cli", "rdkafka", DependencyKind::Normal),
        ("highwater-command", "rdkafka", DependencyKind::Development),
        ("highwater-command", "hmac", DependencyKind::Normal),
        ("highwater-cli", "serde_json_canonicalizer", DependencyKind::Normal),
    ] {
        let mut planted = edges.clone();
        planted.push(Edge { from: from.into(), to: to.into(), kind, optional: false });
        let found = violations(&members, &planted);
        assert!(
            found.iter().any(|v| v.starts_with(&format!("{from} must not use {to}"))),
            "{from} -> {to} was not found: {found:?}"
        );
    }
}

#[test]
fn a_crate_without_a_row_is_found() {
    let (mut members, edges) = workspace();
    members.insert("newcomer".into());
    assert_eq!(violations(&members, &edges), ["newcomer has no row in MAY_USE"]);
}

#[test]
fn what_the_table_allows_is_no_violation() {
    let members: BTreeSet<String> = MAY_USE.iter().map(|(name, _)| (*name).into()).collect();
    let allowed = [
        ("highwater-command", "highwater-protocol", DependencyKind::Normal),
        ("highwater-query", "highwater-protocol", DependencyKind::Normal),
        ("highwater-cli", "highwater-runtime", DependencyKind::Normal),
        ("highwater-tests", "rdkafka", DependencyKind::Development),
        ("highwater-protocol", "stateright", DependencyKind::Development),
    ];
    let edge = |(from, to, kind): (&str, &str, _)| Edge {
        from: from.into(),
        to: to.into(),
        kind,
        optional: false,
    };
    let edges: Vec<Edge> = allowed.map(edge).to_vec();
    assert_eq!(violations(&members, &edges), Vec::<String>::new());
}

/// Else cargo builds most crates once more, for the programs that tests start, for the docs and for
/// the queries.
#[test]
fn a_build_of_the_workspace_has_the_features_that_its_tests_have() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let all: Vec<_> = metadata
        .workspace_packages()
        .into_iter()
        .flat_map(|package| &package.dependencies)
        .collect();
    let of = |kind| all.iter().filter(move |dependency| dependency.kind == kind);
    let missing: Vec<_> = of(DependencyKind::Development)
        .flat_map(|test| {
            test.features
                .iter()
                .map(|feature| (&test.name, Some(feature)))
                .chain([(&test.name, None)])
        })
        .filter(|(name, feature)| {
            let mut plain = of(DependencyKind::Normal).filter(|plain| plain.name == **name);
            !plain.any(|plain| feature.is_none_or(|feature| plain.features.contains(feature)))
        })
        .collect();
    assert!(missing.is_empty(), "name them in tests/Cargo.toml, too: {missing:?}");
    assert!(
        of(DependencyKind::Development)
            .any(|test| test.features.iter().any(|feature| feature == "test-util")),
        "nothing was read"
    );
}

/// Features unify in the build of a workspace, so edges do not show what these are built from
/// alone.
#[test]
fn contracts_and_rules_are_built_without_services() {
    for package in ["highwater", "events", "store"] {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--no-default-features", "-e", "normal"])
            .args(["--prefix", "none", "-p", package])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        let tree = String::from_utf8(tree.stdout).unwrap();
        let built: BTreeSet<&str> =
            tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(built.contains("highwater-protocol"), "nothing was read: {tree}");
        for banned in ["tokio", "sqlx", "rdkafka", "axum", "chrono"] {
            assert!(!built.contains(banned), "{package} is built from {banned}");
        }
    }
}

/// Else its tests are built only beside those of others: `bin/test -p NAME` would not compile.
#[test]
fn who_stops_the_clock_in_tests_asks_for_it_itself() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let mut found = 0;
    for package in metadata.workspace_packages() {
        let folder = package.manifest_path.parent().unwrap().as_std_path();
        let stops =
            ["src", "tests"].iter().any(|within| is_within(&folder.join(within), "start_paused"));
        found += usize::from(stops && package.name.as_str() != "highwater-tests");
        let asks = package.dependencies.iter().any(|to| {
            to.name == "tokio" && to.features.iter().any(|feature| feature == "test-util")
        });
        assert!(
            asks || !stops,
            "{}: tokio with test-util among the dev-dependencies",
            package.name
        );
    }
    assert!(found > 2, "nothing was read");
}

/// What it finds is worth something because it shares no fold, no decoder and no statement with the
/// services.
#[test]
fn the_audit_reads_by_itself() {
    let (mut records, mut filters) = (0, 0);
    for (path, text) in sources("crates/audit/src") {
        for used in text.split("highwater_protocol::").skip(1) {
            records += 1;
            assert!(used.starts_with("record::"), "{}: {used:.40}", path.display());
        }
        for used in text.split("highwater_tables::").skip(1) {
            filters += 1;
            assert!(used.starts_with("dedup_filter::Segment"), "{}: {used:.40}", path.display());
        }
    }
    assert!(records > 3 && filters > 0, "nothing was read");
}

/// A crate that needs another statement adds it to `highwater-tables`, where each stands once.
#[test]
fn statements_of_the_system_tables_stand_in_one_crate_and_in_the_audit() {
    const TABLES: [&str; 7] = [
        "checkpoints",
        "database_identity",
        "operations",
        "outcomes",
        "schema_version",
        "seen_filters",
        "snapshots",
    ];
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut homes = BTreeSet::new();
    for entry in fs::read_dir(top).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        for (_, text) in sources(&format!("crates/{name}/src")) {
            let letters = |letter: char| !letter.is_alphanumeric() && letter != '_';
            let words: Vec<&str> = text.split(letters).filter(|word| !word.is_empty()).collect();
            let is_statement = |pair: &[&str]| {
                ["FROM", "JOIN", "INTO", "UPDATE", "TABLE"].contains(&pair[0])
                    && TABLES.contains(&pair[1])
            };
            if words.windows(2).any(is_statement) {
                homes.insert(name.clone());
            }
        }
    }
    assert_eq!(homes, ["audit", "tables"].map(str::to_owned).into());
}

/// The files of a folder without their tests.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().is_some_and(|name| name == "tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
                found.push((path, shipped));
            }
        }
    }
    found
}

fn is_within(folder: &Path, text: &str) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.map(|entry| entry.unwrap().path()).any(|path| match path.extension() {
        _ if path.is_dir() => is_within(&path, text),
        Some(extension) if extension == "rs" => fs::read_to_string(&path).unwrap().contains(text),
        _ => false,
    })
}

fn violations(members: &BTreeSet<String>, edges: &[Edge]) -> Vec<String> {
    let may_use: BTreeMap<&str, BTreeSet<&str>> =
        MAY_USE.iter().map(|(name, _)| (*name, reachable(name))).collect();
    let (pure, at_home) = (BTreeMap::from(PURE), BTreeMap::from(AT_HOME));
    let mut found: Vec<String> = members
        .iter()
        .filter(|name| !may_use.contains_key(name.as_str()))
        .map(|name| format!("{name} has no row in MAY_USE"))
        .collect();
    for Edge { from, to, kind, optional } in edges {
        let (from, to) = (from.as_str(), to.as_str());
        let internal = members.contains(to);
        if internal && !may_use.get(from).is_some_and(|allowed| allowed.contains(to)) {
            found.push(format!("{from} must not use {to}: not in its row"));
        }
        let built_in = matches!(kind, DependencyKind::Normal | DependencyKind::Build) && !optional;
        if !internal && built_in && pure.get(from).is_some_and(|allowed| !allowed.contains(&to)) {
            found.push(format!("{from} must not use {to}: it is pure"));
        }
        if at_home.get(to).is_some_and(|homes| !homes.contains(&from)) {
            found.push(format!("{from} must not use {to}: that belongs in {}", at_home[to][0]));
        }
    }
    found
}

/// What `name` may use, and what that may use.
fn reachable(name: &str) -> BTreeSet<&'static str> {
    let table = BTreeMap::from(MAY_USE);
    let mut reached = BTreeSet::new();
    let mut next: Vec<&'static str> = table.get(name).copied().unwrap_or_default().to_vec();
    while let Some(other) = next.pop() {
        if reached.insert(other) {
            next.extend(table.get(other).copied().unwrap_or_default());
        }
    }
    reached
}

fn workspace() -> (BTreeSet<String>, Vec<Edge>) {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let packages = metadata.workspace_packages();
    let members = packages.iter().map(|package| package.name.to_string()).collect();
    let edges = packages.iter().flat_map(|package| {
        let edge = |dependency: &cargo_metadata::Dependency| Edge {
            from: package.name.to_string(),
            to: dependency.name.clone(),
            kind: dependency.kind,
            optional: dependency.optional,
        };
        package.dependencies.iter().map(edge).collect::<Vec<_>>()
    });
    (members, edges.collect())
}

/// A test that was renamed would be left out in silence by what runs only now and then.
#[test]
fn what_scripts_run_exists() {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    let tests: BTreeSet<&str> = metadata
        .workspace_packages()
        .into_iter()
        .flat_map(|package| &package.targets)
        .filter(|target| target.is_test())
        .map(|target| target.name.as_str())
        .collect();
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut named = 0;
    for folder in ["bin", ".ci", ".cargo/mutants"] {
        for entry in fs::read_dir(top.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for rest in text.split("--test").skip(1).filter(|rest| rest.starts_with(['=', ' '])) {
                let ends = |letter: char| !letter.is_alphanumeric() && letter != '_';
                let name = rest[1..].split(ends).next().unwrap();
                assert!(tests.contains(name), "{}: there is no test {name}", path.display());
                named += 1;
            }
        }
    }
    assert!(named > 5, "nothing was read");
}
