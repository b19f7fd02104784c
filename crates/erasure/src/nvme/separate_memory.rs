//! Memory of a controller beside its blocks: replay-protected memory and boot partitions.
//!
//! The replay-protected memory stands in Identify Controller. Whether there are boot partitions stands
//! in a register (CAP.BPS), which the kernel lets nobody read beside its driver; only some controllers
//! say it a second time, in log page 15h or in a field of Identify Controller. A controller that says
//! nothing there has not said that it has none.

use contract::inventory::SeparateMemory;
use contract::reading::Outcome;

/// Log page of the supported log pages, since version 2.0.
pub const LOG_SUPPORTED_PAGES: u8 = 0x00;
/// Its length in bytes: four for each page.
pub const LOG_SUPPORTED_PAGES_BYTES: u16 = 1024;
/// Log page of the boot partitions.
pub const LOG_BOOT_PARTITION: u8 = 0x15;
/// Length of its header in bytes.
pub const LOG_BOOT_PARTITION_BYTES: u16 = 16;

/// Sizes are in units of this many bytes.
const UNIT_BYTES: u64 = 128 << 10;
/// There are two boot partitions or none.
const BOOT_PARTITIONS: u32 = 2;
/// Version 1.3 brought boot partitions.
const VERSION_1_3: u32 = 0x0001_0300;
/// Version 2.0 brought the list of log pages.
const VERSION_2_0: u32 = 0x0002_0000;

/// What Identify Controller says of memory beside the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeparateMemories {
    /// RPMBS (bytes 312-315): units in bits 2:0, size of each in bits 23:16, in 128 KiB, less one.
    pub replay_protected: Option<SeparateMemory>,
    /// VER (bytes 80-83): 0 before version 1.2.
    pub version: u32,
    /// BPCAP (byte 102): boot partitions can be write-protected, so there are some.
    pub boot_partitions_protected: bool,
}

impl SeparateMemories {
    /// Reads Identify Controller; none if the data end too early.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let dword = |at: usize| {
            data.get(at..at + 4).and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)))
        };
        let rpmbs = dword(312)?;
        let units = rpmbs & 0b111;
        let bytes_each = Some((u64::from(rpmbs >> 16 & 0xff) + 1) * UNIT_BYTES);
        // Bits 1:0 are 10b, or bit 2 is set, where there is a way to protect them.
        let bpcap = *data.get(102)?;
        Some(Self {
            replay_protected: (units != 0).then_some(SeparateMemory { count: units, bytes_each }),
            version: dword(80)?,
            boot_partitions_protected: bpcap & 0b11 == 0b10 || bpcap & 0b100 != 0,
        })
    }

    /// Whether the controller can be asked which log pages it has.
    #[must_use]
    pub fn lists_log_pages(&self) -> bool {
        self.version >= VERSION_2_0
    }

    /// The boot partitions, from what the controller says of them in log page 15h; none where it was not
    /// asked, because it does not have that page.
    #[must_use]
    pub fn boot_partitions(&self, log: Option<Result<Vec<u8>, String>>) -> Outcome<SeparateMemory> {
        let found = match log {
            Some(Ok(data)) => read_log(&data),
            Some(Err(why)) => Outcome::Unreadable(why),
            // The field came with version 1.2: one of 0 is older, or says nothing.
            None if self.version != 0 && self.version < VERSION_1_3 => Outcome::Absent,
            None => Outcome::Unreadable(
                "the controller has no log page that says it, and its registers cannot be read".to_owned(),
            ),
        };
        match found {
            Outcome::Absent | Outcome::Unreadable(_) if self.boot_partitions_protected => {
                Outcome::Value(SeparateMemory { count: BOOT_PARTITIONS, bytes_each: None })
            }
            found => found,
        }
    }
}

/// Whether a page is supported (LSUPP, bit 0 of its entry in log page 00h); none if the data end too
/// early.
#[must_use]
pub fn has_log_page(data: &[u8], page: u8) -> Option<bool> {
    data.get(usize::from(page) * 4).map(|entry| entry & 1 != 0)
}

