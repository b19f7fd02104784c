//! When something that wears is used up: in a straight line over the hours that the disk has run.
//!
//! The interval is what the numbers leave open: a percentage is good to one, and a count of events to twice
//! its own square root. A disk that has not run for a day tells nothing.

use contract::id::UnixMillis;
use contract::outlook::{ComponentKind, WearOut};
use contract::reading::{Outcome, ReadingKey};

use super::parts::Part;
use crate::facts::Facts;
use crate::model::{Model, Sign};

const HOUR_MILLIS: u128 = 3_600_000;
/// Younger disks tell nothing of how fast they wear.
const RUN_HOURS_MIN: u64 = 24;
/// Beyond thirty years nothing is said.
const AHEAD_HOURS_MAX: u128 = 30 * 8_766;
/// The table's own cut for a failing disk: 20 % a year (Scrutiny).
const FAILING_PER_MILLION_YEARS: u64 = 200_000;

/// Something that wears: how much is used, at least and at most, and how much there is.
struct Wear {
    key: ReadingKey,
    least: u64,
    used: u64,
    most: u64,
    all: u64,
}

/// When the first of what wears is used up; none where nothing wears, or nobody can tell.
pub(super) fn wear_out(facts: &Facts<'_>, part: &Part<'_>, model: &Model) -> Option<WearOut> {
    if !matches!(part.kind, ComponentKind::HardDisk | ComponentKind::FlashDisk) {
        return None;
    }
    let count = |key| match facts.count(&part.subject, key) {
        Outcome::Value(count) => Some(count),
        Outcome::Absent | Outcome::Unreadable(_) => None,
    };
    let run_hours = count(ReadingKey::DiskPowerOnHours).filter(|hours| *hours >= RUN_HOURS_MIN)?;
    let used =
        count(ReadingKey::NvmePercentageUsed).map(|used| percent(ReadingKey::NvmePercentageUsed, used, 100));
    let spare = count(ReadingKey::NvmeAvailableSparePercent)
        .zip(count(ReadingKey::NvmeAvailableSpareThresholdPercent))
        // Virtual disks say 0 of 0.
        .filter(|(spare, threshold)| *spare <= 100 && *threshold > 0 && *threshold < 100)
        .map(|(spare, threshold)| {
            percent(ReadingKey::NvmeAvailableSparePercent, 100 - spare, 100 - threshold)
        });
    let reallocated = model.figures().sign.iter().filter(|sign| part.has(sign)).find_map(|sign| {
        let defects = [ReadingKey::AtaReallocatedSectors, ReadingKey::ScsiGrownDefects];
        let all = defects.contains(&sign.key).then(|| failing_from(sign)).flatten()?;
        Some(events(sign.key, count(sign.key)?, all))
    });
    let wears = [used, spare, reallocated].into_iter().flatten();
    wears.filter_map(|wear| date(&wear, run_hours, facts.now)).min_by_key(|out| (out.expected, out.key))
}

fn failing_from(sign: &Sign) -> Option<u64> {
    sign.steps.iter().find(|(_, rate)| *rate >= FAILING_PER_MILLION_YEARS).map(|(from, _)| *from)
}

fn percent(key: ReadingKey, used: u64, all: u64) -> Wear {
    Wear { key, least: used.saturating_sub(1), used, most: used.saturating_add(1), all }
}

fn events(key: ReadingKey, count: u64, all: u64) -> Wear {
    let spread = count.isqrt().saturating_mul(2);
    Wear { key, least: count.saturating_sub(spread), used: count, most: count.saturating_add(spread), all }
}

fn date(wear: &Wear, run_hours: u64, now: UnixMillis) -> Option<WearOut> {
    let after = |used: u64| -> Option<UnixMillis> {
        let left = u128::from(wear.all.saturating_sub(wear.used));
        let hours = (left * u128::from(run_hours)).checked_div(u128::from(used))?;
        let millis = u64::try_from(hours.checked_mul(HOUR_MILLIS)?).ok()?;
        (hours <= AHEAD_HOURS_MAX).then(|| UnixMillis(now.0.saturating_add(millis)))
    };
    Some(WearOut {
        key: wear.key,
        earliest: after(wear.most)?,
        expected: after(wear.used)?,
        latest: after(wear.least),
    })
}
