//! Means over seeds, with intervals.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A mean with the interval in which it lies at 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// How often is drawn again.
const RESAMPLES: usize = 1000;

/// The mean of `figures` and its bootstrap interval (percentile method). The seed is fixed, so that the same
/// figures give the same interval.
#[must_use]
pub fn bootstrap(figures: &[f64]) -> Estimate {
    let figures: Vec<f64> = figures.iter().copied().filter(|figure| figure.is_finite()).collect();
    if figures.is_empty() {
        return Estimate { mean: f64::NAN, low: f64::NAN, high: f64::NAN };
    }
    let mut random = Pcg64Mcg::seed_from_u64(0x5eed);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| mean((0..figures.len()).map(|_| figures[random.random_range(0..figures.len())])))
        .collect();
    means.sort_by(f64::total_cmp);
    Estimate {
        mean: mean(figures.iter().copied()),
        low: means[RESAMPLES / 40],
        high: means[RESAMPLES - 1 - RESAMPLES / 40],
    }
}

fn mean(figures: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = figures.fold((0.0, 0.0), |(sum, count), figure| (sum + figure, count + 1.0));
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_mean_and_shrinks_with_more_figures() {
        let few: Vec<f64> = (0..10).map(|figure| f64::from(figure % 5)).collect();
        let many: Vec<f64> = (0..1000).map(|figure| f64::from(figure % 5)).collect();
        let (few, many) = (bootstrap(&few), bootstrap(&many));
        assert!(few.low <= few.mean && few.mean <= few.high);
        assert!(many.high - many.low < (few.high - few.low) / 3.0);
        assert!(bootstrap(&[]).mean.is_nan());
        assert_eq!(bootstrap(&[2.0, f64::NAN]).mean.to_bits(), 2.0_f64.to_bits());
    }
}
