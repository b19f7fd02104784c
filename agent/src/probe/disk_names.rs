//! What a disk is called and where it is plugged in, from sysfs.

use std::io;
use std::path::Path;

use contract::inventory::Transport;
use contract::reading::Outcome;
use erasure::scsi::vpd;

use super::disk_id::Identity;
use super::source::{self, attribute};

/// What a disk is called.
pub struct Names {
    /// What its identity is made of.
    pub identity: Identity,
    /// Its model.
    pub model: Outcome<String>,
    /// Its serial number.
    pub serial: Outcome<String>,
    /// The revision of its firmware.
    pub firmware_revision: Outcome<String>,
}

/// The names of the disk at `path` in sysfs.
#[must_use]
pub fn names(path: &Path, transport: Transport, slot: &str) -> Names {
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

/// Unit Serial Number, VPD page 80h (SPC-6): ASCII.
fn parse_unit_serial(page: &[u8]) -> Outcome<String> {
    match vpd::content(vpd::PAGE_SERIAL, page) {
        Some(serial) => text(serial),
        None => Outcome::Unreadable("VPD page 80h is malformed".to_owned()),
    }
}

type ThreeNames = (Outcome<String>, Outcome<String>, Outcome<String>);

/// Model (words 27-46), serial (10-19) and firmware (23-26) of the IDENTIFY data in ATA Information,
/// VPD page 89h (SAT-5). ATA strings have their bytes swapped in pairs.
fn parse_ata_information(page: &[u8]) -> Option<ThreeNames> {
    let identify = vpd::ata_identify(page)?;
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
#[must_use]
pub fn slot(real: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

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
        page[56] = 0xec;
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
