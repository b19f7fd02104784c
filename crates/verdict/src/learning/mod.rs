//! What the fleet's own outcomes say of the model, and of a better one.
//!
//! ```text
//! ledger ─► outcomes of parts ─► counts for each kind, hardware model and bucket ─► a candidate
//!                    └─► the newest fifth is held out: the candidate is never taught with it
//!                                        └─► Brier score of both: only a better one is proposed
//! ```
//!
//! A part is watched from a verdict until the next verdict on its node, until it failed, or until the horizon
//! has passed, whichever is first; so no day is counted twice, and a failure counts for the last verdict before
//! it. A forecast is about the whole horizon, so it is scored by whether the part failed within it, whatever
//! verdicts came between. What a person found fine after it was taken out was watched for that one day: it says that the sensor was
//! wrong, and nothing of the month that nobody let come.

mod score;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use contract::id::UnixMillis;
use contract::ledger::{Aftermath, LedgerEntry, Prediction};
use contract::outlook::ComponentKind;
use contract::reading::Subject;

use crate::forecast::probability_of_bucket;
use crate::model::{Model, ModelError, Observed};
pub use score::{Bin, Score, score};

const DAY_MILLIS: u64 = 86_400_000;
/// ours: with fewer held-out outcomes, or fewer failures among them, nothing is proven.
const HELD_OUT_MIN: usize = 100;
/// As above.
const HELD_OUT_FAILURES_MIN: usize = 5;
/// One-sided 95 %: a candidate must be better by this many standard errors.
const STANDARD_ERRORS_MIN: f64 = 1.645;
/// Hardware models with a row of their own at most; the rest counts for its kind.
const ROWS_MAX: usize = 1_000;

/// What became of one part after one verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartOutcome {
    /// What kind.
    pub kind: ComponentKind,
    /// Which hardware model. From the device: hostile.
    pub hardware_model: String,
    /// Which bucket it was in.
    pub bucket: String,
    /// What the verdict foretold.
    pub forecast_parts_per_million: u64,
    /// When the verdict was.
    pub at: UnixMillis,
    /// For how long it was watched.
    pub exposure_millis: u64,
    /// It failed in that time: what is counted.
    pub failed: bool,
    /// It failed before the horizon was over: what a forecast is scored by.
    pub failed_in_horizon: bool,
    /// The horizon is over, or it failed before: the forecast can be scored.
    pub known: bool,
}

/// What became of each part that the verdicts of these entries foretold something of.
#[must_use]
pub fn outcomes(entries: &[LedgerEntry], now: UnixMillis) -> Vec<PartOutcome> {
    let mut of_node: BTreeMap<_, Vec<&LedgerEntry>> = BTreeMap::new();
    for entry in entries {
        of_node.entry(entry.node).or_default().push(entry);
    }
    let mut outcomes = Vec::new();
    for of_node in of_node.values_mut() {
        of_node.sort_by_key(|entry| (entry.at, entry.evidence));
        for (at, entry) in of_node.iter().enumerate() {
            let next = of_node.get(at + 1).map(|next| next.at);
            outcomes.extend(entry.forecast.iter().map(|part| outcome(entry, part, next, now)));
        }
    }
    outcomes.sort_by(|a, b| (a.at, a.kind, &a.bucket).cmp(&(b.at, b.kind, &b.bucket)));
    outcomes
}

fn outcome(entry: &LedgerEntry, part: &Prediction, next: Option<UnixMillis>, now: UnixMillis) -> PartOutcome {
    let failure = match &entry.aftermath {
        Aftermath::Failed { subject, .. } | Aftermath::Confirmed { subject, .. } => {
            Some((subject, entry.aftermath_at))
        }
        Aftermath::Pending | Aftermath::Held | Aftermath::Fine { .. } => None,
    };
    let until = next.into_iter().chain([entry.due_at, now]).min().unwrap_or(now);
    let until = match (&entry.aftermath, failure) {
        (Aftermath::Fine { .. }, _) => until.min(entry.at.plus_millis(DAY_MILLIS)),
        (_, Some((_, failed_at))) => until.min(failed_at),
        _ => until,
    };
    let failed_within =
        failure.filter(|(subject, at)| is_of(part, subject) && *at <= entry.due_at).map(|(_, at)| at);
    let known = failed_within.is_some() || entry.aftermath == Aftermath::Held;
    PartOutcome {
        kind: part.kind,
        hardware_model: part.hardware_model.clone(),
        bucket: part.bucket.clone(),
        forecast_parts_per_million: part.failure_parts_per_million,
        at: entry.at,
        // A part that failed at once was there all the same.
        exposure_millis: until.millis_since(entry.at).max(1),
        // A later verdict on the node, before the failure, has it.
        failed: failed_within.is_some_and(|at| next.is_none_or(|next| at <= next)),
        failed_in_horizon: failed_within.is_some(),
        known,
    }
}

