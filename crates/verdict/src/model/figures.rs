//! `[forecast]`, `[cost]` and `[readiness]`: single figures.

use crate::policy::section::{BadValue, section};

section!(
    /// How far ahead is looked, and what besides the signs makes a failure likelier.
    ForecastModel, ForecastModelFragment {
        horizon_days: u64 => 1..=365,
        peer_z_thousandths_above: u64 => 1_000..=100_000,
        peer_nodes_min: u64 => 3..=1_000_000,
        peer_factor_thousandths: u64 => 1_000..=100_000,
        history_factor_thousandths: u64 => 1_000..=100_000,
        history_factor_thousandths_most: u64 => 1_000..=1_000_000,
    }
);
section!(
    /// What an action costs.
    CostModel, CostModelFragment {
        look_deeper_milliminutes: u64 => 0..=1_000_000_000,
        repair_milliminutes: u64 => 0..=1_000_000_000,
        reimage_milliminutes: u64 => 0..=1_000_000_000,
        quarantine_milliminutes: u64 => 1..=1_000_000_000,
        interruption_milliminutes: u64 => 0..=1_000_000_000,
        device_erase_milliminutes: u64 => 0..=1_000_000_000,
        hard_disk_bytes_per_second: u64 => 1_000_000..=1_000_000_000_000,
        flash_bytes_per_second: u64 => 1_000_000..=1_000_000_000_000,
        repair_image_parts_per_million: u64 => 0..=1_000_000,
        repair_holds_parts_per_million: u64 => 0..=1_000_000,
        repair_again_parts_per_million: u64 => 0..=1_000_000,
        wear_milliminutes_per_terabyte: u64 => 0..=1_000_000_000,
        power_watts: u64 => 1..=1_000_000,
        energy_milliminutes_per_kilowatt_hour: u64 => 0..=1_000_000_000,
    }
);
section!(
    /// What readiness is made of.
    ReadinessModel, ReadinessModelFragment {
        storage: u64 => 0..=100,
        memory: u64 => 0..=100,
        processor: u64 => 0..=100,
        gpu: u64 => 0..=100,
        network: u64 => 0..=100,
        power: u64 => 0..=100,
        boot_trust: u64 => 0..=100,
        image: u64 => 0..=100,
        watched_score: u64 => 0..=100,
        unseen_score: u64 => 0..=100,
        quarantine_most: u64 => 0..=100,
        sanitize_pending_most: u64 => 0..=100,
        reimage_pending_most: u64 => 0..=100,
        repair_pending_most: u64 => 0..=100,
        coverage_percent_min: u64 => 0..=100,
        coverage_most: u64 => 0..=100,
    } also weights
);

fn weights(readiness: &ReadinessModel) -> Result<(), BadValue> {
    let ReadinessModel { storage, memory, processor, gpu, network, power, boot_trust, image, .. } = readiness;
    let sum = storage + memory + processor + gpu + network + power + boot_trust + image;
    if sum == 100 {
        return Ok(());
    }
    Err(BadValue::new("storage", format!("all weights together are {sum}, not 100")))
}
