//! What fails how often: rates of kinds, signs that make one likelier, and what the fleet itself has seen.

use contract::outlook::ComponentKind;
use contract::reading::ReadingKey;
use serde::{Deserialize, Serialize};

use crate::policy::section::BadValue;

/// A hundred failures a year is no rate of anything that is kept.
const RATE_MAX: u64 = 100_000_000;
/// Lists in a model are bounded, as everything is.
const ROWS_MAX: usize = 10_000;
/// A billion years of a million parts.
const EXPOSURE_DAYS_MAX: u64 = 1_000_000_000_000;

/// How often one kind of part fails where nothing is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rate {
    pub kind: ComponentKind,
    pub failures_per_million_years: u64,
    /// How many years of such parts the rate counts for against what the fleet sees itself.
    pub strength_years: u64,
}

/// Which number of a counter a sign looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Counts {
    /// What it says.
    #[default]
    Total,
    /// What is new of it.
    Change,
    /// What is new of it in a day.
    Day,
}

/// A reading that says how often a part fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sign {
    pub kind: ComponentKind,
    pub key: ReadingKey,
    #[serde(default)]
    pub counts: Counts,
    /// From which value on which rate holds, both never decreasing.
    pub steps: Vec<(u64, u64)>,
    /// The step of a part whose value cannot be had.
    pub unread: u64,
}

impl Sign {
    /// Which step a value falls into.
    pub fn step_of(&self, value: u64) -> usize {
        self.steps.iter().rposition(|(from, _)| *from <= value).unwrap_or(0)
    }

    /// The name of a step: the bucket that outcomes are counted in.
    pub fn bucket(&self, step: usize) -> String {
        match (self.steps.get(step), self.steps.get(step + 1)) {
            (Some((from, _)), Some((next, _))) if next - from == 1 => format!("{} {from}", self.key),
            (Some((from, _)), Some((next, _))) => format!("{} {from}-{}", self.key, next - 1),
            (Some((from, _)), None) => format!("{} from {from}", self.key),
            (None, _) => self.key.to_string(),
        }
    }
}

/// The bucket of a part without any sign.
pub const NO_SIGN: &str = "no sign";

/// What the fleet itself has seen of one kind, hardware model and bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// Which kind.
    pub kind: ComponentKind,
    /// Which hardware model, as the device names it; empty means all of the kind that have no row of their
    /// own.
    #[serde(default)]
    pub hardware_model: String,
    /// Which bucket, as a forecast names it.
    pub bucket: String,
    /// How many days such parts were watched for, all together.
    pub exposure_days: u64,
    /// How many of them failed in that time.
    pub failures: u64,
}

pub(super) fn check_rates(rates: &[Rate]) -> Result<(), BadValue> {
    let bad = |problem: String| Err(BadValue::new("rate", problem));
    for kind in KINDS {
        match rates.iter().filter(|rate| rate.kind == kind).count() {
            1 => {}
            0 => return bad(format!("there is none for {kind:?}")),
            _ => return bad(format!("there are several for {kind:?}")),
        }
    }
    for rate in rates {
        if !(1..=RATE_MAX).contains(&rate.failures_per_million_years) {
            return bad(format!(
                "failures_per_million_years of {:?} is not between 1 and {RATE_MAX}",
                rate.kind
            ));
        }
        if !(1..=1_000_000_000).contains(&rate.strength_years) {
            return bad(format!("strength_years of {:?} is not between 1 and 1000000000", rate.kind));
        }
    }
    Ok(())
}

const KINDS: [ComponentKind; 6] = [
    ComponentKind::HardDisk,
    ComponentKind::FlashDisk,
    ComponentKind::VirtualDisk,
    ComponentKind::Memory,
    ComponentKind::Processor,
    ComponentKind::Gpu,
];

pub(super) fn check_signs(signs: &[Sign]) -> Result<(), BadValue> {
    let bad = |problem: String| Err(BadValue::new("sign", problem));
    if signs.len() > ROWS_MAX {
        return bad(format!("there are more than {ROWS_MAX}"));
    }
    for (at, sign) in signs.iter().enumerate() {
        let name = format!("{} of {:?}", sign.key, sign.kind);
        let rises = |pair: &[(u64, u64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
        if signs[..at].iter().any(|other| (other.kind, other.key) == (sign.kind, sign.key)) {
            return bad(format!("{name} is there twice"));
        }
        if sign.steps.first().is_none_or(|(from, _)| *from != 0) || sign.steps.len() > 100 {
            return bad(format!("the steps of {name} do not begin at 0, or are more than 100"));
        }
        // A worse value must never give a better forecast.
        if !sign.steps.windows(2).all(rises) {
            return bad(format!("the steps of {name} do not rise"));
        }
        if sign.steps.iter().any(|(_, rate)| *rate > RATE_MAX) {
            return bad(format!("a rate of {name} is more than {RATE_MAX}"));
        }
        if !sign.steps.iter().any(|(from, _)| *from == sign.unread) {
            return bad(format!("unread of {name} is none of its steps"));
        }
    }
    Ok(())
}

pub(super) fn check_observed(observed: &[Observed]) -> Result<(), BadValue> {
    let bad = |problem: String| Err(BadValue::new("observed", problem));
    if observed.len() > ROWS_MAX {
        return bad(format!("there are more than {ROWS_MAX}"));
    }
    for row in observed {
        let name = format!("{:?} {:?} {:?}", row.kind, row.hardware_model, row.bucket);
        if !(1..=EXPOSURE_DAYS_MAX).contains(&row.exposure_days) {
            return bad(format!("exposure_days of {name} is not between 1 and {EXPOSURE_DAYS_MAX}"));
        }
        if row.failures > row.exposure_days {
            return bad(format!("{name} failed more often than once a day"));
        }
    }
    Ok(())
}
