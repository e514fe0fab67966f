//! Generic code says nothing of the store: whoever replaces the store touches nothing else.
//!
//! The words come from the file names under `schemas/`; they are searched in identifiers and string
//! literals. The names of aggregates and their plurals always count, so also `PlaceOrder` and
//! `order.place`. Names of commands and events count unless they are plain English
//! (`store_words/words.rs`). "Order" in the sense of sequence is banned with the rest; SQL's ORDER
//! BY is not.
#![expect(clippy::unwrap_used, reason = "a workspace that cannot be read must fail the test")]

#[path = "store_words/source.rs"]
mod source;
#[path = "store_words/words.rs"]
mod words;

use std::path::{Path, PathBuf};

use source::Said;
use words::Words;

/// Crates and folders of the workspace that are searched. Below a `tests` or `benches` folder, what
/// begins with `store` is the store's.
const SEARCHED: [&str; 6] =
    ["crates", "command-api", "projectors", "query-api", "tests", "benches"];

/// What a team replaces by its own. A file `x.rs` goes with its folder `x`.
const STORE: [&str; 8] = [
    "crates/command/src/store",
    "crates/projection/src/projections",
    "crates/projection/src/processes",
    "crates/projection/migrations/store",
    "crates/query/src/views",
    "crates/cli/src/demo",
    "crates/cli/src/audit/tables",
    "tests/tests/store_words",
];

/// Names that libraries gave to their things.
const FOREIGN: [&str; 2] =
    ["OutOfOrderSequenceNumber", "RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER"];

#[test]
fn generic_code_says_nothing_of_the_store() {
    let words = Words::of_schemas(&root().join("schemas"));
    let mut found = Vec::new();
    for path in generic_files() {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        found.extend(violations(&words, &path, &text));
    }
    assert!(found.is_empty(), "{} places speak of the store:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_workspace_is_really_searched() {
    let words = Words::of_schemas(&root().join("schemas"));
    assert!(words.aggregates().len() >= 4, "{words:?}");
    let files = generic_files();
    for file in [
        "crates/protocol/src/fold.rs",
        "crates/protocol/tests/codec.rs",
        "crates/log/src/log.rs",
        "crates/runtime/src/lib.rs",
    ] {
        assert!(files.contains(&PathBuf::from(file)), "{file} is not searched");
    }
    assert!(!files.iter().any(|file| file.starts_with("store") || file.starts_with("events")));
}

#[test]
fn planted_words_are_found() {
    for planted in [
        "struct PlaceOrder;",
        "fn order_total() {}",
        "let orders = 1;",
        "const ORDER: u8 = 0;",
        "let kind = \"order.placed\";",
        "let path = \"/v1/products/{id}\";",
        "let text = b\"a product\";",
        "let text = r#\"say \"order\" again\"#;",
        "let text = \"line one\\norder two\";",
        "let text = \"in order\";",
        "let text = format!(\"{order_id}\");",
        "let sql = \"SELECT 1 FROM orders ORDER BY id\";",
        "let HTTPOrder2 = 'o';",
        "fn ship() {}",
        "let done = \"discontinued\";",
        "let code = \"price-set\";",
        "fn set_price() {}",
        "struct SetPrice;",
        "fn order_by() {}",
        "/* /* nested */ comment */ let order = 1;",
        "fn of<'a>(x: &'a str) -> &'a str { order }",
        "let quote = '\"'; let order = '\\'';",
    ] {
        assert!(
            !violations(&planted_words(), Path::new("x.rs"), planted).is_empty(),
            "not found in: {planted}"
        );
    }
    assert_eq!(
        violations(&planted_words(), Path::new("x.rs"), "\n\nlet order = 1;"),
        ["x.rs:3: order in `order`"]
    );
    assert!(
        !violations(&planted_words(), Path::new("x.sql"), "CREATE TABLE orders ();").is_empty()
    );
}

#[test]
fn what_is_allowed_is_not_found() {
    for allowed in [
        "// an order of products",
        "/// Orders the products.",
        "/* an order /* of */ products */ let x = 1;",
        "let sql = \"SELECT a FROM b WHERE c = $1 ORDER BY a\";",
        "use std::cmp::Ordering; let reordered = Ordering::Less;",
        "fn place() { return set(created, cancelled) }",
        "let price = set; let text = \"set the price\";",
        "RDKafkaErrorCode::OutOfOrderSequenceNumber",
        "let production = \"productive\";",
    ] {
        assert_eq!(
            violations(&planted_words(), Path::new("x.rs"), allowed),
            Vec::<String>::new(),
            "{allowed}"
        );
    }
    assert_eq!(
        violations(&planted_words(), Path::new("x.sql"), "SELECT a FROM b ORDER BY a; -- orders"),
        Vec::<String>::new()
    );
}

#[test]
fn the_store_is_what_a_team_replaces() {
    for (path, store) in [
        ("crates/command/src/store.rs", true),
        ("crates/command/src/store/lines.rs", true),
        ("crates/command/src/owner/store.rs", false),
        ("crates/projection/src/projections/orders.rs", true),
        ("crates/projection/src/builtin/snapshots.rs", false),
        ("crates/projection/migrations/store/0001_orders.sql", true),
        ("crates/projection/migrations/0001_system.sql", false),
        ("crates/query/src/views.rs", true),
        ("crates/query/src/viewed.rs", false),
        ("crates/cli/src/audit/tables.rs", true),
        ("crates/cli/src/audit/fold.rs", false),
        ("tests/tests/store_words.rs", true),
        ("tests/tests/store_by_hand.rs", true),
        ("tests/tests/crate_edges.rs", false),
        ("crates/cli/tests/store/readme.rs", true),
        ("crates/cli/tests/postgres.rs", false),
    ] {
        assert_eq!(is_store(Path::new(path)), store, "{path}");
    }
}

fn planted_words() -> Words {
    Words::of_stems([
        "order.placed.v2",
        "order.ship.v1",
        "product.set-price.v1",
        "product.price-set.v1",
        "product.discontinued.v1",
        "order.place.v1",
        "order.cancelled.v1",
    ])
}

fn violations(words: &Words, path: &Path, text: &str) -> Vec<String> {
    let said = if path.extension().is_some_and(|e| e == "sql") {
        source::sql(text)
    } else {
        source::rust(text)
    };
    let foreign = |said: &Said| FOREIGN.contains(&said.text.as_str());
    let found = said.iter().filter(|said| !foreign(said)).flat_map(|said| {
        let line = |word| format!("{}:{}: {word} in `{}`", path.display(), said.line, said.text);
        words.found_in(&said.text).into_iter().map(line).collect::<Vec<_>>()
    });
    found.collect()
}

/// Rust and SQL of the searched folders without the store's.
fn generic_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> =
        SEARCHED.iter().map(PathBuf::from).filter(|folder| root().join(folder).exists()).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let searched =
                path.extension().is_some_and(|extension| extension == "rs" || extension == "sql");
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if searched && !is_store(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn is_store(path: &Path) -> bool {
    let path = path.with_extension("");
    let steps: Vec<_> = path.iter().filter_map(|step| step.to_str()).collect();
    let own_test = steps
        .windows(2)
        .any(|pair| ["tests", "benches"].contains(&pair[0]) && pair[1].starts_with("store"))
        || matches!(steps.as_slice(), ["benches", "src", file, ..] if file.starts_with("store"));
    own_test || STORE.iter().any(|store| path.starts_with(store))
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
