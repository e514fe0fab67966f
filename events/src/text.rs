//! Text of bounded length.

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

/// 1 to `MOST` characters (Unicode scalar values), none of them NUL, which Postgres cannot hold.
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const MOST: usize>(Arc<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("must not be empty")]
    Empty,
    #[error("must have at most {0} characters")]
    TooLong(usize),
    #[error("must not contain the character U+0000")]
    Nul,
}

impl<const MOST: usize> TryFrom<&str> for Text<MOST> {
    type Error = Unfit;

    fn try_from(text: &str) -> Result<Self, Unfit> {
        if text.is_empty() {
            Err(Unfit::Empty)
        } else if text.chars().nth(MOST).is_some() {
            Err(Unfit::TooLong(MOST))
        } else if text.contains('\0') {
            Err(Unfit::Nul)
        } else {
            Ok(Self(text.into()))
        }
    }
}

impl<const MOST: usize> TryFrom<String> for Text<MOST> {
    type Error = Unfit;

    fn try_from(text: String) -> Result<Self, Unfit> {
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
        assert_eq!(Text::<3>::try_from("abcd"), Err(Unfit::TooLong(3)));
        assert_eq!(Text::<3>::try_from(""), Err(Unfit::Empty));
        assert_eq!(Text::<3>::try_from("a\0b"), Err(Unfit::Nul));
    }
}
