//! What verdicts save against wiping always: the formula, its assumptions, and sums with their spread.
//!
//! Formula 1. Saved = what the model says that sanitizing and imaging this very node would have cost, minus what
//! was measured. For a wipe it is nothing by definition, and for a node that was taken out it is not claimed:
//! wiping a sick machine would have saved no work. Energy is minutes times the model's power. Flash bytes are
//! those that are written from outside: a device's own erase writes none.

use contract::decision::{Action, Decision};
use contract::id::UnixMillis;
use contract::ledger::{
    ActionTotal, Aftermath, Amount, ExpectedFailures, LedgerEntry, NodeNote, Prediction, Total,
};
use contract::outlook::ComponentKind;

use crate::civil::days_from_civil;
use crate::model::Model;

/// Version of the formula above. Entries keep the version that they were counted with.
pub const FORMULA: u64 = 1;
/// How many nodes a report names in a list.
const NAMED_MAX: usize = 10;

/// What was measured: minutes from the first boot of the ramdisk to the end, and what was written to flash.
#[must_use]
pub fn spent(milliminutes: u64, flash_bytes: u64, model: &Model) -> Amount {
    Amount { milliminutes, flash_bytes, watt_hours: watt_hours(milliminutes, model) }
}

/// What wiping the node would have cost, as its verdict says; none if it does not say.
#[must_use]
pub fn always_wipe(decision: &Decision) -> Option<Amount> {
    let wipe = decision.costs.iter().find(|cost| cost.action == Action::Wipe)?;
    Some(Amount {
        milliminutes: wipe.away_milliminutes,
        flash_bytes: wipe.written_bytes,
        watt_hours: wipe.energy_watt_hours,
    })
}

/// What a verdict foretold, to be compared with what came.
#[must_use]
pub fn predictions(decision: &Decision) -> Vec<Prediction> {
    let foretold = decision.forecast.iter().map(|part| Prediction {
        subject: part.subject.clone(),
        kind: part.kind,
        hardware_model: part.hardware_model.clone(),
        bucket: part.bucket.clone(),
        failure_parts_per_million: part.failure_parts_per_million,
    });
    foretold.collect()
}

/// The formula and what it takes for granted, line by line.
#[must_use]
pub fn assumptions(model: &Model) -> Vec<String> {
    let cost = &model.figures().cost;
    vec![
        format!(
            "formula {FORMULA}: saved = sanitizing and imaging the node as the model foresees it, minus what was measured"
        ),
        "a wipe saves nothing; a quarantine claims nothing".to_owned(),
        format!(
            "imaging a whole node takes {} thousandths of a minute, a device's own erase {} more; disks without one are written over at {} bytes a second (flash) or {} (rotating)",
            cost.reimage_milliminutes,
            cost.device_erase_milliminutes,
            cost.flash_bytes_per_second,
            cost.hard_disk_bytes_per_second
        ),
        format!("a node away from its work needs {} watts", cost.power_watts),
        "ranges: sum ± 1.96 standard errors, as if each verdict were drawn from the same process".to_owned(),
        format!("model {}", model.digest()),
    ]
}

fn watt_hours(milliminutes: u64, model: &Model) -> u64 {
    let watts = u128::from(model.figures().cost.power_watts);
    u64::try_from(u128::from(milliminutes) * watts / 60_000).unwrap_or(u64::MAX)
}

/// What one verdict saved: minutes, bytes, energy; negative where wiping would have been cheaper. None if it
/// does not say what wiping would have cost.
#[must_use]
pub fn saved(entry: &LedgerEntry) -> Option<[i64; 3]> {
    let wipe = entry.always_wipe.as_ref()?;
    let spent = &entry.spent;
    Some(match entry.action {
        Action::Wipe | Action::Quarantine | Action::LookDeeper => [0, 0, 0],
        Action::Keep | Action::Repair | Action::Reimage => [
            difference(wipe.milliminutes, spent.milliminutes),
            difference(wipe.flash_bytes, spent.flash_bytes),
            difference(wipe.watt_hours, spent.watt_hours),
        ],
    })
}

fn difference(a: u64, b: u64) -> i64 {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    signed(a).saturating_sub(signed(b))
}

