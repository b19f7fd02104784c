//! Boot entries of UEFI firmware: which one boots from the network, which one from a disk (UEFI
//! Specification, 3.1 and 10.3).

use contract::id::MacAddress;

use super::load_option::{HardDrive, SUBTYPE_FILE_PATH, SUBTYPE_HARD_DRIVE, TYPE_MEDIA, parse_file_path};

/// Messaging device path.
const TYPE_MESSAGING: u8 = 0x03;
/// MAC address node.
const SUBTYPE_MAC: u8 = 0x0b;
/// IPv4 node.
const SUBTYPE_IPV4: u8 = 0x0c;
/// IPv6 node.
const SUBTYPE_IPV6: u8 = 0x0d;
/// A file in the firmware's own memory, and that memory (PI Specification, volume 3).
const SUBTYPES_BUILT_IN: [u8; 2] = [0x06, 0x07];
/// `LOAD_OPTION_ACTIVE`.
const ATTRIBUTE_ACTIVE: u32 = 1;
/// efivarfs puts the variable's attributes before its value.
const EFIVARFS_HEAD_BYTES: usize = 4;

/// What matters of one `Boot####` variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEntry {
    /// Whether the firmware would try it by itself.
    pub active: bool,
    /// Its name, for people.
    pub description: String,
    /// The interface that it boots from.
    pub mac: Option<MacAddress>,
    /// It boots over IPv4.
    pub ipv4: bool,
    /// It boots over IPv6.
    pub ipv6: bool,
    /// The partition that it boots from.
    pub hard_drive: Option<HardDrive>,
    /// The file that it starts.
    pub file: Option<String>,
    /// It is a program of the firmware itself, such as its menu.
    pub built_in: bool,
}

/// Reads a `Boot####` variable as efivarfs gives it (`EFI_LOAD_OPTION`).
#[must_use]
pub fn parse_entry(variable: &[u8]) -> Option<BootEntry> {
    let option = variable.get(EFIVARFS_HEAD_BYTES..)?;
    let attributes = u32::from_le_bytes(option.get(..4)?.try_into().ok()?);
    let path_bytes = usize::from(u16::from_le_bytes(option.get(4..6)?.try_into().ok()?));
    let units: Vec<u16> =
        option.get(6..)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let length = units.iter().position(|&unit| unit == 0)?;
    let description = String::from_utf16_lossy(&units[..length]);
    let path_at = 6 + 2 * (length + 1);
    let mut path = option.get(path_at..path_at.checked_add(path_bytes)?)?;
    let active = attributes & ATTRIBUTE_ACTIVE != 0;
    let mut entry = BootEntry {
        active,
        description,
        mac: None,
        ipv4: false,
        ipv6: false,
        hard_drive: None,
        file: None,
        built_in: false,
    };
    while let [kind, subtype, low, high, ..] = *path {
        let bytes = usize::from(u16::from_le_bytes([low, high]));
        // A node is at least its own head; anything else would go on for ever.
        let Some(node) = path.get(..bytes).filter(|_| bytes >= 4) else { break };
        match (kind, subtype) {
            (TYPE_MESSAGING, SUBTYPE_MAC) => {
                entry.mac = node.get(4..10).and_then(|mac| mac.try_into().ok()).map(MacAddress);
            }
            (TYPE_MESSAGING, SUBTYPE_IPV4) => entry.ipv4 = true,
            (TYPE_MESSAGING, SUBTYPE_IPV6) => entry.ipv6 = true,
            (TYPE_MEDIA, SUBTYPE_HARD_DRIVE) => entry.hard_drive = HardDrive::parse(node),
            (TYPE_MEDIA, SUBTYPE_FILE_PATH) => entry.file = Some(parse_file_path(node)),
            (TYPE_MEDIA, subtype) if SUBTYPES_BUILT_IN.contains(&subtype) => entry.built_in = true,
            _ => {}
        }
        path = &path[bytes..];
    }
    Some(entry)
}

