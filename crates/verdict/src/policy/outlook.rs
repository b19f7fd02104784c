//! `[outlook]`: what forecasts, costs and a node's history may lead to.

use super::section::section;

section!(
    /// How far forecasts, costs and history may go. None of it ever makes an action milder.
    OutlookPolicy, OutlookFragment {
        quarantine_parts_per_million_above: u64 => 1_000..=1_000_000,
        repair_cost_may_reimage: bool,
        clean_looks_min: u64 => 1..=20,
        remediations_quarantine_from: u64 => 1..=20,
        same_cause_quarantine_from: u64 => 1..=20,
    }
);
