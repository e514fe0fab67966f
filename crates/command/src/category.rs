//! What a category plugs into the machinery: its domain, its commands and their schemas.

use std::{collections::BTreeMap, sync::Arc};

use highwater_http::{problem::FieldError, schema::Validator};
use highwater_protocol::{domain::Durable, time::Micros, wire::Wire};
use serde_json::Value;
use uuid::Uuid;

/// One aggregate category as command-api serves it.
pub trait Category: Durable + highwater_protocol::domain::Domain<Wire> {
    /// As in topics, `ce_source` and positions.
    const NAME: &'static str;

    /// The schema of every served command version: the stem (`<category>.<command>.v<version>`) and
    /// its text.
    fn schemas() -> Vec<(String, String)>;

    /// Reads a body that passed its schema.
    fn parse(
        command: &str,
        version: u32,
        body: &Value,
        now: Micros,
    ) -> Result<Self::Command, Vec<FieldError>>;
}

/// The commands of a category, compiled.
pub struct Commands(BTreeMap<String, BTreeMap<u32, Arc<Spec>>>);

/// One version of one command.
pub struct Spec {
    pub version: u32,
    /// Makes an aggregate: `POST /v1/{collection}`.
    pub creates: bool,
    /// 428 without `If-Match`.
    pub expected_required: bool,
    pub validator: Validator,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("schema {stem}: {what}")]
    Schema { stem: String, what: String },
}

impl Commands {
    pub fn of<C: Category>() -> Result<Self, Error> {
        let mut commands: BTreeMap<String, BTreeMap<u32, Arc<Spec>>> = BTreeMap::new();
        for (stem, text) in C::schemas() {
            let (name, version) = name_and_version(C::NAME, &stem)
                .ok_or_else(|| wrong(&stem, "is not <category>.<command>.v<version>"))?;
            commands
                .entry(name.to_owned())
                .or_default()
                .insert(version, Arc::new(Spec::read(&stem, version, &text)?));
        }
        Ok(Self(commands))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The asked version, or the oldest served.
    pub fn find(&self, name: &str, version: Option<u32>) -> Option<&Arc<Spec>> {
        let versions = self.0.get(name)?;
        version.map_or_else(|| versions.values().next(), |version| versions.get(&version))
    }

    pub fn versions(&self, name: &str) -> Vec<u32> {
        self.0.get(name).map(|versions| versions.keys().copied().collect()).unwrap_or_default()
    }

    /// The commands that make an aggregate.
    pub fn creating(&self) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(_, versions)| versions.values().any(|spec| spec.creates))
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

/// 404 of a command: code and detail.
pub fn missing<C: Category>(aggregate: Uuid) -> (String, String) {
    (format!("{}.not-found", C::NAME), format!("there is no {} {aggregate}", C::NAME))
}

impl Spec {
    /// The command that `body` is, whichever way it came.
    pub fn command<C: Category>(
        &self,
        name: &str,
        body: &Value,
        now: Micros,
    ) -> Result<C::Command, Vec<FieldError>> {
        self.validator.validate(body)?;
        C::parse(name, self.version, body, now)
    }

    fn read(stem: &str, version: u32, text: &str) -> Result<Self, Error> {
        let schema: Value = serde_json::from_str(text).map_err(|error| wrong(stem, error))?;
        let ours = &schema["x-highwater"];
        Ok(Self {
            version,
            creates: ours["creates"]
                .as_bool()
                .ok_or_else(|| wrong(stem, "x-highwater.creates must be true or false"))?,
            expected_required: match ours["expectedVersion"].as_str() {
                Some("required") => true,
                Some("optional") => false,
                _ => {
                    return Err(wrong(
                        stem,
                        "x-highwater.expectedVersion must be required or optional",
                    ));
                }
            },
            validator: Validator::new(text).map_err(|error| wrong(stem, error))?,
        })
    }
}

fn wrong(stem: &str, what: impl ToString) -> Error {
    Error::Schema { stem: stem.to_owned(), what: what.to_string() }
}

fn name_and_version<'a>(category: &str, stem: &'a str) -> Option<(&'a str, u32)> {
    let (name, version) = stem.strip_prefix(category)?.strip_prefix('.')?.rsplit_once(".v")?;
    Some((name, version.parse().ok()?))
}
