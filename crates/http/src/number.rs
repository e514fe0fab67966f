//! An integer in a request has one form: digits without leading zeros, behind a minus where it is
//! below zero. No plus, no space: what is the same number is the same text, for caches too.

use std::{fmt::Display, str::FromStr};

/// The integer that is written so; `None`: it is none of this type, or written otherwise.
pub fn canonical<T: FromStr + Display>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_form() {
        assert_eq!(canonical("0"), Some(0_u64));
        assert_eq!(canonical("-12"), Some(-12_i64));
        assert_eq!(canonical("18446744073709551615"), Some(u64::MAX));
        for text in ["", "01", "00", "+1", "-0", "-01", " 1", "1 ", "1.0", "1e2", "0x1"] {
            assert_eq!(canonical::<i64>(text), None, "{text:?}");
        }
        assert_eq!(canonical::<u64>("18446744073709551616"), None);
        assert_eq!(canonical::<u32>("-1"), None);
    }
}