/// A sum with the range that it lies in with 95 percent, if each value is drawn from the same process.
#[must_use]
pub fn total(values: &[i64]) -> Total {
    let sum = values.iter().fold(0_i64, |sum, value| sum.saturating_add(*value));
    if values.len() < 2 {
        return Total { sum, low: None, high: None };
    }
    // Addition, multiplication, division and square root alone: the same on every machine.
    let count = values.len() as f64;
    let mean = values.iter().map(|value| *value as f64).sum::<f64>() / count;
    let squares = values.iter().map(|value| (*value as f64 - mean) * (*value as f64 - mean)).sum::<f64>();
    let margin = (1.96 * (count * squares / (count - 1.0)).sqrt()).round() as i64;
    Total { sum, low: Some(sum.saturating_sub(margin)), high: Some(sum.saturating_add(margin)) }
}

/// By action, mildest first.
#[must_use]
pub fn by_action(entries: &[LedgerEntry]) -> Vec<ActionTotal> {
    let mut totals: Vec<ActionTotal> = Vec::new();
    for entry in entries {
        let at = totals.iter().position(|total| total.action == entry.action).unwrap_or_else(|| {
            totals.push(ActionTotal { action: entry.action, verdicts: 0, spent: Amount::default() });
            totals.len() - 1
        });
        let Some(total) = totals.get_mut(at) else { continue };
        total.verdicts += 1;
        let (sum, more) = (&mut total.spent, &entry.spent);
        sum.milliminutes = sum.milliminutes.saturating_add(more.milliminutes);
        sum.flash_bytes = sum.flash_bytes.saturating_add(more.flash_bytes);
        sum.watt_hours = sum.watt_hours.saturating_add(more.watt_hours);
    }
    totals.sort_by_key(|total| total.action);
    totals
}

/// Nodes that went back to work and failed within the horizon, worst first.
#[must_use]
pub fn escapes(entries: &[LedgerEntry]) -> Vec<NodeNote> {
    let mut notes: Vec<NodeNote> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.action != Action::Quarantine) {
        if let Aftermath::Failed { because, .. } = &entry.aftermath {
            note(&mut notes, entry, because);
        }
    }
    worst_first(notes)
}

/// Nodes that were put right or taken out more than once, most often first.
#[must_use]
pub fn repeat_offenders(entries: &[LedgerEntry]) -> Vec<NodeNote> {
    let mut notes: Vec<NodeNote> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.action > Action::LookDeeper) {
        note(&mut notes, entry, &entry.rule);
    }
    notes.retain(|note| note.times > 1);
    let mut notes = worst_first(notes);
    notes.truncate(NAMED_MAX);
    notes
}

fn note(notes: &mut Vec<NodeNote>, entry: &LedgerEntry, because: &str) {
    match notes.iter_mut().find(|note| note.node == entry.node) {
        Some(note) => {
            note.times += 1;
            because.clone_into(&mut note.because);
        }
        None => notes.push(NodeNote { node: entry.node, times: 1, because: because.to_owned() }),
    }
}

fn worst_first(mut notes: Vec<NodeNote>) -> Vec<NodeNote> {
    notes.sort_by(|a, b| b.times.cmp(&a.times).then(a.node.cmp(&b.node)));
    notes
}

/// What is foretold to fail, from the newest verdict of each node; kinds in their order.
#[must_use]
pub fn expected_failures<'a>(forecasts: impl Iterator<Item = &'a Prediction>) -> Vec<ExpectedFailures> {
    let mut kinds: std::collections::BTreeMap<ComponentKind, (u64, u64)> = std::collections::BTreeMap::new();
    for prediction in forecasts {
        let (parts, millionths) = kinds.entry(prediction.kind).or_default();
        *parts += 1;
        *millionths = millionths.saturating_add(prediction.failure_parts_per_million);
    }
    let expected = kinds.into_iter().map(|(kind, (parts, millionths))| ExpectedFailures {
        kind,
        parts,
        failures_thousandths: millionths / 1000,
    });
    expected.collect()
}

/// The first moment of a month in UTC and the first after it, from `2026-11`; none if it is not written so.
#[must_use]
pub fn month(text: &str) -> Option<(UnixMillis, UnixMillis)> {
    let (year, month) = text.split_once('-')?;
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(year, 4) || !digits(month, 2) {
        return None;
    }
    let (year, month): (i64, i64) = (year.parse().ok()?, month.parse().ok()?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let start = |(year, month)| {
        let days = u64::try_from(days_from_civil(year, month, 1)).ok()?;
        Some(UnixMillis(days * 86_400_000))
    };
    Some((start((year, month))?, start(next)?))
}

#[cfg(test)]
mod tests;
