//! A name in the forms in which code, tables and routes have it.

use std::{fmt, str::FromStr};

/// Lower-case words, joined by hyphens: `gift-card`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("`{0}` is no name: lower-case words of letters and digits, joined by hyphens")]
    Form(String),
    #[error("`{0}` is a word of Rust: take another name")]
    Keyword(String),
    #[error("`{0}` is taken: an application has a file or a crate of that name")]
    Taken(String),
    #[error("`{0}` would be the type `{1}`, and what is written uses another one of that name")]
    Type(String, String),
}

const LONGEST: usize = 40;

/// Of Rust 2024, reserved ones included.
const KEYWORDS: [&str; 46] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "static", "struct", "super", "trait", "true", "try", "type", "unsafe", "use",
    "where", "while",
];

/// Modules of a new application, crates that it sees, and what the log keeps for itself.
const TAKEN: [&str; 17] = [
    "main",
    "lib",
    "app",
    "highwater",
    "core",
    "std",
    "alloc",
    "proc-macro",
    "self",
    "test",
    "system",
    "owners",
    "operations",
    // Folders in which cargo keeps what it builds.
    "build",
    "deps",
    "examples",
    "incremental",
];

/// Types that files see which this program writes: those of Rust's prelude and of Highwater's, and
/// what the files themselves define.
const TYPES: [&str; 59] = [
    "Aggregate",
    "Box",
    "Change",
    "Clone",
    "Combination",
    "Command",
    "Context",
    "Copy",
    "Count",
    "Created",
    "Currency",
    "Data",
    "Debug",
    "Decision",
    "Default",
    "Delta",
    "Drop",
    "Eq",
    "Err",
    "Event",
    "Events",
    "Extend",
    "FieldError",
    "Fn",
    "Fold",
    "From",
    "Future",
    "Hash",
    "Id",
    "Into",
    "Item",
    "Iterator",
    "List",
    "Map",
    "Missing",
    "Money",
    "None",
    "Ok",
    "Option",
    "Ord",
    "Page",
    "Parameters",
    "Postgres",
    "Problem",
    "Quantity",
    "QueryBuilder",
    "Recorded",
    "Rejection",
    "Renamed",
    "Result",
    "Row",
    "Some",
    "State",
    "String",
    "Text",
    "Timestamp",
    "Unreadable",
    "Uuid",
    "Vec",
];

impl Name {
    /// `gift-card`: in topics, events and routes.
    pub fn kebab(&self) -> &str {
        &self.0
    }

    /// `gift_card`: modules and columns.
    pub fn snake(&self) -> String {
        self.0.replace('-', "_")
    }

    /// `GiftCard`: types.
    pub fn pascal(&self) -> String {
        let upper = |word: &str| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        };
        self.0.split('-').map(upper).collect()
    }

    /// Refuses a name whose type would stand in front of one that the same file uses.
    pub fn check_type(&self) -> Result<(), Unfit> {
        let pascal = self.pascal();
        if TYPES.contains(&pascal.as_str()) {
            return Err(Unfit::Type(self.0.clone(), pascal));
        }
        Ok(())
    }

    /// `gift card`: prose.
    pub fn words(&self) -> String {
        self.0.replace('-', " ")
    }

    /// "a" or "an", by the first letter.
    pub fn article(&self) -> &'static str {
        if self.0.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
    }

    /// Of several: `gift-cards`, `categories`, `taxes`.
    pub fn plural(&self) -> Name {
        let word = &self.0;
        let before = word.strip_suffix('y').and_then(|stem| stem.chars().last());
        let plural = match before {
            Some(letter) if !"aeiou".contains(letter) => {
                format!("{}ies", &word[..word.len() - 1])
            }
            _ if word.ends_with(['s', 'x', 'z'])
                || word.ends_with("ch")
                || word.ends_with("sh") =>
            {
                format!("{word}es")
            }
            _ => format!("{word}s"),
        };
        Name(plural)
    }
}

impl FromStr for Name {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let word = |word: &str| {
            word.starts_with(|letter: char| letter.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        if text.len() > LONGEST || !text.split('-').all(word) {
            return Err(Unfit::Form(text.to_owned()));
        }
        if KEYWORDS.contains(&text) {
            return Err(Unfit::Keyword(text.to_owned()));
        }
        if TAKEN.contains(&text) {
            return Err(Unfit::Taken(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_forms() {
        let name: Name = "gift-card".parse().unwrap();
        let forms = (name.snake(), name.pascal(), name.words(), name.article());
        assert_eq!(forms, ("gift_card".into(), "GiftCard".into(), "gift card".into(), "a"));
        for (one, several) in [
            ("voucher", "vouchers"),
            ("category", "categories"),
            ("key", "keys"),
            ("tax", "taxes"),
            ("batch", "batches"),
            ("access", "accesses"),
        ] {
            assert_eq!(one.parse::<Name>().unwrap().plural().kebab(), several);
        }
    }

    #[test]
    fn what_is_no_name_is_refused_and_what_is_allowed_said() {
        for text in ["", "Voucher", "gift_card", "-a", "a-", "a--b", "1a", "a/b", "..", "ä"] {
            assert_eq!(text.parse::<Name>(), Err(Unfit::Form(text.to_owned())), "{text}");
        }
        assert_eq!("type".parse::<Name>(), Err(Unfit::Keyword("type".to_owned())));
        assert_eq!("lib".parse::<Name>(), Err(Unfit::Taken("lib".to_owned())));
        for (name, fits) in [("text", false), ("field-error", false), ("texts", true)] {
            assert_eq!(name.parse::<Name>().unwrap().check_type().is_ok(), fits, "{name}");
        }
        assert!("a".repeat(41).parse::<Name>().is_err());
    }
}
