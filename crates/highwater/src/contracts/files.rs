//! Compares the contracts with what was published, and writes what is new.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use super::{
    difference::{Difference, TO_WRITE, unlike},
    folder::{Error, Folder},
    samples, states,
};
use crate::category::{Category, Contract};

/// What [`write()`] did, and what it left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// New files, within the folder.
    pub files: Vec<String>,
    /// What was published otherwise: it is not written over.
    pub differences: Vec<Difference>,
}

/// Everything in which the files of `folder` differ from the contracts of `categories`.
pub fn check(folder: &Path, categories: &[Category]) -> Result<Vec<Difference>, Error> {
    differences(&Folder::new(folder), categories)
}

/// Writes the schemas and states that are new, with an example of each schema that has no sample.
/// What was published stays as it is. Everything is compared first, as it would be afterwards: what
/// differs then (a published version that has changed, or has no type any more because a name was
/// misspelt; a code that no rule has) is reported and nothing is written. Only an example that the
/// command's own `check` refuses is written and reported: people mend it.
pub fn write(folder: &Path, categories: &[Category]) -> Result<Written, Error> {
    let within = Folder::new(folder);
    for kind in [Kind::Events, Kind::Commands] {
        let published = within.files(kind.folder())?;
        for contract in kind.contracts(categories) {
            let name = format!("{}.json", contract.stem);
            if !published.contains_key(&name) {
                let file = format!("{}/{name}", kind.folder());
                within.write(file, contract.schema.to_string());
                samples::begin(&within, kind.folder(), &contract)?;
            }
        }
    }
    for category in categories {
        states::write(&within, category)?;
    }
    let found = differences(&within, categories)?;
    if found.iter().any(|difference| !within.is_to_write(&difference.file)) {
        return Ok(Written { files: Vec::new(), differences: check(folder, categories)? });
    }
    Ok(Written { files: within.carry_out()?, differences: found })
}

fn differences(folder: &Folder<'_>, categories: &[Category]) -> Result<Vec<Difference>, Error> {
    let mut differences = Vec::new();
    for kind in [Kind::Events, Kind::Commands] {
        differences.extend(schemas(folder, kind, categories)?);
    }
    for category in categories {
        differences.extend(codes(category));
        differences.extend(samples::check(folder, category)?);
        differences.extend(states::check(folder, category)?);
    }
    Ok(differences)
}

#[derive(Clone, Copy)]
enum Kind {
    Events,
    Commands,
}

impl Kind {
    fn folder(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Commands => "commands",
        }
    }

    fn contracts(self, categories: &[Category]) -> Vec<Contract> {
        match self {
            Self::Events => super::events(categories),
            Self::Commands => super::commands(categories),
        }
    }
}

fn schemas(
    folder: &Folder<'_>,
    kind: Kind,
    categories: &[Category],
) -> Result<Vec<Difference>, Error> {
    let published = folder.files(kind.folder())?;
    let contracts: BTreeMap<String, Contract> = kind
        .contracts(categories)
        .into_iter()
        .map(|contract| (format!("{}.json", contract.stem), contract))
        .collect();
    let mut differences = Vec::new();
    let mut differs = |name: &str, what: String| {
        differences.push(Difference { file: format!("{}/{name}", kind.folder()), what });
    };
    for (name, contract) in &contracts {
        match published.get(name).map(|text| serde_json::from_str::<Value>(text)) {
            None => differs(name, TO_WRITE.to_owned()),
            Some(Err(error)) => differs(name, format!("is no JSON: {error}")),
            Some(Ok(before)) => {
                let pointers = unlike(&before, &contract.schema.to_value());
                if !pointers.is_empty() {
                    differs(name, changed(contract, &pointers));
                }
            }
        }
    }
    for name in published.keys().filter(|name| !contracts.contains_key(*name)) {
        let what = "no type says this: what was published stays readable, so keep its type in \
                    old(..) of its variant; not released yet: delete the file";
        differs(name, what.to_owned());
    }
    Ok(differences)
}

fn changed(contract: &Contract, pointers: &[String]) -> String {
    let (name, next) = (contract.name, contract.version + 1);
    if pointers == ["/description"] {
        return format!(
            "its description is another one: of the latest version it is the doc comment of the \
             variant, or else of the type; of the versions in old(..) that of the type. Give the \
             type of version {} the one that was published",
            contract.version
        );
    }
    format!(
        "its type says something else at {}: take the change back, or make version {next} of \
         {name}: keep the type as it was, in old(..) of the variant, with From for the next one; \
         not released yet: delete the file and write it again",
        pointers.join(", ")
    )
}

/// Rules and commands must speak of the same codes.
fn codes(category: &Category) -> Vec<Difference> {
    let listed = |code: &&str| category.commands.iter().any(|kind| kind.codes.contains(code));
    let unlisted = category.codes.iter().copied().filter(|code| !listed(code)).map(|code| {
        let what = format!(
            "the rules of {} can answer {code}, and no command lists it: add it to codes(..)",
            category.name
        );
        Difference { file: "commands".to_owned(), what }
    });
    let unknown = category.commands.iter().flat_map(|kind| {
        let unknown = kind.codes.iter().filter(|code| !category.codes.contains(code));
        unknown.map(|code| Difference {
            file: "commands".to_owned(),
            what: format!(
                "command {}.{} lists {code}, and no rejection has it",
                category.name, kind.name
            ),
        })
    });
    unlisted.chain(unknown).collect()
}
