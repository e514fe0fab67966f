//! Times inside data: RFC 3339 in UTC, to the microsecond.

use std::{fmt, time::Duration};

use highwater_protocol::time::Micros;
use serde::{Deserialize, Serialize};

use crate::{
    data::{Data, Usage},
    schema::Schema,
};

/// Written in the one form of [`Micros`]; read from any RFC 3339 text in UTC, up to nanoseconds,
/// which are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(Micros);

/// Not a time, or none that exists here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATime {
    /// Another form, another zone, or a day that does not exist.
    #[error("must be a time that exists, as RFC 3339 in UTC (2026-11-22T21:34:24.123Z)")]
    Unfit,
    /// Second 60.
    #[error(
        "is within a leap second, which times here do not have: write second 59, or second 00 of \
         the next minute"
    )]
    LeapSecond,
}

impl Timestamp {
    /// So many microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(Micros(micros))
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0.0
    }

    /// So much later, to the microsecond; stops at what 64 bits can count.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(Micros(self.0.0.saturating_add(micros)))
    }
}

impl Data for Timestamp {
    fn schema(place: Usage) -> Schema {
        let rest = match place {
            Usage::Command => r"(\.[0-9]{1,9})?(Z|\+00:00)$",
            Usage::Event => r"\.[0-9]{6}Z$",
        };
        let seconds = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}";
        Schema::of("string").with("format", "date-time").with("pattern", format!("{seconds}{rest}"))
    }
}

impl From<Micros> for Timestamp {
    fn from(micros: Micros) -> Self {
        Self(micros)
    }
}

/// The one textual form, as in records.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<&str> for Timestamp {
    type Error = NotATime;

    fn try_from(text: &str) -> Result<Self, NotATime> {
        let utc = text
            .strip_suffix('Z')
            .or_else(|| text.strip_suffix("+00:00"))
            .ok_or(NotATime::Unfit)?;
        let (seconds, fraction) = utc.split_once('.').unwrap_or((utc, "0"));
        if !(1..=9).contains(&fraction.len()) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotATime::Unfit);
        }
        let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
        let read =
            |seconds: &str| Micros::from_text(format!("{seconds}.{micros}Z").as_bytes()).map(Self);
        let is_leap = || {
            seconds
                .strip_suffix(":60")
                .is_some_and(|minute| read(&format!("{minute}:59")).is_some())
        };
        read(seconds).ok_or_else(|| if is_leap() { NotATime::LeapSecond } else { NotATime::Unfit })
    }
}

impl TryFrom<String> for Timestamp {
    type Error = NotATime;

    fn try_from(text: String) -> Result<Self, NotATime> {
        Self::try_from(text.as_str())
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> String {
        time.0.to_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_spellings_of_utc() {
        for (text, canonical) in [
            ("2017-01-01T11:53:26Z", "2017-01-01T11:53:26.000000Z"),
            ("2017-01-01T11:53:26+00:00", "2017-01-01T11:53:26.000000Z"),
            ("2017-01-01T11:53:26.5Z", "2017-01-01T11:53:26.500000Z"),
            ("2017-01-01T11:53:26.123456789Z", "2017-01-01T11:53:26.123456Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(
                Timestamp::try_from(text).map(String::from),
                Ok(canonical.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_other_zones_forms_and_days() {
        for text in [
            "2017-01-01T11:53:26",
            "2017-01-01T11:53:26+01:00",
            "2017-01-01t11:53:26z",
            "2017-01-01 11:53:26Z",
            "2017-01-01T11:53:26.Z",
            "2017-01-01T11:53:26.1234567890Z",
            "2017-01-01T11:53:26.12a4Z",
            "2017-02-29T11:53:26Z",
            "2017-01-01T24:00:00Z",
            "2016-12-31T23:60:60Z",
            "2016-12-32T23:59:60Z",
            "2016-12-31T23:59:61Z",
            "60",
            ":60Z",
            "ä017-01-01T11:53:26Z",
            "",
            "Z",
        ] {
            assert_eq!(Timestamp::try_from(text), Err(NotATime::Unfit), "{text}");
        }
    }

    #[test]
    fn says_of_a_leap_second_what_it_is() {
        for text in
            ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.999+00:00", "9999-12-31T23:59:60Z"]
        {
            assert_eq!(Timestamp::try_from(text), Err(NotATime::LeapSecond), "{text}");
        }
        let said = NotATime::LeapSecond.to_string();
        assert!(said.contains("leap second") && said.contains("second 59"), "{said}");
    }
}
