//! `[windows]`: when destructive work may begin. Ranges of a week, on a clock with a fixed offset from UTC.

use contract::id::UnixMillis;
use serde::{Deserialize, Serialize};

use super::section::{BadValue, section};

/// How many ranges a policy may have.
const RANGES_MAX: usize = 64;
const MINUTE_MILLIS: u64 = 60_000;
const DAY_MINUTES: u64 = 24 * 60;
const WEEK_MINUTES: u64 = 7 * DAY_MINUTES;
/// 1970-01-01 was a Thursday, three days after a Monday.
const EPOCH_MINUTES: u64 = 3 * DAY_MINUTES;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

section!(
    /// When work that changes disks may begin; at any time if there is no range.
    WindowsPolicy, WindowsFragment {
        begin: Vec<Range>,
        utc_offset: UtcOffset,
    } also bounded
);

fn bounded(windows: &WindowsPolicy) -> Result<(), BadValue> {
    match windows.begin.len() {
        0..=RANGES_MAX => Ok(()),
        count => Err(BadValue::new("begin", format!("has {count} ranges; {RANGES_MAX} are allowed"))),
    }
}

impl WindowsPolicy {
    /// When work may begin, if it may not begin now. There is such a time within a week.
    pub fn opens_at(&self, now: UnixMillis) -> Option<UnixMillis> {
        let minute = now.0 / MINUTE_MILLIS;
        let of_week = (minute + EPOCH_MINUTES + self.utc_offset.ahead_minutes) % WEEK_MINUTES;
        let mut wait: Option<u64> = None;
        for (start, minutes) in self.begin.iter().flat_map(Range::stretches) {
            if (of_week + WEEK_MINUTES - start) % WEEK_MINUTES < minutes {
                return None;
            }
            let until = (start + WEEK_MINUTES - of_week) % WEEK_MINUTES;
            wait = Some(wait.map_or(until, |other| other.min(until)));
        }
        wait.map(|minutes| UnixMillis((minute + minutes).saturating_mul(MINUTE_MILLIS)))
    }
}

/// The same hours on some days of the week, such as `mon-fri 22:00-06:00`: an end that is not later than the
/// beginning is on the next day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Range {
    /// The days on which it begins, Monday first.
    days: [bool; 7],
    /// Minutes of the day.
    from: u64,
    minutes: u64,
    text: String,
}

impl Range {
    /// The minute of the week at which each stretch begins, and how many minutes it has.
    fn stretches(&self) -> impl Iterator<Item = (u64, u64)> {
        let days = (0_u64..).zip(self.days).filter(|(_, chosen)| *chosen);
        days.map(|(day, _)| (day * DAY_MINUTES + self.from, self.minutes))
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.text
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let shown: String = text.chars().take(40).collect();
        let wrong = || {
            format!(
                "{shown:?} is no window; write days and hours as \"mon-fri 22:00-06:00\" or \"daily 01:00-05:00\""
            )
        };
        let (days, hours) = text.split_once(' ').ok_or_else(wrong)?;
        let (from, to) = hours.split_once('-').ok_or_else(wrong)?;
        let days = days_of(days).ok_or_else(wrong)?;
        let from = clock_minutes(from).filter(|from| *from < DAY_MINUTES).ok_or_else(wrong)?;
        let to = clock_minutes(to).ok_or_else(wrong)?;
        if from == to {
            return Err(format!("{shown:?} ends where it begins; write 00:00-24:00 for a whole day"));
        }
        let minutes = if to > from { to - from } else { to + DAY_MINUTES - from };
        Ok(Self { days, from, minutes, text })
    }
}

/// `daily`, or days and stretches of days with commas between them.
fn days_of(text: &str) -> Option<[bool; 7]> {
    if text == "daily" {
        return Some([true; 7]);
    }
    let number = |name: &str| DAYS.iter().position(|day| *day == name);
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (number(first)?, number(last)?);
        days[day] = true;
        while day != last {
            day = (day + 1) % DAYS.len();
            days[day] = true;
        }
    }
    Some(days)
}

/// `HH:MM`, up to 24:00.
fn clock_minutes(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| match digits.as_bytes() {
        [a, b] if a.is_ascii_digit() && b.is_ascii_digit() => digits.parse::<u64>().ok(),
        _ => None,
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let of_day = hours * 60 + minutes;
    (minutes < 60 && of_day <= DAY_MINUTES).then_some(of_day)
}

/// How far a clock is ahead of UTC or behind it, such as `+02:00`. It does not change with the seasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct UtcOffset {
    /// What is behind is ahead by a week less that.
    ahead_minutes: u64,
    text: String,
}

impl From<UtcOffset> for String {
    fn from(offset: UtcOffset) -> Self {
        offset.text
    }
}

impl TryFrom<String> for UtcOffset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // The clocks of the world are from 12 hours behind to 14 hours ahead.
        let read = match text.split_at_checked(1) {
            Some(("+", hours)) => clock_minutes(hours).filter(|minutes| *minutes <= 14 * 60),
            Some(("-", hours)) => clock_minutes(hours)
                .filter(|minutes| *minutes <= 12 * 60)
                .map(|minutes| WEEK_MINUTES - minutes),
            _ => None,
        };
        let shown: String = text.chars().take(40).collect();
        let ahead_minutes =
            read.ok_or_else(|| format!("{shown:?} is no offset from UTC; write it as +02:00"))?;
        Ok(Self { ahead_minutes, text })
    }
}

#[cfg(test)]
mod tests {
    use super::super::instant;
    use super::*;
    use crate::policy::Policy;

