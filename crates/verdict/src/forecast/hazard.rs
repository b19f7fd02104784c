//! Rates with what is known of them, and the probability that follows.
//!
//! Floating point here must give the same bits on every machine: only `+ − × ÷` and the logarithm and
//! exponential of the `libm` crate, which are computed in Rust and not by the system's library.

use contract::outlook::ComponentKind;

use super::parts::Part;
use crate::model::{Model, NO_SIGN, Observed, Sign};

const DAYS_PER_YEAR: f64 = 365.25;
const MILLION: f64 = 1_000_000.0;

/// A Gamma distribution over a rate: `shape` failures in `years` years.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hazard {
    shape: f64,
    years: f64,
}

impl Hazard {
    /// What is known of a part in the bucket of this sign and step, or of none.
    pub fn of(model: &Model, part: &Part<'_>, sign: Option<(&Sign, usize)>) -> Self {
        let years = as_float(strength_years(model, part.kind));
        let shape = as_float(prior_rate(model, part, sign)) / MILLION * years;
        // Naming a bucket costs more than anything else here.
        if model.observed().is_empty() {
            return Self { shape, years };
        }
        match observed(model, part, &bucket(sign)) {
            Some(own) => Self {
                shape: shape + as_float(own.failures),
                years: years + as_float(own.exposure_days) / DAYS_PER_YEAR,
            },
            None => Self { shape, years },
        }
    }

    /// Makes failing likelier.
    pub fn times(&mut self, thousandths: u64) {
        self.shape *= as_float(thousandths) / 1_000.0;
    }

    /// That it fails within so many days: `1 − (b / (b + t))^a`.
    pub fn probability(&self, days: u64) -> f64 {
        let years = as_float(days) / DAYS_PER_YEAR;
        -libm::expm1(self.shape * libm::log1p(-years / (self.years + years)))
    }

    /// Which of two fails sooner, over a month.
    pub fn is_worse_than(&self, other: &Self) -> bool {
        self.probability(30) > other.probability(30)
    }
}

fn as_float(count: u64) -> f64 {
    // Counts here are checked to be far below 2^53; a larger one loses digits that nobody could use.
    count as f64
}

/// Rounded, so that bytes are equal everywhere.
pub(super) fn parts_per_million(probability: f64) -> u64 {
    let clamped = (probability * MILLION + 0.5).clamp(0.0, MILLION);
    clamped as u64
}

/// The name of the bucket that outcomes of such parts are counted in.
pub(super) fn bucket(sign: Option<(&Sign, usize)>) -> String {
    sign.map_or_else(|| NO_SIGN.to_owned(), |(sign, step)| sign.bucket(step))
}

fn strength_years(model: &Model, kind: ComponentKind) -> u64 {
    model.figures().rate.iter().find(|rate| rate.kind == kind).map_or(1, |rate| rate.strength_years)
}

/// The published rate, in failures per million years. A sign never makes a part better than its kind.
pub(super) fn prior_rate(model: &Model, part: &Part<'_>, sign: Option<(&Sign, usize)>) -> u64 {
    let rates = &model.figures().rate;
    let of_kind =
        rates.iter().find(|rate| rate.kind == part.kind).map_or(0, |rate| rate.failures_per_million_years);
    let of_sign = sign.and_then(|(sign, step)| sign.steps.get(step)).map_or(0, |(_, rate)| *rate);
    of_kind.max(of_sign)
}

/// What the fleet has seen of such parts: of this very hardware model, or else of all others.
pub(super) fn observed<'m>(model: &'m Model, part: &Part<'_>, bucket: &str) -> Option<&'m Observed> {
    let alike = |row: &&Observed| row.kind == part.kind && row.bucket == bucket;
    let of_model = |row: &&Observed| row.hardware_model == part.hardware_model;
    let rows = || model.observed().iter().filter(alike);
    rows().find(of_model).or_else(|| rows().find(|row| row.hardware_model.is_empty()))
}

/// The rate after what the fleet has seen, in failures per million years.
pub(super) fn rate_with_own(model: &Model, part: &Part<'_>, sign: Option<(&Sign, usize)>) -> u64 {
    let hazard = Hazard::of(model, part, sign);
    let rate = hazard.shape / hazard.years * MILLION + 0.5;
    rate.clamp(0.0, 1e15) as u64
}
