//! A site with the small image, for tests of booting and writing that need no operating system.

use anyhow::{Result, bail, ensure};
use contract::decision::Action;
use contract::id::{JobId, NodeId};
use contract::operator_api::JobState;

use crate::artefacts::Artefacts;
use crate::disk::{DiskBus, first_difference};
use crate::lab::Lab;
use crate::machine::{Firmware, Machine, OnReset, Spec};
use crate::scenario::site::{Site, spec};
use crate::scenario::stage::{Outcome, expect_action, follow_ramdisk};
use crate::service::Configuration;
use crate::small_image;

/// Size of the disks, in bytes: the image, the partitions of ours, and some more.
pub const DISK_BYTES: u64 = 120 << 20;

/// A service that has the small image.
///
/// # Errors
/// If the image cannot be made or imported, or the service does not start.
pub fn site<'lab>(
    lab: &'lab Lab,
    artefacts: &Artefacts,
    configuration: &Configuration,
) -> Result<Site<'lab>> {
    let image = lab.folder().join("small.raw");
    small_image::make(&image, 1)?;
    Site::new(lab, artefacts, configuration, &image)
}

/// Takes a blank machine in and lets it be written: from power-on to the last proof.
///
/// # Errors
/// If anything is not as it must be.
pub fn install(site: &Site<'_>, firmware: Firmware, bus: DiskBus) -> Result<(Machine, NodeId, Outcome)> {
    let mut machine = machine(site, firmware, bus)?;
    let node = site.take_in(&mut machine)?;
    let job = site.operator.reimage(&node.to_string(), &[])?;
    let outcome = write(site, &mut machine, node, job)?;
    Ok((machine, node, outcome))
}

/// A blank machine; it is off.
///
/// # Errors
/// If its files cannot be made.
pub fn machine(site: &Site<'_>, firmware: Firmware, bus: DiskBus) -> Result<Machine> {
    // No more memory than the ramdisk is meant to need, for the whole job.
    let spec = Spec { memory_mib: 384, ..spec("node", 1, firmware) };
    site.machine(spec, bus, DISK_BYTES)
}

/// Lets a machine that was taken in and is off be written: from power-on to the last proof.
///
/// # Errors
/// If anything is not as it must be.
pub fn write(site: &Site<'_>, machine: &mut Machine, node: NodeId, job: JobId) -> Result<Outcome> {
    machine.start(OnReset::Stop)?;
    let outcome = follow_ramdisk(site, machine, node, job, "small image")?;
    expect_action(&outcome, Action::Reimage)?;
    ensure!(matches!(outcome.job.state, JobState::ComingUp), "the job is {:?}", outcome.job.state);
    expect_image(site, machine)?;
    Ok(outcome)
}

/// Fails unless the image's partitions are on the disk, bit for bit.
///
/// # Errors
/// Says where the disk differs.
pub fn expect_image(site: &Site<'_>, machine: &Machine) -> Result<()> {
    match first_difference(&site.image_file, machine.disks()[0].path())? {
        None => Ok(()),
        Some(at) => bail!("the disk differs from the image at byte {at}"),
    }
}
