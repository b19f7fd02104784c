//! A boot entry of ours, as the firmware keeps it: a file in a partition known by its GUID (UEFI
//! Specification 2.10, sections 3.1.3, 10.3.5.1 and 10.3.5.4).

use uuid::Uuid;

/// `LOAD_OPTION_ACTIVE`.
const ATTRIBUTE_ACTIVE: u32 = 1;
/// Media device path.
pub const TYPE_MEDIA: u8 = 0x04;
/// A partition.
pub const SUBTYPE_HARD_DRIVE: u8 = 0x01;
/// A file by its path.
pub const SUBTYPE_FILE_PATH: u8 = 0x04;
/// The partition is of a GPT, and known by its GUID.
const PARTITION_FORMAT_GPT: u8 = 0x02;
const SIGNATURE_GUID: u8 = 0x02;
/// The end of a device path.
const END: [u8; 4] = [0x7f, 0xff, 4, 0];

/// A partition as the firmware finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardDrive {
    /// Its number in the table, from 1.
    pub number: u32,
    /// Its first sector.
    pub first_sector: u64,
    /// How many sectors it has.
    pub sectors: u64,
    /// Its GUID in the table.
    pub guid: Uuid,
}

impl HardDrive {
    /// The node of a device path.
    fn encode(&self) -> Vec<u8> {
        let mut node = vec![TYPE_MEDIA, SUBTYPE_HARD_DRIVE, 42, 0];
        node.extend(self.number.to_le_bytes());
        node.extend(self.first_sector.to_le_bytes());
        node.extend(self.sectors.to_le_bytes());
        node.extend(self.guid.to_bytes_le());
        node.extend([PARTITION_FORMAT_GPT, SIGNATURE_GUID]);
        node
    }

    /// Reads a node of a device path, head included; `None` if it is no partition of a GPT.
    #[must_use]
    pub fn parse(node: &[u8]) -> Option<Self> {
        if node.len() != 42 || node.get(40..)? != [PARTITION_FORMAT_GPT, SIGNATURE_GUID] {
            return None;
        }
        Some(Self {
            number: u32::from_le_bytes(node.get(4..8)?.try_into().ok()?),
            first_sector: u64::from_le_bytes(node.get(8..16)?.try_into().ok()?),
            sectors: u64::from_le_bytes(node.get(16..24)?.try_into().ok()?),
            guid: Uuid::from_bytes_le(node.get(24..40)?.try_into().ok()?),
        })
    }
}

/// The file of a file path node, head included.
#[must_use]
pub fn parse_file_path(node: &[u8]) -> String {
    let units = node.get(4..).unwrap_or_default().chunks_exact(2);
    let units: Vec<u16> =
        units.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

/// An `EFI_LOAD_OPTION` that starts this file of this partition. Without optional data: some loaders
/// take those for a command.
#[must_use]
pub fn encode(description: &str, partition: &HardDrive, file: &str) -> Vec<u8> {
    let text = |text: &str| text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let mut path = partition.encode();
    let file = text(file);
    path.extend([TYPE_MEDIA, SUBTYPE_FILE_PATH]);
    path.extend(u16::try_from(file.len() + 4).unwrap_or(u16::MAX).to_le_bytes());
    path.extend(file);
    path.extend(END);
    let mut option = ATTRIBUTE_ACTIVE.to_le_bytes().to_vec();
    option.extend(u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes());
    option.extend(text(description));
    option.extend(path);
    option
}

#[cfg(test)]
mod tests {
    use super::{HardDrive, encode};
    use crate::efi::boot_entry::parse_entry;
    use uuid::uuid;

    const ESP: HardDrive = HardDrive {
        number: 15,
        first_sector: 0x1000,
        sectors: 0x2_0000,
        guid: uuid!("00112233-4455-6677-8899-aabbccddeeff"),
    };

    /// Put together by hand from the specification: attributes, length of the path, description; the
    /// partition; the file and the end.
    const GOLDEN: [&str; 3] = [
        "010000005e00520065007000720069006500760065000000",
        "04012a000f0000000010000000000000000002000000000033221100554477668899aabbccddeeff0202",
        "040430005c004500460049005c0042004f004f0054005c0042004f004f0054005800360034002e0045004600490000007fff0400",
    ];

    #[test]
    fn an_entry_is_as_the_specification_has_it() {
        assert_eq!(hex::encode(encode("Reprieve", &ESP, "\\EFI\\BOOT\\BOOTX64.EFI")), GOLDEN.concat());
    }

    #[test]
    fn an_entry_reads_back() {
        let mut variable = vec![7, 0, 0, 0];
        variable.extend(encode("Reprieve", &ESP, "\\EFI\\BOOT\\BOOTX64.EFI"));
        let entry = parse_entry(&variable).unwrap();
        assert_eq!((entry.active, entry.description.as_str()), (true, "Reprieve"));
        assert_eq!(entry.hard_drive, Some(ESP));
        assert_eq!(entry.file.as_deref(), Some("\\EFI\\BOOT\\BOOTX64.EFI"));
        assert_eq!((entry.mac, entry.built_in), (None, false));
    }
}
