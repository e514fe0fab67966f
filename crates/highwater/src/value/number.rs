//! Amounts and counts: integers that every JSON reader can hold exactly (RFC 8259, section 6),
//! checked once.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};

use crate::{
    data::{Data, Usage},
    schema::Schema,
};

/// The largest integer in any contract, 2^53 - 1.
pub const MAX: i64 = (1 << 53) - 1;

/// An integer beyond the bounds of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an integer from {min} to {MAX}")]
pub struct OutOfBounds {
    min: i64,
}

macro_rules! number {
    ($(#[$attribute:meta])* $name:ident, $min:expr) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// As it stands in tables.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = OutOfBounds;

            fn try_from(value: i64) -> Result<Self, OutOfBounds> {
                let fits = ($min..=MAX).contains(&value);
                if fits { Ok(Self(value)) } else { Err(OutOfBounds { min: $min }) }
            }
        }

        impl From<$name> for i64 {
            fn from(value: $name) -> i64 {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = deserializer.deserialize_any(Integer)?;
                Self::try_from(value).map_err(de::Error::custom)
            }
        }

        impl Data for $name {
            fn schema(_: Usage) -> Schema {
                Schema::of("integer").with("minimum", $min).with("maximum", MAX)
            }
        }
    };
}

number!(
    /// An amount in minor units, 0 to [`MAX`].
    #[derive(Default)]
    Money,
    0
);
number!(
    /// A number of units, 1 to [`MAX`].
    Quantity,
    1
);
number!(
    /// A number of units that may be none, 0 to [`MAX`].
    #[derive(Default)]
    Count,
    0
);
number!(
    /// What is added to a number of units, or taken away: -[`MAX`] to [`MAX`].
    #[derive(Default)]
    Delta,
    -MAX
);

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);

    /// `None` when the product is above [`MAX`].
    pub fn times(self, quantity: Quantity) -> Option<Money> {
        self.0.checked_mul(quantity.0).and_then(|minor| Money::try_from(minor).ok())
    }

    /// `None` when the sum is above [`MAX`].
    pub fn plus(self, other: Money) -> Option<Money> {
        self.0.checked_add(other.0).and_then(|minor| Money::try_from(minor).ok())
    }

    /// For sums whose bound is proven: stops at [`MAX`].
    #[must_use]
    pub fn saturating_plus(self, other: Money) -> Money {
        self.plus(other).unwrap_or(Money(MAX))
    }
}

impl Quantity {
    /// The least there is.
    pub const ONE: Quantity = Quantity(1);

    /// `None` when the sum is above [`MAX`].
    pub fn plus(self, other: Quantity) -> Option<Quantity> {
        self.0.checked_add(other.0).and_then(|units| Quantity::try_from(units).ok())
    }

    /// For sums whose bound is proven: stops at [`MAX`].
    #[must_use]
    pub fn saturating_plus(self, other: Quantity) -> Quantity {
        self.plus(other).unwrap_or(Quantity(MAX))
    }
}

impl Count {
    /// None.
    pub const ZERO: Count = Count(0);

    /// `None` when the sum is above [`MAX`].
    pub fn plus(self, quantity: Quantity) -> Option<Count> {
        self.0.checked_add(quantity.0).and_then(|units| Count::try_from(units).ok())
    }

    /// Stops at none.
    #[must_use]
    pub fn saturating_minus(self, taken: i64) -> Count {
        Count(self.0.saturating_sub(taken).clamp(0, MAX))
    }
}

/// An integer as JSON Schema means it: `1.0` and `1e0` are integers too.
struct Integer;

impl Visitor<'_> for Integer {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        Ok(i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<i64, E> {
        // Saturating; beyond 2^53 every caller refuses it anyway.
        if value.fract() == 0.0 { Ok(value as i64) } else { Err(E::custom("must be an integer")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_to_the_bounds() {
        assert!(Money::try_from(-1).is_err());
        assert_eq!(Money::try_from(0), Ok(Money::ZERO));
        assert!(Money::try_from(MAX).is_ok());
        assert!(Money::try_from(MAX + 1).is_err());
        assert!(Quantity::try_from(0).is_err());
        assert_eq!(Quantity::try_from(1), Ok(Quantity::ONE));
        assert!(Quantity::try_from(MAX + 1).is_err());
        assert!(Count::try_from(-1).is_err() && Count::try_from(MAX + 1).is_err());
        assert_eq!(Count::try_from(0), Ok(Count::ZERO));
        assert!([-MAX, 0, MAX].into_iter().all(|units| Delta::try_from(units).is_ok()));
        assert!(Delta::try_from(-MAX - 1).is_err() && Delta::try_from(MAX + 1).is_err());
    }

    #[test]
    fn sums_and_multiples_stop_at_the_bound() {
        let most = Money(MAX);
        assert_eq!(most.times(Quantity::ONE), Some(most));
        assert_eq!(most.times(Quantity(2)), None);
        assert_eq!(most.times(Quantity(MAX)), None);
        assert_eq!(Money(MAX - 1).plus(Money(1)), Some(most));
        assert_eq!(most.plus(Money(1)), None);
        assert_eq!(Quantity(MAX - 1).plus(Quantity::ONE), Some(Quantity(MAX)));
        assert_eq!(Quantity(MAX).plus(Quantity::ONE), None);
        assert_eq!(Count(MAX - 1).plus(Quantity::ONE), Some(Count(MAX)));
        assert_eq!(Count(MAX).plus(Quantity::ONE), None);
        assert_eq!(Count(3).saturating_minus(2), Count(1));
        assert_eq!(Count(3).saturating_minus(4), Count::ZERO);
    }

    #[test]
    fn reads_every_spelling_of_an_integer_and_nothing_else() {
        for text in ["3", "3.0", "3e0", "0.3e1"] {
            assert_eq!(serde_json::from_str::<Quantity>(text).ok(), Some(Quantity(3)), "{text}");
        }
        for text in [
            "0",
            "-1",
            "1.5",
            "9007199254740992",
            "18446744073709551615",
            "1e300",
            "-1e300",
            "\"3\"",
            "null",
            "[3]",
            "true",
        ] {
            assert!(serde_json::from_str::<Quantity>(text).is_err(), "{text}");
        }
    }
}
