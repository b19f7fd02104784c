//! Boots that a person found right for every node of a hardware model (rules G1 to G4 in `attest::golden`).

use attest::golden::{self, Golden};
use attest::register::Registers;
use contract::boot_proof::{GoldenBootView, GoldenPart};
use contract::id::Digest;
use sqlx::AnyConnection;

use super::{Measured, registers};
use crate::jobs::change::Change;
use crate::refusal::Refusal;
use crate::service::Service;
use crate::store;
use crate::store::nodes::NodeRecord;
use crate::store::wishes::hardware_model;

/// What the parts of a boot are known by, as far as they can be golden.
fn parts(measured: &Measured) -> [(GoldenPart, Option<Digest>); 2] {
    let registers: Registers = registers(measured);
    [
        (GoldenPart::Firmware, golden::firmware(&registers)),
        (GoldenPart::Booted, golden::booted(&registers, measured.ramdisk, &measured.command_line)),
    ]
}

/// Which parts of a boot are golden for the hardware model that the node was last seen to be. Of a node that was
/// never looked at nobody knows the model.
///
/// # Errors
/// If the database fails.
pub(super) async fn among(
    connection: &mut AnyConnection,
    node: &NodeRecord,
    measured: &Measured,
) -> Result<Golden, Refusal> {
    let mut found = Golden::default();
    let Some(model) = hardware_model(node) else { return Ok(found) };
    for (part, digest) in parts(measured) {
        let Some(digest) = digest else { continue };
        let is_golden = store::golden_boots::is_known(connection, &model, part, digest).await?;
        match part {
            GoldenPart::Firmware => found.firmware = is_golden,
            GoldenPart::Booted => found.booted = is_golden,
            // No part of a ramdisk's boot.
            GoldenPart::System => {}
        }
    }
    Ok(found)
}

/// What is recorded for the hardware model that a node was last seen to be.
///
/// # Errors
/// If the database fails.
pub async fn of(connection: &mut AnyConnection, node: &NodeRecord) -> Result<Vec<GoldenBootView>, Refusal> {
    match hardware_model(node) {
        Some(model) => Ok(store::golden_boots::of_model(connection, &model).await?),
        None => Ok(Vec::new()),
    }
}

impl Service {
    /// Records the boot that a node showed last, as right for every node of its hardware model.
    ///
    /// # Errors
    /// If nobody knows the model, there are too many already, or the database fails.
    pub(crate) async fn record_golden(&self, change: &mut Change<'_>, why: &str) -> Result<(), Refusal> {
        let (model, now, node) = (model_of(&change.node)?, change.now, change.node.id);
        let inventory = change.node.inventory.as_ref();
        let version = inventory.and_then(|inventory| inventory.bios_version.value()).cloned();
        let measured = change.node.boot.recorded_boot().cloned();
        for (part, digest) in measured.as_ref().map(parts).into_iter().flatten() {
            // A BIOS measures nothing of what it boots; its firmware is golden all the same.
            let Some(digest) = digest else { continue };
            let label = match part {
                GoldenPart::Firmware => version.clone().unwrap_or_default(),
                GoldenPart::Booted | GoldenPart::System => measured
                    .as_ref()
                    .and_then(|boot| boot.ramdisk)
                    .map(|ramdisk| ramdisk.to_string())
                    .unwrap_or_default(),
            };
            let label = label.chars().filter(|c| !c.is_control()).take(80).collect();
            let (hardware_model, why) = (model.clone(), why.to_owned());
            let golden = GoldenBootView { hardware_model, part, digest, node, label, why, recorded_at: now };
            record_one(change, &golden).await?;
        }
        Ok(())
    }

    /// Forgets every boot that is recorded for a node's hardware model. What the node itself has recorded stays.
    ///
    /// # Errors
    /// If nobody knows the model, nothing is recorded for it, or the database fails.
    pub(crate) async fn forget_golden(&self, change: &mut Change<'_>) -> Result<(), Refusal> {
        let model = model_of(&change.node)?;
        if store::golden_boots::forget(&mut change.transaction, &model).await? == 0 {
            return Err(Refusal::conflict(format!("no boot is recorded for {model}"), "nothing to forget"));
        }
        Ok(())
    }
}

/// Records one part of a boot as right for a hardware model.
///
/// # Errors
/// If there are too many already, or the database fails.
pub(super) async fn record_one(change: &mut Change<'_>, golden: &GoldenBootView) -> Result<(), Refusal> {
    if store::golden_boots::record(&mut change.transaction, golden).await? {
        return Ok(());
    }
    Err(Refusal::conflict(
        format!(
            "{} boots are recorded for {} already",
            store::golden_boots::PER_MODEL_MAX,
            golden.hardware_model
        ),
        "forget them (`reprieve node forget-boot NODE --for-model`) and record those that are in use",
    ))
}

pub(super) fn model_of(node: &NodeRecord) -> Result<String, Refusal> {
    hardware_model(node).ok_or_else(|| {
        Refusal::conflict(
            format!("node {} says neither its maker nor its product", node.id),
            "a boot can be recorded for this node alone",
        )
    })
}
