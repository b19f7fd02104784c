//! `[fitness]`: when hardware is watched and when it is taken out.

use super::limits::{HealthUnreadable, Limits};
use super::section::{BadValue, section};

section!(
    /// Thresholds of the rules about hardware.
    FitnessPolicy, FitnessFragment {
        nvme_critical_warning_quarantine_mask: u64 => 1..=255,
        nvme_critical_warning_watch_mask: u64 => 0..=255,
        nvme_percentage_used: Limits,
        nvme_media_errors: Limits,
        ata_reallocated_sectors: Limits,
        ata_reported_uncorrectable: Limits,
        ata_pending_sectors: Limits,
        ata_offline_uncorrectable: Limits,
        disk_read_errors: Limits,
        health_unreadable: HealthUnreadable,
        kernel_hardware_errors_fatal: Vec<String>,
        memory_percent_min: u64 => 1..=100,
        remediations_watch_from: u64 => 1..=20,
        remediations_window_hours: u64 => 1..=8_760,
    } also fatal_texts
);

fn fatal_texts(fitness: &FitnessPolicy) -> Result<(), BadValue> {
    if fitness.kernel_hardware_errors_fatal.iter().any(|pattern| pattern.trim().is_empty()) {
        let problem = "an empty text would make every line fatal";
        return Err(BadValue::new("kernel_hardware_errors_fatal", problem));
    }
    Ok(())
}
