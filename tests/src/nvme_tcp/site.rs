//! A site whose machine has no disk but the fake one.

use anyhow::{Context, Result};

use super::attach::{CONTROLLER_ADDRESS, KERNEL_ARGUMENT, controller, write_ramdisk};
use super::identify::Profile;
use super::server::FakeNvme;
use crate::artefacts::Artefacts;
use crate::lab::Lab;
use crate::machine::{Firmware, Machine, Spec};
use crate::scenario::site::{Site, spec};
use crate::service::Configuration;
use crate::small_image;

/// A service with the small image, a fake device, and a machine that has it for its only disk.
#[derive(Debug)]
pub struct FakeDiskSite<'lab> {
    /// The machine; it is off.
    pub machine: Machine,
    /// The device.
    pub device: FakeNvme,
    /// The service and somebody who drives it.
    pub site: Site<'lab>,
}

impl<'lab> FakeDiskSite<'lab> {
    /// Starts all of it.
    ///
    /// # Errors
    /// If something is missing, cannot be made, or does not start.
    pub fn start(lab: &'lab Lab, configuration: Configuration, profile: Profile) -> Result<Self> {
        let mut artefacts = Artefacts::find()?;
        let ramdisk = lab.folder().join("laboratory.cpio");
        write_ramdisk(&ramdisk, &artefacts.ramdisk, &profile.name)?;
        artefacts.ramdisk = ramdisk;
        lab.network().add_address(CONTROLLER_ADDRESS).context("could not add the device's network")?;
        let device = FakeNvme::start(lab.network(), controller(), profile)?;
        let image = lab.folder().join("small.raw");
        small_image::make(&image, 1)?;
        let configuration = Configuration { kernel_arguments: KERNEL_ARGUMENT.to_owned(), ..configuration };
        let site = Site::new(lab, &artefacts, &configuration, &image)?;
        let spec = Spec { memory_mib: 512, ..spec("node", 1, Firmware::Bios) };
        let machine = Machine::new(lab, spec, Vec::new())?;
        Ok(Self { machine, device, site })
    }

    /// Cuts the machine's power, and its disk's.
    pub fn cut_power(&mut self) {
        self.machine.cut_power();
        self.device.power(false);
    }

    /// Gives the disk its power back and switches the machine on; it stands still at its next reset.
    ///
    /// # Errors
    /// If it does not start.
    pub fn power_on(&mut self) -> Result<()> {
        self.device.power(true);
        self.machine.start(crate::machine::OnReset::Stop)
    }
}
