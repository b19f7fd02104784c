//! A site whose machine has no disk but one of the laboratory's.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use contract::id::{JobId, NodeId};
use contract::operator_api::{JobState, JobView};

use super::archive::{KERNEL_ARGUMENT, LABORATORY_ADDRESS};
use crate::artefacts::Artefacts;
use crate::disk::first_difference;
use crate::lab::Lab;
use crate::machine::{Firmware, Machine, OnReset, Spec};
use crate::process::tail;
use crate::scenario::site::{DISCOVERY_LIMIT, IMAGE_NAME, Site, TENANT, spec};
use crate::service::Configuration;
use crate::small_image;

/// Longest time from a request, with the machine's start, to the end of erasing and writing.
const JOB_LIMIT: Duration = Duration::from_secs(400);

/// A disk of the laboratory's.
pub trait LaboratoryDisk {
    /// Its power goes, or comes back. What it stores stays.
    fn power(&self, powered: bool);

    /// Writes what it stores to a file, to be looked at as a disk.
    ///
    /// # Errors
    /// What the file system says.
    fn save(&self, path: &Path) -> Result<()>;
}

/// A service with the small image, a disk of the laboratory's, and a machine that has it for its only
/// disk.
#[derive(Debug)]
pub struct LaboratorySite<'lab, D> {
    /// The machine; it is off.
    pub machine: Machine,
    /// The disk.
    pub device: D,
    /// The service and somebody who drives it.
    pub site: Site<'lab>,
}

impl<'lab, D: LaboratoryDisk> LaboratorySite<'lab, D> {
    /// Starts all of it: the disk by `start`, in its network, and the service with the ramdisk that
    /// `write_ramdisk` makes of the real one.
    ///
    /// # Errors
    /// If something is missing, cannot be made, or does not start.
    pub fn with(
        lab: &'lab Lab,
        configuration: Configuration,
        write_ramdisk: impl FnOnce(&Path, &Path) -> Result<()>,
        start: impl FnOnce() -> Result<D>,
    ) -> Result<Self> {
        let mut artefacts = Artefacts::find()?;
        let ramdisk = lab.folder().join("laboratory.cpio");
        write_ramdisk(&ramdisk, &artefacts.ramdisk)?;
        artefacts.ramdisk = ramdisk;
        lab.network().add_address(LABORATORY_ADDRESS).context("could not add the disk's network")?;
        let device = start()?;
        let image = lab.folder().join("small.raw");
        small_image::make(&image, 1)?;
        let configuration = Configuration { kernel_arguments: KERNEL_ARGUMENT.to_owned(), ..configuration };
        let site = Site::new(lab, &artefacts, &configuration, &image)?;
        let spec = Spec { memory_mib: 512, ..spec("node", 1, Firmware::Bios) };
        let machine = Machine::new(lab, spec, Vec::new())?;
        Ok(Self { machine, device, site })
    }

    /// Switches the machine on for the first time, takes it in as factory-new, and says what it should
    /// have. It waits in the ramdisk, and starts again at each reset.
    ///
    /// # Errors
    /// If it is not discovered in time or the command refuses.
    pub fn take_in(&mut self) -> Result<NodeId> {
        self.machine.start(OnReset::Restart)?;
        let operator = &self.site.operator;
        let node = operator
            .wait_discovered(&self.machine.spec().serial, DISCOVERY_LIMIT)
            .with_context(|| self.console_end())?;
        let reference = node.id.to_string();
        operator.approve_factory_new(&reference)?;
        operator.assign(&reference, IMAGE_NAME, TENANT)?;
        Ok(node.id)
    }

    /// Waits until nothing more happens in a job by itself.
    ///
    /// # Errors
    /// If it does not come there in time; with the end of the console.
    pub fn wait_end(&self, job: JobId) -> Result<JobView> {
        let ends = |state: &JobState| {
            matches!(state, JobState::ComingUp | JobState::Held { .. } | JobState::Done { .. })
        };
        self.site
            .operator
            .wait_job(job, "the end of the work", JOB_LIMIT, ends)
            .with_context(|| self.console_end())
    }

    /// Lets a held node go on; its job, the same or a new one.
    ///
    /// # Errors
    /// What the command says.
    pub fn release(&self, node: NodeId, level: &str) -> Result<JobId> {
        let reference = node.to_string();
        self.site.operator.release_hold(&reference)?;
        match self.site.operator.node(&reference)?.job {
            Some(job) => Ok(job),
            None => self.site.operator.wipe(&reference, level, "laboratory"),
        }
    }

    /// Cuts the machine's power, and its disk's.
    pub fn cut_power(&mut self) {
        self.machine.cut_power();
        self.device.power(false);
    }

    /// Gives the disk its power back and switches the machine on.
    ///
    /// # Errors
    /// If it does not start.
    pub fn power_on(&mut self) -> Result<()> {
        self.device.power(true);
        self.machine.start(OnReset::Restart)
    }

    /// The end of the machine's console, for messages.
    #[must_use]
    pub fn console_end(&self) -> String {
        format!("the console ends:\n{}", tail(&self.machine.console()))
    }

    /// Fails unless the image is on the disk, bit for bit.
    ///
    /// # Errors
    /// Says where the disk differs.
    pub fn expect_image(&self) -> Result<()> {
        let disk = self.site.lab.folder().join("disk.raw");
        self.device.save(&disk)?;
        match first_difference(&self.site.image_file, &disk)? {
            None => Ok(()),
            Some(at) => bail!("the disk differs from the image at byte {at}"),
        }
    }
}
