//! `[bmc]`: what follows from what a node's management controller says.

use super::limits::Response;
use super::section::section;

section!(
    /// Sensors that the management controller reads.
    BmcPolicy, BmcFragment {
        temperature_critical: Response,
        part_critical: Response,
        redundancy_lost: Response,
        warning: Response,
        unreadable: Response,
        age_max_seconds: u64 => 60..=86_400,
    }
);