/// Log page 15h: its own number in byte 0; bits 14:0 of bytes 4-7 are the size of each partition.
fn read_log(data: &[u8]) -> Outcome<SeparateMemory> {
    match data {
        [LOG_BOOT_PARTITION, _, _, _, low, high, ..] => {
            match u64::from(u16::from_le_bytes([*low, *high]) & 0x7fff) {
                0 => Outcome::Absent,
                units => Outcome::Value(SeparateMemory {
                    count: BOOT_PARTITIONS,
                    bytes_each: Some(units * UNIT_BYTES),
                }),
            }
        }
        _ => Outcome::Unreadable("the boot partition log does not begin with its own number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvme::identify::IDENTIFY_BYTES;
    use proptest::prelude::{any, prop_assert, proptest};

    fn identify(set: &[(usize, u8)]) -> SeparateMemories {
        let mut data = vec![0; IDENTIFY_BYTES];
        for (at, value) in set {
            data[*at] = *value;
        }
        SeparateMemories::parse(&data).unwrap()
    }

    #[test]
    fn replay_protected_memory_has_units_and_a_size() {
        assert_eq!(identify(&[]).replay_protected, None);
        assert_eq!(
            identify(&[(312, 0xf8), (314, 0xff)]).replay_protected,
            None,
            "no unit, whatever its size"
        );
        let found = identify(&[(312, 0xfa), (314, 0x1f), (315, 0xff)]).replay_protected;
        assert_eq!(found, Some(SeparateMemory { count: 2, bytes_each: Some(4 << 20) }));
    }

    #[test]
    fn boot_partitions_are_there_not_there_or_not_known() {
        let present = |bytes_each| Outcome::Value(SeparateMemory { count: 2, bytes_each });
        let log = |bytes: &[u8]| Some(Ok(bytes.to_vec()));
        let newer = identify(&[(82, 2)]);
        assert!(newer.lists_log_pages() && !identify(&[(82, 1), (81, 4)]).lists_log_pages());
        assert_eq!(newer.boot_partitions(log(&[0x15, 0, 0, 0, 1, 0x80, 0, 0x80])), present(Some(128 << 10)));
        assert_eq!(newer.boot_partitions(log(&[0x15, 0, 0, 0, 0, 0x80, 0, 0])), Outcome::Absent);
        for unknown in [log(&[0; 16]), log(&[]), Some(Err("EIO".to_owned())), None] {
            assert!(matches!(newer.boot_partitions(unknown), Outcome::Unreadable(_)));
        }
        // A controller of before there were any, one that does not say its version, and one that says
        // that it can protect them.
        assert_eq!(identify(&[(82, 1), (81, 2), (80, 1)]).boot_partitions(None), Outcome::Absent);
        assert!(matches!(identify(&[(82, 1), (81, 3)]).boot_partitions(None), Outcome::Unreadable(_)));
        assert!(matches!(identify(&[]).boot_partitions(None), Outcome::Unreadable(_)));
        for (bits, there) in [(0b000, false), (0b001, false), (0b011, false), (0b010, true), (0b100, true)] {
            let found = identify(&[(102, bits)]).boot_partitions(None);
            assert_eq!(found == present(None), there, "{bits:#b}");
        }
    }

    #[test]
    fn a_log_page_is_there_where_its_entry_says_so() {
        let mut pages = vec![0; usize::from(LOG_SUPPORTED_PAGES_BYTES)];
        pages[0x15 * 4] = 1;
        pages[0x16 * 4] = 0xfe;
        assert_eq!(has_log_page(&pages, 0x15), Some(true));
        assert_eq!(has_log_page(&pages, 0x16), Some(false));
        assert_eq!(has_log_page(&pages[..0x54], 0x15), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..400), version in any::<u32>()) {
            let _ = SeparateMemories::parse(&data);
            let _ = has_log_page(&data, LOG_BOOT_PARTITION);
            let memories = SeparateMemories { replay_protected: None, version, boot_partitions_protected: false };
            let found = memories.boot_partitions(Some(Ok(data.clone())));
            // Only a page that begins with its own number says that there is none.
            prop_assert!(found != Outcome::Absent || data.first() == Some(&LOG_BOOT_PARTITION));
        }
    }
}
