//! A site whose machine has no disk but the fake one over NVMe/TCP.

use std::path::Path;

use anyhow::{Context, Result};

use super::attach::{controller, write_ramdisk};
use super::identify::Profile;
use super::server::FakeNvme;
use crate::guest::site::{LaboratoryDisk, LaboratorySite};
use crate::lab::Lab;
use crate::service::Configuration;

/// A service with the small image, a fake device, and a machine that has it for its only disk.
pub type FakeDiskSite<'lab> = LaboratorySite<'lab, FakeNvme>;

impl<'lab> FakeDiskSite<'lab> {
    /// Starts all of it.
    ///
    /// # Errors
    /// If something is missing, cannot be made, or does not start.
    pub fn start(lab: &'lab Lab, configuration: Configuration, profile: Profile) -> Result<Self> {
        let name = profile.name.clone();
        Self::with(
            lab,
            configuration,
            |path, real| write_ramdisk(path, real, &name),
            || FakeNvme::start(lab.network(), controller(), profile),
        )
    }
}

impl LaboratoryDisk for FakeNvme {
    fn power(&self, powered: bool) {
        Self::power(self, powered);
    }

    fn save(&self, path: &Path) -> Result<()> {
        let saved = self.with(|it, _| it.medium(1).map(|medium| medium.save(path)));
        saved.context("no medium")?.with_context(|| format!("could not write {}", path.display()))
    }
}
