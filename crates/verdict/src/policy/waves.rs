//! The section `[waves]`: how carefully an image goes to a pool.

use super::section::section;

section!(
    /// How carefully an image goes to a pool.
    WavesPolicy, WavesFragment {
        bake_minutes: u64 => 0..=10_080,
        failure_percent_max: u64 => 0..=50,
        score_drop_max: u64 => 0..=100,
        at_once_max: u64 => 1..=10_000,
    }
);
