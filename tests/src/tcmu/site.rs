//! A site whose machine has no disk but the fake one behind `target_core_user`.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use super::disk::Profile;
use super::server::FakeDisk;
use crate::guest::archive::{Addition, LABORATORY_ADDRESS, write_ramdisk};
use crate::guest::site::{LaboratoryDisk, LaboratorySite};
use crate::lab::Lab;
use crate::service::Configuration;

/// What the first process loads: the network card of the virtual machine, user-space targets behind the
/// loopback, and the driver of SCSI disks.
pub const MODULES: [&str; 7] =
    ["virtio_pci", "virtio_net", "configfs", "uio", "target_core_user", "tcm_loop", "sd_mod"];
/// Where the disk listens.
const DISK_PORT: u16 = 8600;

/// A service with the small image, a fake disk, and a machine that has it for its only disk.
pub type FakeScsiSite<'lab> = LaboratorySite<'lab, FakeDisk>;

/// Where the disk listens.
#[must_use]
pub fn disk_address() -> SocketAddr {
    SocketAddr::from((LABORATORY_ADDRESS, DISK_PORT))
}

/// Writes a ramdisk to `path` that has a disk of this size and then is the ramdisk `real`.
///
/// # Errors
/// If the program, the kernel's modules or the real ramdisk are not there; says what builds them.
pub fn write_disk_ramdisk(path: &Path, real: &Path, size_bytes: u64) -> Result<()> {
    let size = size_bytes.to_string();
    let files = [("size", size.as_bytes())];
    let addition = Addition { init: "tcmu-attach", programs: &[], modules: &MODULES, files: &files };
    write_ramdisk(path, real, &addition)
}

impl<'lab> FakeScsiSite<'lab> {
    /// Starts all of it.
    ///
    /// # Errors
    /// If something is missing, cannot be made, or does not start.
    pub fn start(lab: &'lab Lab, configuration: Configuration, profile: Profile) -> Result<Self> {
        let size_bytes = profile.size_bytes;
        Self::with(
            lab,
            configuration,
            |path, real| write_disk_ramdisk(path, real, size_bytes),
            || FakeDisk::start(lab.network(), disk_address(), profile),
        )
    }
}

impl LaboratoryDisk for FakeDisk {
    fn power(&self, powered: bool) {
        Self::power(self, powered);
    }

    fn save(&self, path: &Path) -> Result<()> {
        self.with(|disk, _| disk.medium().save(path))
            .with_context(|| format!("could not write {}", path.display()))
    }
}
