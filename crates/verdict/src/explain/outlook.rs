//! What is ahead, in words: costs, forecast, remedies, readiness.

use contract::decision::Decision;
use contract::outlook::{
    ActionCost, ComponentForecast, ComponentKind, Contribution, Effect, Readiness, ReadinessArea, Remedy,
    WearOut,
};

use crate::civil::day;
use crate::cost::minutes;
use crate::judge::action_name;
use crate::plain::plain;
use crate::remedy::fix_name;

/// How many parts are told of, besides those that somebody has to know of.
const PARTS_TOLD: usize = 5;

/// The costs as a small table, the action that was taken marked.
pub(super) fn costs(decision: &Decision) -> Vec<String> {
    if decision.costs.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!(
        "  {:<12}  {:>11}  {:>11}  {:>13}  {:>10}  choice",
        "", "total", "away", "interruption", "written"
    )];
    lines.extend(decision.costs.iter().map(|cost| cost_line(cost, cost.action == decision.action)));
    lines
}

fn cost_line(cost: &ActionCost, taken: bool) -> String {
    let choice = match (taken, cost.allowed) {
        (true, _) => "taken".to_owned(),
        (false, true) => format!("allowed: {}", cost.because),
        (false, false) => format!("no: {}", cost.because),
    };
    format!(
        "  {:<12}  {:>11}  {:>11}  {:>13}  {:>10}  {choice}",
        action_name(cost.action),
        minutes(cost.total_milliminutes),
        minutes(cost.away_milliminutes),
        minutes(cost.interruption_milliminutes),
        gigabytes(cost.written_bytes),
    )
}

fn gigabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000_000;
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

/// The likeliest parts, and every part that wears out or that more than its kind is known of.
pub(super) fn forecast(decision: &Decision) -> Vec<String> {
    let told = decision
        .forecast
        .iter()
        .enumerate()
        .filter(|(at, part)| *at < PARTS_TOLD || part.wear_out.is_some() || part.contributions.len() > 1);
    let mut lines: Vec<String> = told.map(|(_, part)| component(part)).collect();
    let left = decision.forecast.len() - lines.len();
    if left > 0 {
        lines.push(format!("{left} more parts are no likelier to fail than these"));
    }
    lines
}

fn component(part: &ComponentForecast) -> String {
    let model = if part.hardware_model.is_empty() {
        String::new()
    } else {
        format!(" {}", plain(&part.hardware_model))
    };
    let mut text = format!(
        "{} ({}{model}) fails within {} days: {}",
        plain(&part.subject.to_string()),
        kind_name(part.kind),
        part.horizon_days,
        percent(part.failure_parts_per_million)
    );
    for contribution in &part.contributions {
        text.push_str(&format!("\n    {}", effect(contribution)));
    }
    if let Some(out) = &part.wear_out {
        text.push_str(&format!("\n    {}", wear_out(out)));
    }
    text
}

fn effect(contribution: &Contribution) -> String {
    let Contribution { what, effect, source } = contribution;
    let what = plain(what);
    match effect {
        Effect::Rate { failures_per_million_years } => {
            format!("{} a year: {what} ({source})", percent(*failures_per_million_years))
        }
        Effect::Factor { thousandths } => {
            format!("times {}.{:02}: {what} ({source})", thousandths / 1000, thousandths % 1000 / 10)
        }
    }
}

fn wear_out(out: &WearOut) -> String {
    let latest = out.latest.map_or_else(|| "later than can be told".to_owned(), day);
    format!("worn out by {} on {}, between {} and {latest}", out.key, day(out.expected), day(out.earliest))
}

/// `0.13 %` of parts per million.
fn percent(parts_per_million: u64) -> String {
    let hundredths = parts_per_million.saturating_add(50) / 100;
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn kind_name(kind: ComponentKind) -> &'static str {
    match kind {
        ComponentKind::HardDisk => "hard disk",
        ComponentKind::FlashDisk => "flash disk",
        ComponentKind::VirtualDisk => "virtual disk",
        ComponentKind::Memory => "memory",
        ComponentKind::Processor => "processor",
        ComponentKind::Gpu => "GPU",
    }
}

/// What to try, one line each.
pub(super) fn remedies(decision: &Decision) -> Vec<String> {
    let line = |remedy: &Remedy| {
        format!(
            "{}: {}\n    {}",
            plain(&remedy.subject.to_string()),
            fix_name(remedy.fix),
            plain(&remedy.because)
        )
    };
    decision.remedies.iter().map(line).collect()
}

/// The readiness with what holds it down.
pub(super) fn readiness(readiness: &Readiness) -> Vec<String> {
    let mut lines = vec![format!(
        "{} of 100, {} % seen, {} s old",
        readiness.score, readiness.coverage_percent, readiness.age_seconds
    )];
    let parts = readiness
        .parts
        .iter()
        .map(|part| format!("{} {} of 100 (weight {})", area_name(part.name), part.score, part.weight));
    lines.push(parts.collect::<Vec<_>>().join(", "));
    lines.extend(readiness.caps.iter().map(|cap| format!("no more than {}: {}", cap.most, cap.because)));
    lines
}

fn area_name(area: ReadinessArea) -> &'static str {
    match area {
        ReadinessArea::Storage => "storage",
        ReadinessArea::Memory => "memory",
        ReadinessArea::Processor => "processor",
        ReadinessArea::Gpu => "GPU",
        ReadinessArea::Network => "network",
        ReadinessArea::Power => "power",
        ReadinessArea::BootTrust => "boot trust",
        ReadinessArea::Image => "image",
    }
}