    /// Sunday, 2026-11-22 12:00:00 UTC.
    const SUNDAY_NOON: UnixMillis = UnixMillis(1_795_348_800_000);

    fn opens(windows: &str, now: UnixMillis) -> Option<String> {
        let policy = Policy::parse(&format!("[windows]\n{windows}\n")).unwrap();
        policy.sections().windows.opens_at(now).map(instant::written)
    }

    #[test]
    fn work_may_begin_within_the_ranges_and_waits_for_the_next_one_without() {
        let hours = |hours: u64| UnixMillis(SUNDAY_NOON.0 + hours * 3_600_000);
        let (nights, daily) = ("begin = [\"mon-fri 22:00-06:00\"]", "begin = [\"daily 12:00-12:01\"]");
        let cases = [
            ("", hours(0), None),
            ("begin = []", hours(0), None),
            (nights, hours(0), Some("2026-11-23T22:00:00Z")),
            (nights, hours(34), None),
            (nights, UnixMillis(hours(34).0 - 1), Some("2026-11-23T22:00:00Z")),
            // Friday's night ends on Saturday at six.
            (nights, UnixMillis(hours(138).0 - 1), None),
            (nights, hours(138), Some("2026-11-30T22:00:00Z")),
            (daily, UnixMillis(SUNDAY_NOON.0 + 59_999), None),
            (daily, UnixMillis(SUNDAY_NOON.0 + 60_000), Some("2026-11-23T12:00:00Z")),
            ("begin = [\"sun 00:00-24:00\"]", hours(11), None),
            ("begin = [\"sun 00:00-24:00\"]", hours(12), Some("2026-11-29T00:00:00Z")),
            // Of several the next; days that go around the week's end.
            (
                "begin = [\"wed,fri 03:00-04:00\", \"sat-mon 18:00-19:30\"]",
                hours(0),
                Some("2026-11-22T18:00:00Z"),
            ),
            (
                "begin = [\"wed,fri 03:00-04:00\", \"sat-mon 18:00-19:30\"]",
                hours(40),
                Some("2026-11-25T03:00:00Z"),
            ),
            // Two hours ahead of UTC it is Sunday 14:00.
            ("begin = [\"sun 14:00-15:00\"]\nutc_offset = \"+02:00\"", hours(0), None),
            (
                "begin = [\"sun 12:00-13:00\"]\nutc_offset = \"+02:00\"",
                hours(0),
                Some("2026-11-29T10:00:00Z"),
            ),
            (
                "begin = [\"sat 23:30-23:45\"]\nutc_offset = \"-12:00\"",
                hours(0),
                Some("2026-11-29T11:30:00Z"),
            ),
            ("begin = [\"sun 00:00-00:15\"]\nutc_offset = \"-12:00\"", hours(0), None),
        ];
        for (windows, now, expected) in cases {
            assert_eq!(opens(windows, now).as_deref(), expected, "{windows} at {}", instant::written(now));
        }
    }

    #[test]
    fn what_is_no_window_is_refused_with_its_line() {
        let many = format!("begin = [{}]", "\"daily 01:00-02:00\", ".repeat(RANGES_MAX + 1));
        let cases = [
            ("begin = [\"mon-fri\"]", "no window"),
            ("begin = [\"monday 01:00-02:00\"]", "no window"),
            ("begin = [\"mon 1:00-2:00\"]", "no window"),
            ("begin = [\"mon 24:00-02:00\"]", "no window"),
            ("begin = [\"mon 01:00-24:01\"]", "no window"),
            ("begin = [\"mon 01:60-02:00\"]", "no window"),
            ("begin = [\"mon, tue 01:00-02:00\"]", "no window"),
            ("begin = [\"daily 01:00-01:00\"]", "ends where it begins"),
            ("utc_offset = \"2\"", "no offset"),
            ("utc_offset = \"+14:01\"", "no offset"),
            ("utc_offset = \"-12:01\"", "no offset"),
            ("utc_offset = \"CET\"", "no offset"),
            (&many, "65 ranges"),
        ];
        for (text, problem) in cases {
            let error = Policy::parse(&format!("[windows]\n{text}\n")).unwrap_err();
            assert_eq!(error.line, 2, "{error}");
            assert!(error.to_string().contains(problem), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,30}", days in "(mon|sun|-|,){0,4} ?[0-9:-]{0,12}") {
            for text in [text, days] {
                let _ = Range::try_from(text.clone());
                let _ = UtcOffset::try_from(text);
            }
        }

        /// It opens when it says, not a minute earlier, and within a week.
        #[test]
        fn a_window_opens_when_it_says(
            day in 0_usize..7, from in 0_u64..1440, minutes in 1_u64..1440, ahead in -720_i64..=840, now in 0_u64..4_102_444_800_000,
        ) {
            let clock = |of_day: u64| format!("{:02}:{:02}", of_day / 60, of_day % 60);
            let range = format!("{} {}-{}", DAYS[day], clock(from), clock((from + minutes) % 1440));
            let sign = if ahead < 0 { '-' } else { '+' };
            let windows = WindowsPolicy {
                begin: vec![Range::try_from(range).unwrap()],
                utc_offset: UtcOffset::try_from(format!("{sign}{}", clock(ahead.unsigned_abs()))).unwrap(),
            };
            if let Some(opens_at) = windows.opens_at(UnixMillis(now)) {
                proptest::prop_assert!(opens_at.0 > now && opens_at.0 - now <= WEEK_MINUTES * MINUTE_MILLIS);
                proptest::prop_assert_eq!(windows.opens_at(opens_at), None);
                proptest::prop_assert_eq!(windows.opens_at(UnixMillis(opens_at.0 - 1)), Some(opens_at));
            }
        }
    }
}
