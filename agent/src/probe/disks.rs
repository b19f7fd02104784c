//! The disks, from sysfs, each with an identity that survives a reboot, and what each can do, from the
//! disk itself.

use std::fs::File;
use std::path::{Path, PathBuf};

use contract::inventory::SanitizeCapabilities;
use contract::inventory::{
    AtaCapabilities, Composition, DiskFacts, LockingState, NvmeCapabilities, Transport, WriteSameCapabilities,
};
use contract::reading::Outcome;

use super::ata_port::AtaPort;
use super::disk_id;
use super::disk_names::{names, slot};
use super::source::{self, Source, attribute};
use super::{ata_facts, ata_security, composition, locking, nvme_facts, scsi_facts};

/// No machine has more; a directory that says so is not believed.
const DISKS_MAX: usize = 4096;
/// sysfs counts sizes in these, whatever the disk's own sector size.
const SYSFS_SECTOR_BYTES: u64 = 512;

/// A disk with the ways to reach it in this boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDisk {
    /// What is reported.
    pub facts: DiskFacts,
    /// Its device node in this boot.
    pub device: PathBuf,
    /// Where it is plugged in.
    pub slot: String,
}

/// All disks, ordered by id, each asked what it can do.
///
/// A disk that is busy erasing itself may keep the question waiting; [`list`] asks nothing.
#[must_use]
pub fn read(source: &Source) -> Outcome<Vec<FoundDisk>> {
    list(source).map(|mut disks| {
        if source.is_machine() {
            ask_all(&mut disks);
        }
        disks
    })
}

/// All disks, ordered by id, as the kernel has them; none is asked anything. One disk that cannot be
/// described makes the whole list unreadable: a list that silently lacks a disk would let its data pass.
#[must_use]
pub fn list(source: &Source) -> Outcome<Vec<FoundDisk>> {
    let directory = source.path("sys/block");
    let mut disks = Vec::new();
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        // A kernel without any block device yet has no such directory.
        Err(error) => return source::unreadable(&directory, &error),
    };
    for entry in entries.take(DISKS_MAX) {
        let described =
            entry.map_err(|error| error.to_string()).and_then(|entry| describe(source, &entry.path()));
        match described {
            Ok(Some(disk)) => disks.push(disk),
            Ok(None) => {}
            Err(why) => return Outcome::Unreadable(why),
        }
    }
    separate(&mut disks);
    disks.sort_by(|a, b| a.facts.id.cmp(&b.facts.id));
    Outcome::Value(disks)
}

/// Opens ATA disks that an erase of ours, cut off, left with our password, and looks at them again.
/// Nothing is erased by it, and without it neither their content nor what can be done with them shows.
/// Others' passwords stay.
pub fn open_ours(disks: &mut Outcome<Vec<FoundDisk>>) {
    let Outcome::Value(disks) = disks else { return };
    for disk in disks {
        let has_password = |ata: &AtaCapabilities| ata.security_enabled || ata.security_locked;
        if !disk.facts.ata.value().is_some_and(has_password) {
            continue;
        }
        let opened = File::open(&disk.device).and_then(|file| ata_security::open(&AtaPort::new(&file)));
        match opened {
            Ok(_) => {
                tracing::warn!(disk = %disk.facts.id, "removed the password that an unfinished erase left")
            }
            Err(error) => tracing::warn!(disk = %disk.facts.id, "the disk keeps its password: {error}"),
        }
        ask(disk);
    }
}

/// Disks that claim the same identity get their slots added; an order for one must not fit the other.
/// Behind SCSI and NVMe it is most likely one disk that is reached in several ways.
fn separate(disks: &mut [FoundDisk]) {
    let ids: Vec<_> = disks.iter().map(|disk| disk.facts.id.clone()).collect();
    for disk in disks.iter_mut() {
        if ids.iter().filter(|id| **id == disk.facts.id).count() > 1 {
            if matches!(disk.facts.transport, Transport::Scsi | Transport::Nvme) {
                disk.facts.composition = Composition::MultipathMember;
            }
            let place = format!("{}-{}", disk.slot, disk.facts.kernel_name);
            if let Some(id) = disk_id::disk_id_with_slot(&disk.facts.id, &place) {
                disk.facts.id = id;
            }
        }
    }
}

/// Asks all disks side by side: one that answers slowly must not hold up the rest.
fn ask_all(disks: &mut [FoundDisk]) {
    std::thread::scope(|scope| {
        for disk in disks {
            scope.spawn(|| ask(disk));
        }
    });
}

/// What a disk says of itself.
struct Answers {
    nvme: Outcome<NvmeCapabilities>,
    ata: Outcome<AtaCapabilities>,
    sanitize: Outcome<SanitizeCapabilities>,
    locking: Outcome<LockingState>,
    write_same: Outcome<WriteSameCapabilities>,
}

/// Asks a disk what it can do. A volume and one of several paths are not asked: a controller would answer
/// for other disks, and nothing is erased there.
fn ask(disk: &mut FoundDisk) {
    let facts = &mut disk.facts;
    let asked = matches!(facts.transport, Transport::Nvme | Transport::Ata | Transport::Scsi);
    let answers: Answers = match facts.composition {
        Composition::Single if asked => match File::open(&disk.device) {
            Ok(file) => ask_device(&file, facts.transport),
            Err(error) => {
                let why = format!("cannot open {}: {error}", disk.device.display());
                unanswered(facts.transport, &why)
            }
        },
        _ => unanswered(facts.transport, "only a single disk is asked what it can do"),
    };
    facts.nvme = answers.nvme;
    facts.ata = answers.ata;
    facts.sanitize = answers.sanitize;
    facts.locking = answers.locking;
    facts.write_same = answers.write_same;
}

