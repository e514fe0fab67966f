//! `ce_time`: microseconds since the Unix epoch, in one textual form, `YYYY-MM-DDThh:mm:ss.ffffffZ`
//! (RFC 3339, UTC).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::Short;

/// Microseconds since the Unix epoch, years 0000 to 9999.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

const DAY: i64 = 86_400_000_000;

impl Micros {
    /// The one textual form.
    pub fn to_text(self) -> String {
        self.to_string()
    }

    /// Reads the one textual form; anything else, a day that does not exist included, is `None`.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        if text.len() != 27 {
            return None;
        }
        let digits = |at: usize, n: usize| -> Option<i64> {
            text[at..at + n].iter().try_fold(0_i64, |sum, b| {
                b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0'))
            })
        };
        let days = days_from_civil(digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
        let seconds = digits(11, 2)? * 3600 + digits(14, 2)? * 60 + digits(17, 2)?;
        let time = Micros(days * DAY + seconds * 1_000_000 + digits(20, 6)?);
        (Short::display(time).as_slice() == text).then_some(time)
    }
}

/// The one textual form.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, within) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let (seconds, micros) = (within / 1_000_000, within % 1_000_000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = year - i64::from(month <= 2);
    let (era, yoe) = (y.div_euclid(400), y.rem_euclid(400));
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_one_form_and_reads_it_back() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (1_795_383_264_123_456, "2026-11-22T21:34:24.123456Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(Micros(micros).to_text(), text);
            assert_eq!(Micros::from_text(text.as_bytes()), Some(Micros(micros)));
        }
    }

    #[test]
    fn refuses_every_other_form() {
        for text in [
            "2026-11-22T21:34:24Z",
            "2026-11-22T21:34:24.123Z",
            "2026-11-22t21:34:24.123456z",
            "2026-02-29T00:00:00.000000Z",
            "2026-11-22T24:00:00.000000Z",
            "2026-11-22T21:34:24.123456+00:00",
            "2026-13-01T00:00:00.000000Z",
            "2026-11-22T21:60:24.123456Z",
            "",
        ] {
            assert_eq!(Micros::from_text(text.as_bytes()), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn round_trips(micros in -62_167_219_200_000_000_i64..=253_402_300_799_999_999) {
            proptest::prop_assert_eq!(
                Micros::from_text(Micros(micros).to_text().as_bytes()),
                Some(Micros(micros))
            );
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let _ = Micros::from_text(&bytes);
        }
    }
}
