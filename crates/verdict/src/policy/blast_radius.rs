//! The section `[blast_radius]`: how many nodes may want the same at once.

use super::section::section;

section!(
    /// How many nodes may want the same at once before a person has to look.
    BlastRadiusPolicy, BlastRadiusFragment {
        share_percent: u64 => 1..=100,
        window_minutes: u64 => 1..=1_440,
        nodes_min: u64 => 1..=10_000,
        cause_share_percent: u64 => 1..=100,
        cause_window_minutes: u64 => 1..=1_440,
        cause_nodes_min: u64 => 1..=10_000,
    }
);
