//! Commands: from a body to a typed one.

use highwater_protocol::vocabulary;
use serde_json::Value;

use crate::{finding::FieldError, schema::Schema, value::Timestamp};

/// The commands of a category, in their latest versions: `#[derive(Command)]`.
#[diagnostic::on_unimplemented(message = "`{Self}` is no command: derive Command for an enum")]
pub trait Command: vocabulary::Value {
    /// One entry a command.
    fn kinds() -> &'static [CommandKind];

    /// Which of them this is.
    fn kind(&self) -> &'static CommandKind;

    /// Reads a body of any served version that passed its schema; any other body is refused as
    /// well. `now` bounds times in it.
    fn parse(
        name: &str,
        version: u32,
        body: &Value,
        now: Timestamp,
    ) -> Result<Self, Vec<FieldError>>;

    /// The body that says this, in its latest version.
    fn body(&self) -> Value;

    /// The schema of the body of one version, without an `id`, and what describes it.
    fn schema(name: &str, version: u32) -> Option<(Schema, &'static str)>;
}

/// A command of a category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandKind {
    /// `give-away`, without its category.
    pub name: &'static str,
    /// Versions 1 to this one are served.
    pub versions: u32,
    /// What it asks of its aggregate.
    pub target: Target,
    /// 428 without `If-Match`.
    pub expects_version: bool,
    /// What rules can answer, without the category.
    pub codes: &'static [&'static str],
}

/// What a command asks of its aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// It must not exist; the command makes it.
    Creates,
    /// It exists or not; the command may make it, under an id that its sender knows.
    Begins,
    /// It must exist.
    Needs,
}

impl CommandKind {
    /// Every rejection that it can answer, as in problems, sorted.
    pub fn codes_of(&self, category: &str) -> Vec<String> {
        let own = self.codes.iter().copied();
        let all = own.chain((self.target == Target::Creates).then_some(ALREADY_EXISTS));
        let mut codes: Vec<String> = all.map(|code| format!("{category}.{code}")).collect();
        codes.sort();
        codes.dedup();
        codes
    }
}

/// What a command that creates answers where the aggregate exists.
pub(crate) const ALREADY_EXISTS: &str = "already-exists";

#[doc(hidden)]
pub fn unknown_command(name: &str, version: u32) -> Vec<FieldError> {
    vec![FieldError::new("", format!("there is no command {name} in version {version}"))]
}
