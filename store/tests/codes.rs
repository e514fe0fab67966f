//! Every code that a command's schema lists has a test beside its decision, and no decision answers
//! with another code.

use std::{collections::BTreeSet, fs, path::Path};

use highwater::{category::Contract, command::Target, contracts};
use store::categories;

type Codes = BTreeSet<String>;
type Test = Result<(), Box<dyn std::error::Error>>;

/// The file of a decision, or of its tests where all decisions of an aggregate stand in one, is
/// named after its command: `order.set-price.v1` is decided in `order/set_price.rs`.
fn source_of(stem: &str) -> Result<String, Box<dyn std::error::Error>> {
    let mut parts = stem.split('.');
    let (Some(category), Some(command)) = (parts.next(), parts.next()) else {
        return Err(format!("{stem} is no command").into());
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(category);
    let file = format!("{}.rs", command.replace('-', "_"));
    let beside = folder.join(&file);
    let path = if beside.exists() { beside } else { folder.join("tests").join(file) };
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The codes that a file's tests expect. Commented lines do not count.
fn tested(source: &str) -> Codes {
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let calls = lines.flat_map(|line| line.split(".then_rejected(\"").skip(1));
    calls.filter_map(|call| call.split_once('"')).map(|(code, _)| code.to_owned()).collect()
}

fn commands() -> Vec<Contract> {
    contracts::commands(&categories())
}

fn listed(contract: &Contract) -> Result<Codes, Box<dyn std::error::Error>> {
    let schema = contract.schema.to_value();
    let codes = schema["x-highwater"]["codes"]
        .as_array()
        .ok_or_else(|| format!("{} lists no codes", contract.stem))?;
    Ok(codes.iter().filter_map(|code| code.as_str()).map(str::to_owned).collect())
}

#[test]
fn every_listed_code_has_a_test_beside_its_decision_and_every_tested_one_is_listed() -> Test {
    for schema in commands() {
        assert_eq!(
            tested(&source_of(&schema.stem)?),
            listed(&schema)?,
            "tests (left) and schema (right) of {}",
            schema.stem
        );
    }
    Ok(())
}

#[test]
fn every_code_that_the_rules_can_give_is_listed() -> Test {
    let mut all = Codes::new();
    for schema in commands() {
        all.append(&mut listed(&schema)?);
    }
    for category in categories() {
        let name = category.name;
        let mut rules: Codes = category.codes.iter().map(|code| format!("{name}.{code}")).collect();
        // The library says it for a create. A missing aggregate is a 404 before any rule.
        if category.commands.iter().any(|kind| kind.target == Target::Creates) {
            rules.insert(format!("{name}.already-exists"));
        }
        let own = |code: &&String| code.starts_with(&format!("{name}."));
        let listed: Codes = all.iter().filter(own).cloned().collect();
        assert_eq!(rules, listed, "rules (left) and schemas (right) of {name}");
    }
    Ok(())
}

#[test]
fn a_code_without_a_test_is_noticed() {
    let source = r#"
        given([placed()]).when(cancel()).then_rejected("order.tested");
        // given([placed()]).when(cancel()).then_rejected("order.commented");
        let code = "order.mentioned";
    "#;
    assert_eq!(tested(source), Codes::from(["order.tested".to_owned()]));
}
