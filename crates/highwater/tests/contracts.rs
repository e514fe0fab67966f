//! `schemas/` against the types: what is new is written, what was published is guarded.

#[path = "support/voucher.rs"]
mod voucher;

use std::{
    fs,
    path::{Path, PathBuf},
};

use highwater::{Category, contracts};
use voucher::Voucher;

type Test = Result<(), Box<dyn std::error::Error>>;

/// A folder of this test with samples, and everything else written.
fn published(test: &str) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("contracts").join(test);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let issued = r#"{"amount_minor":5,"currency":"EUR","parts":[{"units":1}],"kind":"plain"}"#;
    let given = concat!(
        r#"{"to":"5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a01","#,
        r#""by":"5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a01","#,
        r#""command":"5c1a6f0e-4b7e-5a55-9d3f-0f6f6a1f2a01"}"#
    );
    for (stem, text) in [
        ("events/voucher.issued.v1", r#"{"amount_minor":5}"#),
        ("events/voucher.issued.v2", r#"{"amount_minor":5,"currency":"EUR"}"#),
        ("events/voucher.issued.v3", issued),
        ("events/voucher.given-away.v1", given),
        ("events/voucher.redeemed.v1", "{}"),
        ("commands/voucher.issue.v1", r#"{"amount_minor":5,"currency":"EUR"}"#),
        ("commands/voucher.issue.v2", issued),
        ("commands/voucher.give-away.v1", r#"{"to":"5C1A6F0E-4b7e-5a55-9d3f-0f6f6a1f2a01"}"#),
        ("commands/voucher.redeem.v1", "{}"),
        ("commands/voucher.look-at.v1", "{}"),
    ] {
        put(&folder, &format!("samples/{stem}/plain.json"), text)?;
    }
    let written = contracts::write(&folder, &categories())?;
    assert_eq!(written.files.len(), 11, "{:?}", written.files);
    Ok(folder)
}

fn put(folder: &Path, file: &str, text: &str) -> std::io::Result<()> {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap_or(folder))?;
    fs::write(path, text)
}

/// With the codes that its commands list.
fn categories() -> [Category; 1] {
    with_codes(&["already-redeemed"])
}

fn with_codes(codes: &'static [&'static str]) -> [Category; 1] {
    let mut category = Category::of::<Voucher>("vouchers");
    category.codes = codes;
    [category]
}

fn differences(folder: &Path) -> Result<Vec<String>, contracts::Error> {
    let all = contracts::check(folder, &categories())?;
    Ok(all.iter().map(ToString::to_string).collect())
}

#[test]
fn what_was_written_does_not_differ_and_is_not_written_again() -> Test {
    let folder = published("written")?;
    assert_eq!(differences(&folder)?, Vec::<String>::new());
    assert_eq!(contracts::write(&folder, &categories())?.files, Vec::<String>::new());
    let state = fs::read_to_string(folder.join("states/voucher.3.json"))?;
    assert!(state.contains(r#""state": {"kind":"plain","redeemed":true}"#), "{state}");
    Ok(())
}

#[test]
fn a_schema_that_is_new_begins_with_a_sample_that_fits() -> Test {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("contracts").join("examples");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    contracts::write(&folder, &categories())?;
    assert_eq!(differences(&folder)?, Vec::<String>::new());
    let issued = folder.join("samples/events/voucher.issued.v2/example.json");
    let issued: serde_json::Value = serde_json::from_str(&fs::read_to_string(&issued)?)?;
    assert_eq!(issued, serde_json::json!({"amount_minor": 1, "currency": "EUR"}));
    Ok(())
}

#[test]
fn everything_that_differs_is_said_with_what_to_do() -> Test {
    let folder = published("differs")?;
    let change = |file: &str, from: &str, to: &str| -> Test {
        let text = fs::read_to_string(folder.join(file))?;
        assert!(text.contains(from), "{file} has no {from}");
        Ok(put(&folder, file, &text.replace(from, to))?)
    };
    change("events/voucher.issued.v3.json", "\"maximum\": 50", "\"maximum\": 40")?;
    change(
        "states/voucher.3.json",
        r#"{"kind":"plain","redeemed":true}"#,
        r#"{"kind":"plain","redeemed":1}"#,
    )?;
    change(
        "states/voucher.3.json",
        "\"redeemed\": {\n        \"type\": \"boolean\"",
        "\"redeemed\": {\n        \"type\": \"integer\"",
    )?;
    change("samples/events/voucher.redeemed.v1/plain.json", "{}", r#"{"by":1}"#)?;
    change("samples/commands/voucher.redeem.v1/plain.json", "{}", r#"{"by":1}"#)?;
    put(&folder, "events/voucher.lost.v1.json", "{}")?;
    put(&folder, "samples/events/voucher.lost.v1/plain.json", "{}")?;
    fs::remove_file(folder.join("commands/voucher.redeem.v1.json"))?;
    fs::remove_dir_all(folder.join("samples/commands/voucher.look-at.v1"))?;
    let found = differences(&folder)?;
    for (file, what) in [
        (
            "events/voucher.issued.v3.json",
            "at /properties/parts/items/properties/units/maximum: take the change back, or make \
             version 4 of issued",
        ),
        ("events/voucher.lost.v1.json", "no type says this"),
        ("commands/voucher.redeem.v1.json", "is not written yet"),
        ("samples/events/voucher.redeemed.v1/plain.json", "is not read any more"),
        ("samples/commands/voucher.redeem.v1/plain.json", "is not accepted any more: /by"),
        ("samples/commands/voucher.look-at.v1", "has no sample"),
        ("samples/events/voucher.lost.v1", "no type reads these samples"),
        ("states/voucher.3.json", "its shape differs at /properties/redeemed/type: count"),
        ("states/voucher.3.json", "cannot be folded any more"),
    ] {
        let is_said =
            |text: &&String| text.starts_with(&format!("{file}: ")) && text.contains(what);
        assert!(found.iter().any(|text| is_said(&text)), "{file} {what}: {found:#?}");
    }
    assert_eq!(found.len(), 9, "{found:#?}");
    Ok(())
}

#[test]
fn a_state_that_changes_under_the_same_number_is_found() -> Test {
    let folder = published("state")?;
    let file = folder.join("states/voucher.3.json");
    let text = fs::read_to_string(&file)?;
    fs::write(&file, text.replace(r#""redeemed":true}"#, r#""redeemed":false}"#))?;
    let found = differences(&folder)?;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("count #[state(format = 3)] up to 4"), "{}", found[0]);
    Ok(())
}

#[test]
fn what_was_published_is_not_written_over() -> Test {
    let folder = published("kept")?;
    put(&folder, "events/voucher.redeemed.v1.json", "{}")?;
    let written = contracts::write(&folder, &categories())?;
    assert_eq!(written.files, Vec::<String>::new());
    assert!(written.differences.iter().any(|found| found.file.ends_with("redeemed.v1.json")));
    assert_eq!(fs::read_to_string(folder.join("events/voucher.redeemed.v1.json"))?, "{}");
    Ok(())
}

#[test]
fn what_lost_its_type_is_said_before_anything_is_written() -> Test {
    let folder = published("misspelt")?;
    // As after a release in which the event was called otherwise.
    let (now, before) = ("events/voucher.redeemed.v1.json", "events/voucher.used.v1.json");
    fs::rename(folder.join(now), folder.join(before))?;
    let written = contracts::write(&folder, &categories())?;
    assert_eq!(written.files, Vec::<String>::new());
    assert!(!folder.join(now).exists());
    let of = |file: &str| written.differences.iter().any(|found| found.file == file);
    assert!(of(now) && of(before), "{:?}", written.differences);
    Ok(())
}

#[test]
fn what_would_differ_afterwards_is_said_before_anything_is_written() -> Test {
    let folder = published("first")?;
    let new = "events/voucher.redeemed.v1.json";
    let before = fs::read_to_string(folder.join(new))?;
    let written = |categories: &[Category], says: &str| -> Test {
        fs::remove_file(folder.join(new))?;
        let written = contracts::write(&folder, categories)?;
        assert_eq!(written.files, Vec::<String>::new(), "{says}");
        assert!(!folder.join(new).exists(), "{says}");
        let texts: Vec<_> = written.differences.iter().map(ToString::to_string).collect();
        assert!(texts.iter().any(|text| text.contains(says)), "{texts:?}");
        Ok(put(&folder, new, &before)?)
    };
    let forgotten = [Category::of::<Voucher>("vouchers")];
    written(&forgotten, "can answer forgotten, and no command lists it")?;
    written(&with_codes(&[]), "lists already-redeemed, and no rejection has it")?;
    let sample = "samples/events/voucher.given-away.v1/plain.json";
    let given = fs::read_to_string(folder.join(sample))?;
    put(&folder, sample, "{}")?;
    written(&categories(), "is not read any more")?;
    put(&folder, sample, &given)?;
    let state = folder.join("states/voucher.3.json");
    let text = fs::read_to_string(&state)?;
    fs::write(&state, text.replace(r#""redeemed":true}"#, r#""redeemed":false}"#))?;
    written(&categories(), "count #[state(format = 3)] up to 4")
}

#[test]
fn a_new_sample_gets_a_state() -> Test {
    let folder = published("sample")?;
    let gift =
        r#"{"amount_minor":5,"currency":"EUR","parts":[{"units":1}],"kind":{"gift":"Anna"}}"#;
    put(&folder, "samples/events/voucher.issued.v3/gift.json", gift)?;
    let found = differences(&folder)?;
    assert!(found.len() == 1 && found[0].contains("has no state after"), "{found:?}");
    assert_eq!(contracts::write(&folder, &categories())?.files, ["states/voucher.3.json"]);
    assert_eq!(differences(&folder)?, Vec::<String>::new());
    Ok(())
}
