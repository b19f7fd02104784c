//! A point in time as a policy writes it: RFC 3339 with its offset from UTC.

use std::fmt;

use contract::id::UnixMillis;
use serde::{Deserialize, Serialize};
use toml::value::{Datetime, Offset};

use crate::civil::{day, days_from_civil};

/// A point in time, and how it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Instant {
    at: UnixMillis,
    text: String,
}

impl Instant {
    pub fn at(&self) -> UnixMillis {
        self.at
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Instant> for String {
    fn from(instant: Instant) -> Self {
        instant.text
    }
}

impl TryFrom<String> for Instant {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            let shown: String = text.chars().take(40).collect();
            format!("{shown:?} is no point in time; write it as 2027-01-31T12:00:00Z")
        };
        let read: Datetime = text.parse().map_err(|_| wrong())?;
        let (Some(date), Some(time), Some(offset)) = (read.date, read.time, read.offset) else {
            return Err(wrong());
        };
        let offset_minutes = match offset {
            Offset::Z => 0,
            Offset::Custom { minutes } => i64::from(minutes),
        };
        let days = days_from_civil(i64::from(date.year), i64::from(date.month), i64::from(date.day));
        let minutes = days * 24 * 60 + i64::from(time.hour) * 60 + i64::from(time.minute) - offset_minutes;
        let seconds = minutes * 60 + i64::from(time.second.unwrap_or(0));
        let at = u64::try_from(seconds).map_err(|_| wrong())?;
        Ok(Self { at: UnixMillis(at * 1000), text })
    }
}

/// A point in time as a policy writes it, in UTC.
#[must_use]
pub fn written(at: UnixMillis) -> String {
    let of_day = at.0 / 1000 % 86_400;
    format!("{}T{:02}:{:02}:{:02}Z", day(at), of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<u64, String> {
        Instant::try_from(text.to_owned()).map(|instant| instant.at().0 / 1000)
    }

    #[test]
    fn points_in_time_are_what_every_other_program_makes_of_them() {
        // `date -u -d TEXT +%s`
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:30:15Z", 951_827_415),
            ("2024-02-29T23:59:59+02:00", 1_709_243_999),
            ("2026-11-22T08:30:00-05:30", 1_795_356_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ];
        for (text, seconds) in cases {
            assert_eq!(read(text), Ok(seconds), "{text}");
            assert_eq!(read(&written(UnixMillis(seconds * 1000 + 999))), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_leaves_the_zone_or_the_time_open_is_refused() {
        for text in ["2027-01-31", "2027-01-31T12:00:00", "12:00:00", "soon", "", "1969-12-31T23:59:59Z"] {
            assert!(read(text).unwrap_err().contains("2027-01-31T12:00:00Z"), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = read(&text);
        }
    }
}
