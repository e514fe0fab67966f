//! Currencies.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    data::{Data, Usage},
    schema::Schema,
};

/// Three letters as in ISO 4217. The list of codes changes without us, so only the form is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// Not three capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a currency code of three capital letters (ISO 4217)")]
pub struct NotACurrency;

impl Data for Currency {
    fn schema(_: Usage) -> Schema {
        Schema::of("string").with("pattern", "^[A-Z]{3}$").described("ISO 4217.")
    }
}

impl TryFrom<&str> for Currency {
    type Error = NotACurrency;

    fn try_from(text: &str) -> Result<Self, NotACurrency> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| NotACurrency)?;
        if letters.iter().all(u8::is_ascii_uppercase) {
            Ok(Self(letters))
        } else {
            Err(NotACurrency)
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = NotACurrency;

    fn try_from(text: String) -> Result<Self, NotACurrency> {
        Self::try_from(text.as_str())
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.to_string()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}