/// Whether what failed is this part. That "the node" failed says of no part that it did.
fn is_of(part: &Prediction, failed: &Subject) -> bool {
    match failed {
        Subject::Node => false,
        Subject::MemoryModule(_) => part.kind == ComponentKind::Memory,
        subject => &part.subject == subject,
    }
}

/// The counts that a model is taught with: for each kind and bucket, and for each hardware model by itself.
#[must_use]
pub fn observed(outcomes: &[PartOutcome]) -> Vec<Observed> {
    let mut sums: BTreeMap<(ComponentKind, String, String), (u64, u64)> = BTreeMap::new();
    for outcome in outcomes {
        let mut names = vec![String::new()];
        if !outcome.hardware_model.is_empty() {
            names.push(outcome.hardware_model.clone());
        }
        for name in names {
            let sum = sums.entry((outcome.kind, name, outcome.bucket.clone())).or_default();
            sum.0 = sum.0.saturating_add(outcome.exposure_millis);
            sum.1 += u64::from(outcome.failed);
        }
    }
    let rows = sums.into_iter().map(|((kind, hardware_model, bucket), (millis, failures))| {
        // No part is watched for less than a day in a row of a model.
        let exposure_days = (millis / DAY_MILLIS).max(failures).max(1);
        Observed { kind, hardware_model, bucket, exposure_days, failures }
    });
    let mut rows: Vec<Observed> = rows.collect();
    // Those of all of a kind first, then those that say most.
    rows.sort_by(|a, b| {
        let size = |row: &Observed| (!row.hardware_model.is_empty(), std::cmp::Reverse(row.exposure_days));
        size(a).cmp(&size(b)).then_with(|| (a.kind, &a.bucket).cmp(&(b.kind, &b.bucket)))
    });
    rows.truncate(ROWS_MAX);
    rows
}

/// A model that was taught, and how it does beside the one in use on what it was not taught with.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The model with the fleet's counts.
    pub candidate: Model,
    /// How the one in use does on the held-out outcomes.
    pub in_use: Score,
    /// How the candidate does on the same.
    pub taught: Score,
    /// Why it may not take the place of the one in use; none if it may.
    pub refused: Option<String>,
}

/// Teaches a candidate with the older outcomes and tries it on the newest fifth.
///
/// # Errors
/// [`ModelError`] if the counts make no model, which cannot be unless they are beyond every bound.
pub fn propose(in_use: &Model, outcomes: &[PartOutcome]) -> Result<Proposal, ModelError> {
    let mut by_time: Vec<&PartOutcome> = outcomes.iter().collect();
    by_time.sort_by_key(|outcome| outcome.at);
    let split = by_time.len() - by_time.len() / 5;
    let since = by_time.get(split).map(|outcome| outcome.at);
    // All of one moment are on one side, and what was still running when the held-out time began would tell
    // of it.
    let older = by_time.iter().filter(|outcome| since.is_none_or(|since| outcome.at < since));
    let taught_with: Vec<PartOutcome> = older.map(|outcome| cut(outcome, since)).collect();
    let held_out: Vec<&PartOutcome> =
        by_time.into_iter().filter(|outcome| since.is_some_and(|since| outcome.at >= since)).collect();
    let candidate = in_use.with_observed(observed(&taught_with))?;
    let of = |model: &Model| -> Vec<(u64, bool)> {
        let known = held_out.iter().filter(|outcome| outcome.known);
        let foretold = |outcome: &&&PartOutcome| {
            let foretold =
                probability_of_bucket(model, outcome.kind, &outcome.hardware_model, &outcome.bucket);
            (foretold, outcome.failed_in_horizon)
        };
        known.map(|outcome| foretold(&outcome)).collect()
    };
    let (before, after) = (of(in_use), of(&candidate));
    let refused = refusal(&before, &after);
    Ok(Proposal { candidate, in_use: score(&before), taught: score(&after), refused })
}

/// The outcome as it was known at this time.
fn cut(outcome: &PartOutcome, at: Option<UnixMillis>) -> PartOutcome {
    let Some(at) = at else { return outcome.clone() };
    let known_millis = at.millis_since(outcome.at);
    let failed = outcome.failed && outcome.exposure_millis <= known_millis;
    PartOutcome {
        exposure_millis: outcome.exposure_millis.min(known_millis).max(1),
        failed,
        ..outcome.clone()
    }
}

fn refusal(before: &[(u64, bool)], after: &[(u64, bool)]) -> Option<String> {
    let failures = before.iter().filter(|(_, failed)| *failed).count();
    if before.len() < HELD_OUT_MIN || failures < HELD_OUT_FAILURES_MIN {
        return Some(format!(
            "{} held-out outcomes with {failures} failures prove nothing; {HELD_OUT_MIN} with {HELD_OUT_FAILURES_MIN} are needed",
            before.len()
        ));
    }
    let (better_by, standard_error) = score::better_by(before, after);
    if better_by > 0.0 && better_by > STANDARD_ERRORS_MIN * standard_error {
        return None;
    }
    Some("it is not better on the held-out outcomes than the model in use, by more than chance".to_owned())
}
