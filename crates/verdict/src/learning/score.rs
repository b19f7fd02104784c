//! How well forecasts did: Brier score and reliability.
//!
//! Floating point: only `+ − × ÷` and the square root, which are the same everywhere.

use serde::Serialize;

const MILLION: f64 = 1_000_000.0;
/// Edges of the bins, in parts per million: forecasts of parts are small, so the bins widen.
const EDGES: [u64; 9] = [0, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 200_000, 1_000_001];

/// Forecasts of about the same probability, and how often it came so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// From this probability on, in parts per million.
    pub from_parts_per_million: u64,
    /// And below this.
    pub below_parts_per_million: u64,
    /// How many forecasts.
    pub forecasts: u64,
    /// How many of them failed.
    pub failures: u64,
    /// What was foretold, on average.
    pub foretold_parts_per_million: u64,
    /// What came.
    pub came_parts_per_million: u64,
}

/// How well forecasts did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Score {
    /// How many forecasts.
    pub forecasts: u64,
    /// How many of them failed.
    pub failures: u64,
    /// Mean of the squared distance between forecast and what came, times a million; the smaller, the better.
    pub brier_parts_per_million: u64,
    /// The same, if everybody were foretold what happened on average. A model that is no better knows nothing.
    pub brier_of_average_parts_per_million: u64,
    /// What was foretold, and what came.
    pub reliability: Vec<Bin>,
}

/// Scores forecasts, each in parts per million with whether it came so.
#[must_use]
pub fn score(forecasts: &[(u64, bool)]) -> Score {
    let count = forecasts.len() as u64;
    let failures = forecasts.iter().filter(|(_, failed)| *failed).count() as u64;
    let average = failures.saturating_mul(1_000_000).checked_div(count).unwrap_or(0);
    let of_average: Vec<(u64, bool)> = forecasts.iter().map(|(_, failed)| (average, *failed)).collect();
    Score {
        forecasts: count,
        failures,
        brier_parts_per_million: rounded(brier(forecasts)),
        brier_of_average_parts_per_million: rounded(brier(&of_average)),
        reliability: EDGES.windows(2).filter_map(|edge| bin(forecasts, edge[0], edge[1])).collect(),
    }
}

fn bin(forecasts: &[(u64, bool)], from: u64, below: u64) -> Option<Bin> {
    let within: Vec<_> = forecasts.iter().filter(|(foretold, _)| (from..below).contains(foretold)).collect();
    let count = within.len() as u64;
    let failures = within.iter().filter(|(_, failed)| *failed).count() as u64;
    let foretold: u64 = within.iter().map(|(foretold, _)| foretold).sum();
    (count > 0).then(|| Bin {
        from_parts_per_million: from,
        below_parts_per_million: below.min(1_000_000),
        forecasts: count,
        failures,
        foretold_parts_per_million: foretold / count,
        came_parts_per_million: failures.saturating_mul(1_000_000) / count,
    })
}

fn squared((foretold, failed): (u64, bool)) -> f64 {
    let distance = foretold as f64 / MILLION - f64::from(u8::from(failed));
    distance * distance
}

fn brier(forecasts: &[(u64, bool)]) -> f64 {
    let sum: f64 = forecasts.iter().map(|forecast| squared(*forecast)).sum();
    if forecasts.is_empty() { 0.0 } else { sum / forecasts.len() as f64 }
}

fn rounded(share: f64) -> u64 {
    (share * MILLION + 0.5).clamp(0.0, MILLION) as u64
}

/// By how much the second is better than the first, forecast by forecast, and the standard error of that.
pub(super) fn better_by(before: &[(u64, bool)], after: &[(u64, bool)]) -> (f64, f64) {
    let gains: Vec<f64> =
        before.iter().zip(after).map(|(before, after)| squared(*before) - squared(*after)).collect();
    let count = gains.len() as f64;
    if gains.len() < 2 {
        return (0.0, f64::INFINITY);
    }
    let mean = gains.iter().sum::<f64>() / count;
    let variance = gains.iter().map(|gain| (gain - mean) * (gain - mean)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}
