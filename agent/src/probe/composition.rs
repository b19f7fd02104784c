//! Whether a block device is one disk, all of it, reached one way.
//!
//! A RAID volume hides the disks behind it, and a disk that is reached by two paths would be erased
//! under the feet of the other path. Neither is ever erased; what a person can do is said by the plan.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use contract::inventory::Composition;

use super::source;

/// What in sysfs says that a SCSI device is a volume of a RAID controller.
enum Volume {
    /// Every device of the driver is one, or may be; the driver does not say which.
    Always,
    /// Those on this channel and above (megaraid_sas: `MEGASAS_MAX_PD_CHANNELS`).
    FromChannel(u32),
    /// Those that are not a device of the SAS domain: no `end_device` on their path.
    WithoutEndDevice,
    /// Those whose `raid_level` is not `N/A`.
    ByLevel,
}

/// Drivers of RAID controllers, by the name that they give their SCSI host (`proc_name`).
const RAID_DRIVERS: [(&str, Volume); 23] = [
    ("megaraid_sas", Volume::FromChannel(2)),
    ("mpt3sas", Volume::WithoutEndDevice),
    ("mpt2sas", Volume::WithoutEndDevice),
    ("mpi3mr", Volume::WithoutEndDevice),
    ("mptsas", Volume::FromChannel(1)),
    ("hpsa", Volume::ByLevel),
    ("smartpqi", Volume::ByLevel),
    ("aacraid", Volume::Always),
    ("arcmsr", Volume::Always),
    ("3w-9xxx", Volume::Always),
    ("3w-sas", Volume::Always),
    ("3w-xxxx", Volume::Always),
    ("megaraid", Volume::Always),
    ("megaraid_legacy", Volume::Always),
    ("mvumi", Volume::Always),
    ("hptiop", Volume::Always),
    ("ips", Volume::Always),
    ("ipr", Volume::Always),
    ("pmcraid", Volume::Always),
    ("stex", Volume::Always),
    ("esas2r", Volume::Always),
    ("myrb", Volume::Always),
    ("myrs", Volume::Always),
];

/// Beginnings of the model names of volumes that look like plain disks: boot controllers that mirror
/// two M.2 disks behind AHCI or NVMe, and the name that LSI and Smart Array controllers give theirs.
const RAID_MODELS: [&str; 6] =
    ["DELLBOSS VD", "Dell BOSS-N1", "HPE NS204", "ThinkSystem M.2 VD", "LOGICAL VOLUME", "Logical Volume"];

/// What the block device at `path` in sysfs is, reached there by its real path.
///
/// # Errors
/// In words, when it cannot be seen: what is not known to be one disk is not treated as one.
pub fn read(path: &Path, real: &str, model: Option<&str>) -> Result<Composition, String> {
    if model.is_some_and(|model| RAID_MODELS.iter().any(|one| model.starts_with(one))) {
        return Ok(Composition::RaidVolume);
    }
    if held_by_multipath(path)? || several_controllers(real)? {
        return Ok(Composition::MultipathMember);
    }
    match scsi_host(real) {
        Some(host) => scsi(path, real, &host),
        None => Ok(Composition::Single),
    }
}

/// Where the driver of the SCSI host in a real sysfs path (`…/host6/target6:0:0/…`) has its name. A host
/// of libata (`…/ata3/host2/…`) drives plain disks alone.
fn scsi_host(real: &str) -> Option<PathBuf> {
    let mut folder = PathBuf::from("/");
    for part in Path::new(real).components().skip(1) {
        folder.push(part);
        let name = part.as_os_str().to_string_lossy();
        if is_numbered(&name, "ata") {
            return None;
        }
        if is_numbered(&name, "host") {
            return Some(folder.join("scsi_host").join(&*name).join("proc_name"));
        }
    }
    None
}

/// Whether this is the word with a number behind it.
fn is_numbered(name: &str, word: &str) -> bool {
    let digits = name.strip_prefix(word).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn scsi(path: &Path, real: &str, proc_name: &Path) -> Result<Composition, String> {
    let driver = source::read_text(proc_name).map_err(|error| {
        format!("cannot read which driver a disk has in {}: {error}", proc_name.display())
    })?;
    let Some((_, volume)) = RAID_DRIVERS.iter().find(|(name, _)| *name == driver) else {
        return Ok(Composition::Single);
    };
    let is_volume = match volume {
        Volume::Always => true,
        // A channel that cannot be told is taken for one of volumes.
        Volume::FromChannel(first) => channel(real).is_none_or(|channel| channel >= *first),
        Volume::WithoutEndDevice => !real.contains("/end_device-"),
        Volume::ByLevel => source::read_text(&path.join("device/raid_level")).ok().as_deref() != Some("N/A"),
    };
    Ok(if is_volume { Composition::RaidVolume } else { Composition::Single })
}

/// The channel of the last `host:channel:target:unit` in a real sysfs path.
fn channel(real: &str) -> Option<u32> {
    real.rsplit('/').find_map(|part| {
        let numbers: Vec<u32> = part.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
        (numbers.len() == 4).then_some(numbers[1])
    })
}

/// Whether device-mapper holds the device as one path of several.
fn held_by_multipath(path: &Path) -> Result<bool, String> {
    for holder in list(&path.join("holders"))? {
        let uuid = holder.join("dm/uuid");
        match source::read_text(&uuid) {
            Ok(uuid) if uuid.starts_with("mpath-") => return Ok(true),
            Ok(_) => {}
            // A holder that is no device-mapper device.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("cannot read {}: {error}", uuid.display())),
        }
    }
    Ok(false)
}

/// Whether an NVMe namespace is one of a subsystem with several controllers: the kernel puts it under
/// the subsystem then, which lists its controllers.
fn several_controllers(real: &str) -> Result<bool, String> {
    let Some(subsystem) = Path::new(real).ancestors().find(|folder| {
        folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nvme-subsys"))
            && folder.parent().is_some_and(|parent| parent.ends_with("nvme-subsystem"))
    }) else {
        return Ok(false);
    };
    let is_controller =
        |entry: &PathBuf| is_numbered(&entry.file_name().unwrap_or_default().to_string_lossy(), "nvme");
    Ok(list(subsystem)?.iter().filter(|entry| is_controller(entry)).count() > 1)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: io::Error| format!("cannot list {}: {error}", folder.display());
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests;
