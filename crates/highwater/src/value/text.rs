//! Text of bounded length.

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    data::{Data, Usage},
    schema::Schema,
};

/// 1 to `MOST` characters (Unicode scalar values), none of them NUL, which Postgres cannot hold.
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MOST: usize>(Arc<str>);

/// A text that is empty, too long, or has a NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitText {
    /// No characters.
    #[error("must not be empty")]
    Empty,
    /// More characters than this.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// U+0000.
    #[error("must not contain the character U+0000")]
    Nul,
}

impl<const MOST: usize> Data for Text<MOST> {
    fn schema(_: Usage) -> Schema {
        Schema::of("string")
            .with("minLength", 1)
            .with("maxLength", MOST)
            .with("pattern", r"^[^\u0000]*$")
    }
}

impl<const MOST: usize> TryFrom<&str> for Text<MOST> {
    type Error = UnfitText;

    fn try_from(text: &str) -> Result<Self, UnfitText> {
        if text.is_empty() {
            Err(UnfitText::Empty)
        } else if text.chars().nth(MOST).is_some() {
            Err(UnfitText::TooLong(MOST))
        } else if text.contains('\0') {
            Err(UnfitText::Nul)
        } else {
            Ok(Self(text.into()))
        }
    }
}

impl<const MOST: usize> TryFrom<String> for Text<MOST> {
    type Error = UnfitText;

    fn try_from(text: String) -> Result<Self, UnfitText> {
        Self::try_from(text.as_str())
    }
}

impl<const MOST: usize> From<Text<MOST>> for String {
    fn from(text: Text<MOST>) -> String {
        text.0.as_ref().to_owned()
    }
}

impl<const MOST: usize> Deref for Text<MOST> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_characters_and_not_bytes() {
        assert!(Text::<3>::try_from("äöü").is_ok());
        assert_eq!(Text::<3>::try_from("abcd"), Err(UnfitText::TooLong(3)));
        assert_eq!(Text::<3>::try_from(""), Err(UnfitText::Empty));
        assert_eq!(Text::<3>::try_from("a\0b"), Err(UnfitText::Nul));
    }
}
