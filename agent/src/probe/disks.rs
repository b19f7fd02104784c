//! The disks, from sysfs, each with an identity that survives a reboot.

use std::io;
use std::path::{Path, PathBuf};

use contract::inventory::{Composition, DiskFacts, Transport};
use contract::reading::Outcome;

use super::disk_id::{self, Identity};
use super::nvme_admin;
use super::source::{self, Source, attribute};

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

/// All disks, ordered by id. One disk that cannot be described makes the whole list unreadable: a list
/// that silently lacks a disk would let its data pass.
#[must_use]
pub fn read(source: &Source) -> Outcome<Vec<FoundDisk>> {
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

/// Disks that claim the same identity get their slots added; an order for one must not fit the other.
fn separate(disks: &mut [FoundDisk]) {
    let ids: Vec<_> = disks.iter().map(|disk| disk.facts.id.clone()).collect();
    for disk in disks.iter_mut() {
        if ids.iter().filter(|id| **id == disk.facts.id).count() > 1 {
            let place = format!("{}-{}", disk.slot, disk.facts.kernel_name);
            if let Some(id) = disk_id::disk_id_with_slot(&disk.facts.id, &place) {
                disk.facts.id = id;
            }
        }
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
    let nvme = match transport {
        Transport::Nvme if source.is_machine() => nvme_admin::read_capabilities(&device),
        Transport::Nvme => Outcome::Unreadable("a recorded tree has no devices".to_owned()),
        _ => Outcome::Absent,
    };
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
        ata: Outcome::Absent,
        sanitize: Outcome::Absent,
        composition: Composition::Single,
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

struct Names {
    identity: Identity,
    model: Outcome<String>,
    serial: Outcome<String>,
    firmware_revision: Outcome<String>,
}

fn names(path: &Path, transport: Transport, slot: &str) -> Names {
    let device = path.join("device");
    let family = match transport {
        Transport::Nvme => "nvme",
        Transport::Ata => "ata",
        Transport::Scsi | Transport::Usb => "scsi",
        Transport::Virtio => "virtio",
        Transport::Other => "disk",
    };
    let (model, serial, firmware_revision) = match transport {
        Transport::Nvme => (
            attribute(&device.join("model")),
            attribute(&device.join("serial")),
            attribute(&device.join("firmware_rev")),
        ),
        Transport::Virtio => (Outcome::Absent, attribute(&path.join("serial")), Outcome::Absent),
        Transport::Ata | Transport::Scsi | Transport::Usb => scsi_names(&device),
        Transport::Other => {
            (attribute(&device.join("name")), attribute(&device.join("serial")), Outcome::Absent)
        }
    };
    let world_wide_name = match transport {
        Transport::Nvme => attribute(&path.join("wwid")),
        Transport::Virtio => Outcome::Absent,
        _ => attribute(&device.join("wwid")),
    };
    let namespace = attribute(&path.join("nsid")).value().and_then(|text| text.parse().ok());
    let identity = Identity {
        family,
        world_wide_name: world_wide_name.value().cloned(),
        model: model.value().cloned(),
        serial: serial.value().cloned(),
        namespace,
        path: slot.to_owned(),
    };
    Names { identity, model, serial, firmware_revision }
}

/// Model, serial and revision: IDENTIFY data where there is any (VPD page 89h), else the inquiry's.
fn scsi_names(device: &Path) -> (Outcome<String>, Outcome<String>, Outcome<String>) {
    if let Ok(page) = source::read_bytes(&device.join("vpd_pg89"))
        && let Some(names) = parse_ata_information(&page)
    {
        return names;
    }
    let serial = match source::read_bytes(&device.join("vpd_pg80")) {
        Ok(page) => parse_unit_serial(&page),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Absent,
        Err(error) => source::unreadable(&device.join("vpd_pg80"), &error),
    };
    (attribute(&device.join("model")), serial, attribute(&device.join("rev")))
}

/// Unit Serial Number, VPD page 80h (SPC-6): page code, length, ASCII.
fn parse_unit_serial(page: &[u8]) -> Outcome<String> {
    let length = match page {
        [_, 0x80, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => return Outcome::Unreadable("VPD page 80h is malformed".to_owned()),
    };
    let end = (4 + length).min(page.len());
    text(&page[4..end])
}

type ThreeNames = (Outcome<String>, Outcome<String>, Outcome<String>);

/// Model (words 27-46), serial (10-19) and firmware (23-26) of the IDENTIFY data in ATA Information,
/// VPD page 89h (SAT-5), where it begins at byte 60. ATA strings have their bytes swapped in pairs.
fn parse_ata_information(page: &[u8]) -> Option<ThreeNames> {
    if page.get(1) != Some(&0x89) {
        return None;
    }
    let identify = page.get(60..60 + 512)?;
    let words = |from: usize, to: usize| -> Outcome<String> {
        let swapped: Vec<u8> =
            identify[2 * from..2 * (to + 1)].chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect();
        text(&swapped)
    };
    Some((words(27, 46), words(10, 19), words(23, 26)))
}

fn text(bytes: &[u8]) -> Outcome<String> {
    let text: String =
        String::from_utf8_lossy(bytes).trim_matches(|c: char| !c.is_ascii_graphic()).to_owned();
    if text.is_empty() { Outcome::Absent } else { Outcome::Value(text) }
}

/// The place in the machine, from the real sysfs path: last PCI address, then what tells disks behind
/// it apart. Numbers that the kernel hands out in the order of discovery are left out.
fn slot(real: &str) -> String {
    let mut place = Vec::new();
    for part in real.split('/') {
        if is_pci_address(part) {
            place = vec![format!("pci-{part}")];
        } else if part.starts_with("usb") || part.contains(":1.") {
            // `2-1.4:1.0`: the port path is the first piece; bus numbers follow discovery but rarely move.
            place.push(part.to_owned());
        } else if let Some((_, rest)) = part.split_once(':')
            && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
            && !part.starts_with("target")
        {
            // Host:channel:target:unit, without the host.
            place.push(rest.to_owned());
        } else if part.starts_with("ata") && part[3..].bytes().all(|byte| byte.is_ascii_digit()) {
            place.push(part.to_owned());
        }
    }
    if place.is_empty() { real.rsplit('/').next().unwrap_or("unknown").to_owned() } else { place.join("-") }
}

/// `0000:00:1f.2`.
fn is_pci_address(part: &str) -> bool {
    let bytes = part.as_bytes();
    bytes.len() == 12 && bytes[4] == b':' && bytes[7] == b':' && bytes[10] == b'.'
}

fn needed(path: &Path) -> Result<String, String> {
    source::read_text(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn number(path: &Path) -> Result<u64, String> {
    let text = needed(path)?;
    text.parse().map_err(|_| format!("{} says {text:?}, not a number", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    /// Makes a disk in a recorded tree, at its device path, with the link that sysfs has.
    fn add(root: &Path, device_path: &str, name: &str, files: &[(&str, &[u8])]) {
        let real = root.join("sys/devices").join(device_path).join("block").join(name);
        std::fs::create_dir_all(real.join("queue")).unwrap();
        std::fs::create_dir_all(root.join("sys/block")).unwrap();
        std::os::unix::fs::symlink(&real, root.join("sys/block").join(name)).unwrap();
        std::os::unix::fs::symlink(real.join("../.."), real.join("device")).unwrap();
        let basics: [(&str, &[u8]); 5] = [
            ("size", b"2048\n"),
            ("ro", b"0\n"),
            ("removable", b"0\n"),
            ("queue/logical_block_size", b"512\n"),
            ("queue/rotational", b"0\n"),
        ];
        for (file, content) in basics.iter().chain(files) {
            std::fs::write(real.join(file), content).unwrap();
        }
    }

    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = root.path();
        add(at, "pci0000:00/0000:00:04.0/virtio1", "vda", &[("serial", b"disk-a")]);
        add(at, "pci0000:00/0000:00:05.0/virtio2", "vdb", &[]);
        add(
            at,
            "pci0000:00/0000:00:06.0/nvme/nvme0",
            "nvme0n1",
            &[("wwid", b"eui.0025385b01234567"), ("device/model", b"QEMU NVMe Ctrl   "), ("nsid", b"1")],
        );
        add(
            at,
            "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0",
            "sda",
            &[
                ("device/wwid", b"t10.ATA     QEMU HARDDISK\n"),
                ("device/model", b"QEMU HARDDISK\n"),
                ("device/vpd_pg80", b"\0\x80\0\x07QM00001"),
            ],
        );
        add(at, "virtual", "loop0", &[]);
        add(at, "virtual", "dm-0", &[]);
        add(at, "pci0000:00/0000:00:1f.2/ata2/host1/target1:0:0/1:0:0:0", "sr0", &[("removable", b"1")]);
        add(at, "platform/floppy.0", "fd0", &[("removable", b"1")]);
        root
    }

    fn ids(root: &Path) -> Vec<String> {
        match read(&Source::recorded(root)) {
            Outcome::Value(disks) => disks.iter().map(|disk| disk.facts.id.to_string()).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_disk_is_named_and_nothing_else_is() {
        let root = machine();
        assert_eq!(
            ids(root.path()),
            [
                "ata-QEMU_HARDDISK_QM00001",
                "nvme-eui.0025385b01234567",
                "path-pci-0000:00:05.0",
                "virtio-disk-a"
            ]
        );
    }

    #[test]
    fn disks_with_one_identity_are_told_apart_by_their_slots() {
        let root = machine();
        add(root.path(), "pci0000:00/0000:00:07.0/virtio3", "vdc", &[("serial", b"disk-a")]);
        let ids = ids(root.path());
        assert!(ids.contains(&"virtio-disk-a@pci-0000:00:04.0-vda".to_owned()), "{ids:?}");
        assert!(ids.contains(&"virtio-disk-a@pci-0000:00:07.0-vdc".to_owned()), "{ids:?}");
    }

    #[test]
    fn a_disk_that_cannot_be_described_makes_the_list_unreadable() {
        let root = machine();
        add(root.path(), "pci0000:00/0000:00:07.0/virtio3", "vdc", &[("size", b"nonsense")]);
        assert!(matches!(read(&Source::recorded(root.path())), Outcome::Unreadable(_)));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(read(&Source::recorded(empty.path())), Outcome::Unreadable(_)));
    }

    #[test]
    fn slots_do_not_contain_numbers_of_discovery() {
        let one = slot("/sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda");
        assert_eq!(one, "pci-0000:00:1f.2-ata1-0:0:0");
        assert_eq!(slot("/sys/devices/pci0000:00/0000:00:05.0/virtio2/block/vdb"), "pci-0000:00:05.0");
    }

    #[test]
    fn identify_data_gives_names_with_their_bytes_unswapped() {
        let mut page = vec![0u8; 572];
        page[1] = 0x89;
        for (word, pair) in [(10, b"AB"), (11, b"C "), (23, b"v1"), (27, b"MO"), (28, b"DL")] {
            page[60 + 2 * word] = pair[1];
            page[61 + 2 * word] = pair[0];
        }
        let (model, serial, firmware) = parse_ata_information(&page).unwrap();
        assert_eq!(model, Outcome::Value("MODL".into()));
        assert_eq!(serial, Outcome::Value("ABC".into()));
        assert_eq!(firmware, Outcome::Value("v1".into()));
    }

    proptest! {
        #[test]
        fn any_page_and_path_is_survived(page in proptest::collection::vec(any::<u8>(), 0..600), path in any::<String>()) {
            let _ = parse_unit_serial(&page);
            let _ = parse_ata_information(&page);
            let _ = slot(&path);
        }
    }
}
