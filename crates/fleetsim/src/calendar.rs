//! What happens to a node from outside, drawn before anybody decides anything, so that every strategy meets
//! the same year.

use rand::{Rng, RngExt};

use crate::parameters::Parameters;
use crate::truth::{Truth, YEAR_DAYS, exponential};

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Happening {
    /// The tenant gives the node back; the next has this number.
    Release {
        /// Who gets it.
        tenant: u32,
    },
    /// Immutable files are changed by accident.
    Drift {
        /// How many.
        files: u32,
    },
    /// Somebody hostile changes files.
    Compromise,
    /// An accelerator fails.
    AcceleratorFault {
        /// A reset cures it.
        transient: bool,
        /// It is one of those that only a node that fails again and again has.
        of_lemon: bool,
    },
    /// Memory gives an uncorrected error, and will again.
    MemoryFault,
    /// Corrected memory errors begin.
    CorrectedErrors,
}

/// All of a node's year, by day.
pub fn draw(parameters: &Parameters, truth: &Truth, random: &mut impl Rng) -> Vec<(f64, Happening)> {
    let mut all = Vec::new();
    let mut tenant = 1;
    each(parameters.releases_per_year / YEAR_DAYS, parameters.days, random, |day, random| {
        if !random.random_bool(parameters.same_owner_share) {
            tenant += 1;
        }
        all.push((day, Happening::Release { tenant }));
    });
    each(parameters.drifts_per_year / YEAR_DAYS, parameters.days, random, |day, random| {
        all.push((day, Happening::Drift { files: random.random_range(1..20) }));
    });
    each(parameters.compromises_per_year / YEAR_DAYS, parameters.days, random, |day, _| {
        all.push((day, Happening::Compromise));
    });
    if truth.accelerators {
        let factor = if truth.lemon { parameters.lemon_factor } else { 1.0 };
        each(parameters.accelerator_faults_per_day * factor, parameters.days, random, |day, random| {
            let of_lemon = random.random_bool(1.0 - 1.0 / factor);
            let transient = of_lemon || random.random_bool(parameters.transient_share);
            all.push((day, Happening::AcceleratorFault { transient, of_lemon }));
        });
    }
    each(parameters.memory_uncorrected_per_year / YEAR_DAYS, parameters.days, random, |day, _| {
        all.push((day, Happening::MemoryFault));
    });
    if let Some((day, _)) = truth.corrected {
        all.push((day, Happening::CorrectedErrors));
    }
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    all
}

/// Events at a rate a day until the end.
fn each<R: Rng>(rate: f64, days: f64, random: &mut R, mut event: impl FnMut(f64, &mut R)) {
    if rate <= 0.0 {
        return;
    }
    let mut day = exponential(1.0 / rate, random);
    while day < days {
        event(day, random);
        day += exponential(1.0 / rate, random);
    }
}
