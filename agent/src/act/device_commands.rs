//! The commands with which a disk erases itself, sent to the real one.
//!
//! What the commands look like and what the answers mean is in `erasure::{nvme, ata, scsi}`; here they
//! are only sent, in the right order, and the disk is asked afterwards. Nothing counts as done because
//! a call succeeded.

mod ata;
mod nvme;
mod scsi;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, OnceLock, PoisonError};

use contract::inventory::WriteSameCapabilities;
use contract::reading::{Outcome, ReadingKey, ReadingValue};
use erasure::command::{CommandProgress, DeviceCommand};
use erasure::record::HealthReading;
use erasure::run::{SaidClean, SameWritten};
use erasure::sample::Span;

use crate::probe::ata_port::AtaPort;
use crate::probe::{ata_smart, nvme_smart, scsi_facts, scsi_health};

/// Which command set a block device speaks, and that nothing stands between us and it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommandSet {
    Nvme,
    /// Behind libata alone.
    Ata,
    /// SCSI, neither behind libata nor behind USB.
    Scsi,
    /// None that erases.
    Other,
}

/// The erase commands of one open disk.
pub struct DeviceCommands {
    set: CommandSet,
    /// The last command that this very handle gave and the disk accepted, and for those that are
    /// answered only when they are done, the answer.
    accepted: Mutex<Option<(DeviceCommand, String)>>,
    /// How much one WRITE SAME may write, as the disk said before the first.
    same_limits: OnceLock<WriteSameCapabilities>,
}

impl DeviceCommands {
    /// The commands of this open block device. One whose place in the machine cannot be seen has none.
    #[must_use]
    pub fn of(file: &File) -> Self {
        let set = device_path(file).map_or(CommandSet::Other, |path| command_set(&path));
        Self { set, accepted: Mutex::new(None), same_limits: OnceLock::new() }
    }

    /// Gives the disk a command; see [`super::device::BlockDevice::start_erase`].
    ///
    /// # Errors
    /// When the disk does not speak this command set, refuses, or does not answer in time.
    pub fn start(&self, file: &File, command: DeviceCommand) -> io::Result<()> {
        *self.accepted() = None;
        self.check(command)?;
        let answer = match command {
            DeviceCommand::NvmeFormat { crypto } => nvme::format(file, crypto)?,
            DeviceCommand::NvmeSanitize(action) => nvme::start_sanitize(file, action)?,
            DeviceCommand::AtaSanitize(action) => ata::start_sanitize(&AtaPort::new(file), action)?,
            DeviceCommand::AtaSecurityErase { enhanced } => {
                ata::security_erase(&AtaPort::new(file), enhanced)?
            }
            DeviceCommand::ScsiSanitize(action) => scsi::start_sanitize(file, action)?,
            DeviceCommand::ScsiWriteSame => {
                let limits = scsi_facts::write_same_limits(file)?;
                self.same_limits.get_or_init(|| limits);
                return Ok(());
            }
        };
        *self.accepted() = Some((command, answer));
        Ok(())
    }

    /// What the disk says of a command; see [`super::device::BlockDevice::erase_progress`].
    ///
    /// # Errors
    /// When the disk does not answer, or does not speak this command set.
    pub fn progress(&self, file: &File, command: DeviceCommand) -> io::Result<CommandProgress> {
        self.check(command)?;
        let accepted = self.accepted().clone().filter(|(given, _)| *given == command);
        match command {
            DeviceCommand::NvmeSanitize(action) => nvme::sanitize_progress(file, action),
            DeviceCommand::AtaSanitize(_) => ata::sanitize_progress(&AtaPort::new(file)),
            DeviceCommand::ScsiSanitize(_) => scsi::sanitize_progress(file, accepted.is_some()),
            DeviceCommand::NvmeFormat { .. }
            | DeviceCommand::AtaSecurityErase { .. }
            | DeviceCommand::ScsiWriteSame => Ok(match accepted {
                Some((_, status)) => CommandProgress::Done { status },
                None => {
                    CommandProgress::Never { status: "not given to the disk since it was opened".to_owned() }
                }
            }),
        }
    }

    /// Has the disk write zeros by itself; see [`super::device::BlockDevice::write_same`].
    ///
    /// # Errors
    /// When the disk does not speak SCSI directly, fails, or does not answer in time, and when it was not
    /// made ready.
    pub fn write_same(&self, file: &File, sector_bytes: u32, span: Span) -> io::Result<SameWritten> {
        self.check(DeviceCommand::ScsiWriteSame)?;
        let limits = self.same_limits.get().ok_or_else(|| {
            io::Error::other("how much one WRITE SAME may write was not asked; nothing was written")
        })?;
        scsi::write_same(file, sector_bytes, *limits, span)
    }

