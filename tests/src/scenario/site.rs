//! A site: the service, somebody at the command line, and an image.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use contract::id::NodeId;
use contract::operator_api::ImageView;

use crate::artefacts::Artefacts;
use crate::disk::{Disk, DiskBus};
use crate::lab::Lab;
use crate::machine::{Firmware, Machine, OnReset, Spec};
use crate::operator::Operator;
use crate::service::{Configuration, Service};

/// Longest time from power-on until a new machine has told what it is made of, under TCG.
pub const DISCOVERY_LIMIT: Duration = Duration::from_secs(180);
/// The tenant that machines are first given to.
pub const TENANT: &str = "amber";

/// A service with one image, and somebody who drives it.
#[derive(Debug)]
pub struct Site<'lab> {
    /// The laboratory it stands in.
    pub lab: &'lab Lab,
    /// The service.
    pub service: Service<'lab>,
    /// The technician's command.
    pub operator: Operator<'lab>,
    /// The image as a file.
    pub image_file: PathBuf,
    /// The image as the service knows it.
    pub image: ImageView,
}

/// Name under which the image is imported.
pub const IMAGE_NAME: &str = "image";

impl<'lab> Site<'lab> {
    /// Starts a service and imports an image.
    ///
    /// # Errors
    /// If the service does not start or the import fails.
    pub fn new(
        lab: &'lab Lab,
        artefacts: &Artefacts,
        configuration: &Configuration,
        image: &Path,
    ) -> Result<Self> {
        Self::importing(lab, artefacts, configuration, image, &[])
    }

    /// The same with more words for the import.
    ///
    /// # Errors
    /// As [`Site::new`].
    pub fn importing(
        lab: &'lab Lab,
        artefacts: &Artefacts,
        configuration: &Configuration,
        image: &Path,
        words: &[&str],
    ) -> Result<Self> {
        let service = Service::start(lab, artefacts, configuration)?;
        let operator = Operator::new(lab.network(), artefacts, &service);
        let view = operator.import(image, IMAGE_NAME, words).context("could not import the image")?;
        Ok(Self { lab, service, operator, image_file: image.to_owned(), image: view })
    }

    /// A new machine with one blank disk.
    ///
    /// # Errors
    /// If its files cannot be made.
    pub fn machine(&self, spec: Spec, bus: DiskBus, disk_bytes: u64) -> Result<Machine> {
        let path = self.lab.folder().join(format!("{}.raw", spec.name));
        let disk = Disk::blank(path, bus, &format!("{}-DISK", spec.serial), disk_bytes)?;
        Machine::new(self.lab, spec, vec![disk])
    }

    /// A new machine with one blank disk that writes slowly.
    ///
    /// # Errors
    /// If its files cannot be made.
    pub fn slow_machine(
        &self,
        spec: Spec,
        bus: DiskBus,
        disk_bytes: u64,
        bytes_per_second: u64,
    ) -> Result<Machine> {
        let path = self.lab.folder().join(format!("{}.raw", spec.name));
        let disk = Disk::blank(path, bus, &format!("{}-DISK", spec.serial), disk_bytes)?;
        Machine::new(self.lab, spec, vec![disk.slow(bytes_per_second)])
    }

    /// Switches a new machine on, waits until it is discovered, approves it as factory-new and says
    /// what it should have. The machine is off afterwards, as one that waits in a rack for its turn.
    ///
    /// # Errors
    /// If it is not discovered in time or the command refuses.
    pub fn take_in(&self, machine: &mut Machine) -> Result<NodeId> {
        machine.start(OnReset::Stop)?;
        let node =
            self.operator.wait_discovered(&machine.spec().serial, DISCOVERY_LIMIT).with_context(|| {
                format!("the console of {} ends:\n{}", machine.spec().name, console_end(machine))
            })?;
        machine.cut_power();
        let reference = node.id.to_string();
        self.operator.approve_factory_new(&reference)?;
        self.operator.assign(&reference, IMAGE_NAME, TENANT)?;
        Ok(node.id)
    }
}

/// The end of a machine's console, for messages.
#[must_use]
pub fn console_end(machine: &Machine) -> String {
    crate::process::tail(&machine.console())
}

/// A machine by its number, firmware and the fewest words.
#[must_use]
pub fn spec(name: &str, number: u8, firmware: Firmware) -> Spec {
    Spec {
        name: name.to_owned(),
        firmware,
        memory_mib: 1024,
        serial: format!("LAB{number:03}"),
        number,
        loaded: None,
    }
}
