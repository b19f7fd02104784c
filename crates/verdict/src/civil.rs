//! Days and dates of the proleptic Gregorian calendar, in UTC (H. Hinnant, "chrono-compatible low-level date
//! algorithms"). Years begin in March here, so that the day that leap years have more is the last of one.

use contract::id::UnixMillis;

const DAYS_PER_ERA: i64 = 146_097;
/// From the first of March of the year 0 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;
const DAY_MILLIS: u64 = 86_400_000;

/// Days from 1970-01-01 to a date.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - EPOCH_DAYS
}

/// Year, month and day of a time.
fn civil(time: UnixMillis) -> (i64, i64, i64) {
    // No time has more days than that.
    let days = i64::try_from(time.0 / DAY_MILLIS).unwrap_or(i64::MAX / 2) + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The day of a time, as `2026-11-22`.
pub(crate) fn day(time: UnixMillis) -> String {
    let (year, month, day) = civil(time);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (millis, date) in [
            (0, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (951_868_800_000, "2000-03-01"),
            (1_800_000_000_000, "2027-01-15"),
            (4_107_542_399_000, "2100-02-28"),
        ] {
            assert_eq!(day(UnixMillis(millis)), date);
        }
        assert!(!day(UnixMillis(u64::MAX)).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn a_date_is_of_the_day_that_it_was_made_from(days in 0_u64..200_000_000_000) {
            let (year, month, day) = civil(UnixMillis(days * DAY_MILLIS));
            proptest::prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
            proptest::prop_assert_eq!(days_from_civil(year, month, day), days as i64);
        }
    }
}
