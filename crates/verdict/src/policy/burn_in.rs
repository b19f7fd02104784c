//! `[burn_in]`: what is measured while the machine works, beside its like.

use super::limits::{Limits, Response};
use super::section::section;

section!(
    /// Rates beside those of the same hardware in other nodes.
    BurnInPolicy, BurnInFragment {
        variance_percent: u64 => 1..=50,
        peer_nodes_min: u64 => 3..=1_000_000,
        median_deviations_min: u64 => 0..=100,
        slower: Response,
        slower_in_quick_look: Response,
        slower_with_one_partner: Response,
        network_errors: Limits,
        network_untested: Response,
        gpu_errors: Limits,
        gpu_untested: Response,
    }
);
