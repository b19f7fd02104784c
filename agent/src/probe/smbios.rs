//! What the firmware says the machine is (SMBIOS Reference Specification, DSP0134).

use std::path::Path;

use contract::reading::Outcome;
use smbioslib::{
    SMBiosData, SMBiosInformation, SMBiosIpmiDeviceInformation, SMBiosString, SMBiosSystemInformation,
    SMBiosVersion, SystemUuidData,
};
use uuid::Uuid;

use super::source::{self, Source};

/// The parts of SMBIOS that an inventory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smbios {
    /// System UUID, type 1.
    pub system_uuid: Outcome<Uuid>,
    /// Manufacturer, type 1.
    pub vendor: Outcome<String>,
    /// Product name, type 1.
    pub product: Outcome<String>,
    /// Serial number, type 1.
    pub serial: Outcome<String>,
    /// BIOS version, type 0.
    pub bios_version: Outcome<String>,
    /// Whether there is a baseboard management controller that speaks IPMI, type 38.
    pub has_bmc: Outcome<bool>,
}

/// Reads the tables that the kernel keeps.
#[must_use]
pub fn read(source: &Source) -> Smbios {
    let path = source.path("sys/firmware/dmi/tables/DMI");
    match source::read_bytes(&path) {
        Ok(table) => parse(table),
        Err(error) => all(|| cannot_read(&path, &error)),
    }
}

fn cannot_read(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

fn all(why: impl Fn() -> String) -> Smbios {
    Smbios {
        system_uuid: Outcome::Unreadable(why()),
        vendor: Outcome::Unreadable(why()),
        product: Outcome::Unreadable(why()),
        serial: Outcome::Unreadable(why()),
        bios_version: Outcome::Unreadable(why()),
        has_bmc: Outcome::Unreadable(why()),
    }
}

/// Finds the system's and the BIOS's structure in a table.
#[must_use]
pub fn parse(table: Vec<u8>) -> Smbios {
    // The version decides only how newer fields are read; ours are in all versions since 2.1.
    let data = SMBiosData::from_vec_and_version(table, Some(SMBiosVersion::new(2, 6, 0)));
    let mut found = all(|| "the SMBIOS tables lack this structure".to_owned());
    if let Some(system) = data.first::<SMBiosSystemInformation<'_>>() {
        found.system_uuid = match system.uuid() {
            // The first three fields are little-endian since SMBIOS 2.6 (7.2.1).
            Some(SystemUuidData::Uuid(uuid)) => Outcome::Value(Uuid::from_bytes_le(uuid.raw)),
            Some(SystemUuidData::IdNotPresent | SystemUuidData::IdNotPresentButSettable) => Outcome::Absent,
            None => Outcome::Unreadable("the SMBIOS system structure is too short".to_owned()),
        };
        found.vendor = text(system.manufacturer());
        found.product = text(system.product_name());
        found.serial = text(system.serial_number());
    }
    if let Some(bios) = data.first::<SMBiosInformation<'_>>() {
        found.bios_version = text(bios.version());
        // With the BIOS's structure there, the tables are tables, and what they lack is not there.
        found.has_bmc = Outcome::Value(data.first::<SMBiosIpmiDeviceInformation<'_>>().is_some());
    }
    found
}

/// A text; none, blank and the vendors' usual fillers are absent.
pub(super) fn text(field: SMBiosString) -> Outcome<String> {
    const FILLERS: [&str; 5] =
        ["To Be Filled By O.E.M.", "Not Specified", "Default string", "System Serial Number", "0123456789"];
    match field.to_utf8_lossy().map(|text| text.trim().chars().take(200).collect::<String>()) {
        Some(text) if text.is_empty() || FILLERS.contains(&text.as_str()) => Outcome::Absent,
        Some(text) => Outcome::Value(text),
        None => Outcome::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    /// A type 1 structure as QEMU writes it, and a type 0.
    fn table(uuid: [u8; 16]) -> Vec<u8> {
        let mut table = vec![0, 0x18, 0, 0, 1, 2, 0, 0, 3, 0];
        table.resize(0x18, 0);
        table.extend(b"SeaBIOS\x001.16\x0004/01/2014\0\0");
        let mut system = vec![1, 0x1b, 0, 1, 1, 2, 3, 4];
        system.extend(uuid);
        system.extend([6, 0, 0]);
        system.extend(b"QEMU\0Standard PC\0pc-q35\0SN-1\0\0");
        table.extend(system);
        table.extend([127, 4, 0xff, 0xff, 0, 0]);
        table
    }

    #[test]
    fn a_virtual_machine_s_table_is_read() {
        let uuid: Uuid = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        let read = parse(table(uuid.to_bytes_le()));
        assert_eq!(read.system_uuid, Outcome::Value(uuid));
        assert_eq!(read.vendor, Outcome::Value("QEMU".into()));
        assert_eq!(read.serial, Outcome::Value("SN-1".into()));
        assert_eq!(read.bios_version, Outcome::Value("1.16".into()));
        assert_eq!(read.has_bmc, Outcome::Value(false));
        let bmc = [vec![38, 0x12, 0, 2], vec![0; 0x0e], vec![0, 0], table(uuid.to_bytes_le())].concat();
        assert_eq!(parse(bmc).has_bmc, Outcome::Value(true));
        assert!(matches!(parse(vec![]).has_bmc, Outcome::Unreadable(_)));
    }

    #[test]
    fn unset_uuids_are_absent_and_missing_tables_unreadable() {
        assert_eq!(parse(table([0xff; 16])).system_uuid, Outcome::Absent);
        assert_eq!(parse(table([0; 16])).system_uuid, Outcome::Absent);
        assert!(matches!(parse(vec![]).system_uuid, Outcome::Unreadable(_)));
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(read(&Source::recorded(root.path())).serial, Outcome::Unreadable(_)));
    }

    proptest! {
        #[test]
        fn any_table_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..200) {
            let _ = parse(bytes);
            let mut table = table([1; 16]);
            table.truncate(cut);
            let _ = parse(table);
        }
    }
}
