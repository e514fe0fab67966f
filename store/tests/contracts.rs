//! `schemas/` says what the types say.

use std::path::PathBuf;

use highwater::contracts;

type Test = Result<(), contracts::Error>;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../schemas")
}

#[test]
fn nothing_that_was_published_has_changed() -> Test {
    let differences = contracts::check(&folder(), &store::categories())?;
    let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}