fn ask_device(file: &File, transport: Transport) -> Answers {
    match transport {
        Transport::Nvme => {
            let (nvme, sanitize) = nvme_facts::read(file);
            let locking = of_answering(&nvme, || locking::of_nvme(file));
            Answers { nvme, ata: Outcome::Absent, sanitize, locking, write_same: Outcome::Absent }
        }
        Transport::Ata => {
            let port = AtaPort::new(file);
            let (ata, sanitize) = ata_facts::read(&port);
            let locking = of_answering(&ata, || locking::of_ata(&port));
            Answers { nvme: Outcome::Absent, ata, sanitize, locking, write_same: Outcome::Absent }
        }
        Transport::Scsi => {
            let (sanitize, locking) = (scsi_facts::read(file), locking::of_scsi(file));
            let write_same = scsi_facts::write_same(file);
            Answers { nvme: Outcome::Absent, ata: Outcome::Absent, sanitize, locking, write_same }
        }
        Transport::Virtio | Transport::Usb | Transport::Other => unanswered(transport, "it is not asked"),
    }
}

/// A disk that did not answer what it is is asked nothing else.
fn of_answering<T>(first: &Outcome<T>, ask: impl FnOnce() -> Outcome<LockingState>) -> Outcome<LockingState> {
    match first {
        Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
        Outcome::Value(_) | Outcome::Absent => ask(),
    }
}

/// What is not known of a disk that was not or could not be asked: all that its kind has.
fn unanswered(transport: Transport, why: &str) -> Answers {
    fn unreadable<T>(there: bool, why: &str) -> Outcome<T> {
        if there { Outcome::Unreadable(why.to_owned()) } else { Outcome::Absent }
    }
    let is = |one: Transport| transport == one;
    let sanitizes = is(Transport::Nvme) || is(Transport::Ata) || is(Transport::Scsi);
    Answers {
        nvme: unreadable(is(Transport::Nvme), why),
        ata: unreadable(is(Transport::Ata), why),
        sanitize: unreadable(sanitizes, why),
        locking: unreadable(sanitizes, why),
        write_same: unreadable(is(Transport::Scsi), why),
    }
}

fn describe(source: &Source, path: &Path) -> Result<Option<FoundDisk>, String> {
    let kernel_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let real = path.canonicalize().map_err(|error| format!("cannot follow {}: {error}", path.display()))?;
    let real = real.to_string_lossy().into_owned();
    if is_not_a_disk(&kernel_name, &real) || attribute(&path.join("hidden")) == Outcome::Value("1".to_owned())
    {
        return Ok(None);
    }
    let flag = |name: &str| needed(&path.join(name)).map(|value| value == "1");
    let size_bytes = number(&path.join("size"))?.saturating_mul(SYSFS_SECTOR_BYTES);
    let removable = flag("removable")?;
    // A card reader without a card holds nothing. A fixed disk of size 0 is a failing one and stays.
    if size_bytes == 0 && removable {
        return Ok(None);
    }
    let transport = transport(&kernel_name, &real);
    let slot = slot(&real);
    let device = source.path("dev").join(&kernel_name);
    let named = names(path, transport, &slot);
    let id = disk_id::disk_id(&named.identity)
        .ok_or_else(|| format!("disk {kernel_name} has no usable identity"))?;
    let composition = composition::read(path, &real, named.model.value().map(String::as_str))?;
    let Answers { nvme, ata, sanitize, locking, write_same } =
        unanswered(transport, "the disk was not asked");
    let facts = DiskFacts {
        id,
        kernel_name,
        transport,
        model: named.model,
        serial: named.serial,
        firmware_revision: named.firmware_revision,
        size_bytes,
        logical_sector_bytes: u32::try_from(number(&path.join("queue/logical_block_size"))?)
            .map_err(|error| error.to_string())?,
        rotational: attribute(&path.join("queue/rotational")).map(|value| value == "1"),
        read_only: flag("ro")?,
        removable,
        nvme,
        ata,
        sanitize,
        locking,
        write_same,
        composition,
    };
    Ok(Some(FoundDisk { facts, device, slot }))
}

/// Memory, files, networks and mappings in the shape of disks; CD and floppy drives.
fn is_not_a_disk(name: &str, real: &str) -> bool {
    // NVMe disks with several paths live under a virtual subsystem; every other virtual one is none.
    let virtual_device = real.contains("/devices/virtual/") && !real.contains("/nvme-subsystem/");
    let by_name = |prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    virtual_device || ["loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd"].into_iter().any(by_name)
}

fn transport(name: &str, real: &str) -> Transport {
    if name.starts_with("nvme") {
        Transport::Nvme
    } else if real.contains("/usb") {
        Transport::Usb
    } else if name.starts_with("vd") {
        Transport::Virtio
    } else if name.starts_with("sd") && real.contains("/ata") {
        Transport::Ata
    } else if name.starts_with("sd") {
        Transport::Scsi
    } else {
        Transport::Other
    }
}

fn needed(path: &Path) -> Result<String, String> {
    source::read_text(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn number(path: &Path) -> Result<u64, String> {
    let text = needed(path)?;
    text.parse().map_err(|_| format!("{} says {text:?}, not a number", path.display()))
}

#[cfg(test)]
mod tests;
