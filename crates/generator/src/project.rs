//! The files of a new application.

use std::path::{Path, PathBuf};

use crate::{
    names::Name,
    plan::{Error, Plan},
};

/// Of a checkout.
const FACADE: &str = "crates/highwater/Cargo.toml";

/// An application of this name, which depends on a checkout or on the published version.
pub fn new(name: &Name, checkout: Option<&Path>) -> Result<Plan, Error> {
    let folder = PathBuf::from(name.kebab());
    if folder.exists() {
        return Err(Error::Exists(folder));
    }
    let mut plan = Plan::default();
    let version = env!("CARGO_PKG_VERSION");
    let dependency = match checkout {
        None => format!("version = \"{version}\""),
        Some(checkout) => {
            let found = std::path::absolute(checkout).map_err(Error::io(checkout))?;
            if !found.join(FACADE).is_file() {
                return Err(Error::NoCheckout { folder: found, file: FACADE });
            }
            let path = found.join("crates/highwater");
            format!("path = \"{}\"", path.display())
        }
    };
    let written = |template: &str| {
        template
            .replace("{{dependency}}", &dependency)
            .replace("{{kebab}}", name.kebab())
            .replace("{{snake}}", &name.snake())
    };
    for (path, template) in [
        ("Cargo.toml", include_str!("../templates/application/Cargo.toml.template")),
        ("README.md", include_str!("../templates/application/README.md")),
        ("AGENTS.md", include_str!("../templates/application/AGENTS.md")),
        (".gitignore", include_str!("../templates/application/gitignore")),
        (".github/workflows/ci.yml", include_str!("../templates/application/ci.yml")),
        ("build.rs", include_str!("../templates/application/build.rs.template")),
        ("src/lib.rs", include_str!("../templates/application/lib.rs.template")),
        ("src/main.rs", include_str!("../templates/application/main.rs.template")),
        ("tests/application.rs", include_str!("../templates/application/application.rs.template")),
        ("migrations/README.md", include_str!("../templates/application/migrations.md")),
        ("schemas/README.md", include_str!("../templates/application/schemas.md")),
    ] {
        plan.make(folder.join(path), written(template))?;
    }
    for (path, template) in [
        ("bin/up", include_str!("../templates/application/up")),
        ("bin/test", include_str!("../templates/application/test")),
    ] {
        plan.make_executable(folder.join(path), &written(template))?;
    }
    if let Some(checkout) = checkout {
        // The versions that the checkout was tested with.
        let lock = checkout.join("Cargo.lock");
        let text = std::fs::read_to_string(&lock).map_err(Error::io(&lock))?;
        plan.make(folder.join("Cargo.lock"), text)?;
    }
    Ok(plan)
}