/// The numbers in `BootOrder`, or the one in `BootCurrent` or `BootNext`; none if the variable is not what
/// efivarfs makes of a list of numbers.
#[must_use]
pub fn parse_numbers(variable: &[u8]) -> Option<Vec<u16>> {
    let (numbers, rest) = variable.get(EFIVARFS_HEAD_BYTES..)?.as_chunks::<2>();
    rest.is_empty().then(|| numbers.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
}

/// The value of `BootOrder` or `BootNext`.
#[must_use]
pub fn encode_numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The entry to boot the ramdisk from: the one that this boot came by if that was the network; else one
/// of our own interfaces, IPv4 before others, in the firmware's order.
#[must_use]
pub fn network_entry(
    entries: &[(u16, BootEntry)],
    order: &[u16],
    current: Option<u16>,
    ours: &[MacAddress],
) -> Option<u16> {
    let rank = |number: u16, entry: &BootEntry| {
        let place = order.iter().position(|&one| one == number).unwrap_or(usize::MAX);
        let protocol = if entry.ipv4 { 0 } else { u8::from(entry.ipv6) + 1 };
        (Some(number) != current, protocol, place, number)
    };
    entries
        .iter()
        .filter(|(_, entry)| entry.mac.is_some_and(|mac| ours.contains(&mac)))
        .min_by_key(|(number, entry)| rank(*number, entry))
        .map(|(number, _)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    const OURS: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 1]);

    /// A variable as OVMF writes it: PCI root, PCI, MAC, IPv4 or IPv6, end.
    fn variable(description: &str, mac: Option<MacAddress>, ip: Option<u8>) -> Vec<u8> {
        let mut path = vec![0x02, 0x01, 12, 0, 0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0, 0x01, 0x01, 6, 0, 0, 3];
        if let Some(MacAddress(mac)) = mac {
            path.extend([TYPE_MESSAGING, SUBTYPE_MAC, 37, 0]);
            path.extend(mac);
            path.extend([0; 26]);
            path.push(1);
        }
        if let Some(subtype) = ip {
            path.extend([TYPE_MESSAGING, subtype, 27, 0]);
            path.extend([0; 23]);
        }
        path.extend([0x7f, 0xff, 4, 0]);
        let mut variable = vec![7, 0, 0, 0, 1, 0, 0, 0];
        variable.extend(u16::try_from(path.len()).unwrap().to_le_bytes());
        variable.extend(description.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        variable.extend(path);
        variable.extend(b"optional data");
        variable
    }

    fn entry(mac: Option<MacAddress>, ip: Option<u8>) -> BootEntry {
        parse_entry(&variable("x", mac, ip)).unwrap()
    }

    #[test]
    fn a_network_entry_is_recognized() {
        let read = parse_entry(&variable("UEFI PXEv4", Some(OURS), Some(SUBTYPE_IPV4))).unwrap();
        let expected = BootEntry {
            active: true,
            description: "UEFI PXEv4".into(),
            mac: Some(OURS),
            ipv4: true,
            ipv6: false,
            hard_drive: None,
            file: None,
            built_in: false,
        };
        assert_eq!(read, expected);
        assert_eq!(entry(None, None).mac, None);
    }

    #[test]
    fn the_right_entry_is_chosen() {
        let other = MacAddress([2; 6]);
        let entries = vec![
            (1, entry(None, None)),
            (2, entry(Some(OURS), Some(SUBTYPE_IPV6))),
            (3, entry(Some(OURS), Some(SUBTYPE_IPV4))),
            (4, entry(Some(other), Some(SUBTYPE_IPV4))),
            (5, entry(Some(OURS), Some(SUBTYPE_IPV4))),
        ];
        assert_eq!(network_entry(&entries, &[1, 2, 5, 3], None, &[OURS]), Some(5));
        assert_eq!(network_entry(&entries, &[1, 2, 5, 3], Some(2), &[OURS]), Some(2));
        assert_eq!(network_entry(&entries, &[1, 2, 5, 3], Some(1), &[OURS]), Some(5));
        assert_eq!(network_entry(&entries[..1], &[1], None, &[OURS]), None);
        assert_eq!(network_entry(&entries, &[], None, &[]), None);
    }

    #[test]
    fn numbers_are_read_and_written() {
        assert_eq!(parse_numbers(&[7, 0, 0, 0, 1, 0, 2, 1]), Some(vec![1, 0x102]));
        assert_eq!(parse_numbers(&[7, 0, 0, 0]), Some(Vec::new()));
        assert_eq!(encode_numbers(&[0x203, 1]), [3, 2, 1, 0]);
        for broken in [&[][..], &[7, 0, 0], &[7, 0, 0, 0, 1], &[7, 0, 0, 0, 1, 0, 2]] {
            assert_eq!(parse_numbers(broken), None, "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..120, value in any::<u8>()) {
            let _ = parse_entry(&bytes);
            let _ = parse_numbers(&bytes);
            let mut whole = variable("UEFI PXEv4", Some(OURS), Some(SUBTYPE_IPV4));
            let at = at % whole.len();
            whole[at] = value;
            let _ = parse_entry(&whole);
            whole.truncate(at);
            prop_assert!(parse_entry(&whole).is_none_or(|entry| entry.description.len() < 200));
        }
    }
}