    /// Makes the disk usable where an erase of ours was cut off.
    ///
    /// # Errors
    /// When an ATA disk has a password that is not ours, or cannot be asked.
    pub fn prepare(&self, file: &File) -> io::Result<()> {
        match self.set {
            CommandSet::Ata => crate::probe::ata_security::open(&AtaPort::new(file)).map(drop),
            CommandSet::Nvme | CommandSet::Scsi | CommandSet::Other => Ok(()),
        }
    }

    /// What the disk says of being clean already; see [`super::device::BlockDevice::said_clean`].
    ///
    /// # Errors
    /// When it is no NVMe disk, does not answer, or says that it is not.
    pub fn said_clean(&self, file: &File) -> io::Result<SaidClean> {
        match self.set {
            CommandSet::Nvme => nvme::said_clean(file),
            CommandSet::Ata | CommandSet::Scsi | CommandSet::Other => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "only NVMe disks have a log that says so"))
            }
        }
    }

    /// How long the disk says that a command takes, in seconds.
    #[must_use]
    pub fn estimate_seconds(&self, file: &File, command: DeviceCommand) -> Option<u32> {
        self.check(command).ok()?;
        match command {
            DeviceCommand::NvmeSanitize(action) => nvme::estimate_seconds(file, action),
            DeviceCommand::AtaSecurityErase { enhanced } => {
                ata::estimate_seconds(&AtaPort::new(file), enhanced)
            }
            _ => None,
        }
    }

    /// The disk's health log for the record.
    #[must_use]
    pub fn health(&self, file: &File) -> Outcome<Vec<HealthReading>> {
        match self.set {
            CommandSet::Nvme => health_readings(nvme_smart::read_open(file)),
            CommandSet::Ata => health_readings(ata_smart::read_open(file)),
            CommandSet::Scsi => health_readings(scsi_health::read_port(file)),
            CommandSet::Other => Outcome::Absent,
        }
    }

    fn accepted(&self) -> std::sync::MutexGuard<'_, Option<(DeviceCommand, String)>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, command: DeviceCommand) -> io::Result<()> {
        let wanted = match command {
            DeviceCommand::NvmeFormat { .. } | DeviceCommand::NvmeSanitize(_) => CommandSet::Nvme,
            DeviceCommand::AtaSanitize(_) | DeviceCommand::AtaSecurityErase { .. } => CommandSet::Ata,
            DeviceCommand::ScsiSanitize(_) | DeviceCommand::ScsiWriteSame => CommandSet::Scsi,
        };
        if self.set == wanted {
            return Ok(());
        }
        let why = format!("the disk does not speak {wanted:?} commands directly; {command:?} was not sent");
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }
}

/// Where the open block device stands in the machine: its real path in sysfs.
fn device_path(file: &File) -> Option<String> {
    let device = file.metadata().ok()?.rdev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let path = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// What a device at this real path in sysfs speaks. A partition is no device.
fn command_set(path: &str) -> CommandSet {
    let name = path.rsplit('/').next().unwrap_or_default();
    let digits_after = |word: &str, part: &str| {
        let rest = part.strip_prefix(word).unwrap_or_default();
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
    };
    let namespace = name.strip_prefix("nvme").and_then(|rest| rest.split_once('n'));
    let behind = |word: &str| path.split('/').any(|part| digits_after(word, part));
    let is_disk = name.starts_with("sd") && name.bytes().all(|byte| byte.is_ascii_lowercase());
    match (namespace, is_disk) {
        (Some((controller, number)), _) if digits_after("", controller) && digits_after("", number) => {
            CommandSet::Nvme
        }
        (_, true) if behind("usb") => CommandSet::Other,
        (_, true) if behind("ata") => CommandSet::Ata,
        (_, true) if behind("host") => CommandSet::Scsi,
        _ => CommandSet::Other,
    }
}

/// Health readings as the record wants them; what could not be read says so.
fn health_readings(readings: Vec<(ReadingKey, Outcome<ReadingValue>)>) -> Outcome<Vec<HealthReading>> {
    let named = readings.into_iter().filter_map(|(key, outcome)| {
        let value = match outcome {
            Outcome::Value(value) => value.to_string(),
            Outcome::Absent => return None,
            Outcome::Unreadable(why) => format!("could not be read: {why}"),
        };
        Some(HealthReading { name: key.to_string(), value })
    });
    Outcome::Value(named.collect())
}

#[cfg(test)]
mod tests;
