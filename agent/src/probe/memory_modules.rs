//! The memory modules, as the firmware lists them (SMBIOS Reference Specification, type 17).

use std::collections::BTreeMap;

use contract::inventory::MemoryModuleFacts;
use contract::reading::Outcome;
use smbioslib::{
    MemorySize, MemorySizeExtended, SMBiosData, SMBiosMemoryDevice, SMBiosStruct, SMBiosVersion,
};

use super::smbios::text;
use super::source::{self, Source};

/// No machine has more slots.
const MODULES_MAX: usize = 4096;
/// What stands for a serial or part number where there is none.
const FILLERS: [&str; 6] = ["Unknown", "NO DIMM", "Not Specified", "None", "N/A", "Undefined"];

/// The modules that stand in their slots, ordered by locator.
#[must_use]
pub fn read(source: &Source) -> Outcome<Vec<MemoryModuleFacts>> {
    let path = source.path("sys/firmware/dmi/tables/DMI");
    match source::read_bytes(&path) {
        Ok(table) => parse(table),
        Err(error) => source::unreadable(&path, &error),
    }
}

/// The modules in a table; empty slots are left out.
#[must_use]
pub fn parse(table: Vec<u8>) -> Outcome<Vec<MemoryModuleFacts>> {
    // The version decides only how newer fields are read; ours are where they are since 2.7, and shorter
    // structures have none.
    let data = SMBiosData::from_vec_and_version(table, Some(SMBiosVersion::new(3, 0, 0)));
    let devices: Vec<SMBiosMemoryDevice<'_>> = data.collect();
    if devices.is_empty() {
        return Outcome::Unreadable("the SMBIOS tables list no memory".to_owned());
    }
    if devices.len() > MODULES_MAX {
        return Outcome::Unreadable(format!("the SMBIOS tables list {} memory slots", devices.len()));
    }
    let mut modules: Vec<_> = devices.iter().filter_map(module).collect();
    separate(&mut modules);
    let mut modules: Vec<_> = modules.into_iter().map(|(_, facts)| facts).collect();
    modules.sort_by(|a, b| a.locator.cmp(&b.locator));
    Outcome::Value(modules)
}

/// A module with its bank; none if the slot is empty.
fn module(device: &SMBiosMemoryDevice<'_>) -> Option<(Option<String>, MemoryModuleFacts)> {
    let size_bytes = size_bytes(device)?;
    let bank = text(device.bank_locator()).value().cloned();
    let locator = text(device.device_locator()).value().cloned().or_else(|| bank.clone());
    let facts = MemoryModuleFacts {
        locator: locator.unwrap_or_else(|| format!("handle {:#06x}", *device.parts().header.handle())),
        serial: number(text(device.serial_number())),
        part: number(text(device.part_number())),
        size_bytes,
    };
    Some((bank, facts))
}

/// The size; none for an empty slot, 0 where the firmware does not know it.
fn size_bytes(device: &SMBiosMemoryDevice<'_>) -> Option<u64> {
    let bytes = match device.size()? {
        MemorySize::NotInstalled => return None,
        MemorySize::Unknown => 0,
        MemorySize::Kilobytes(count) => u64::from(count) << 10,
        MemorySize::Megabytes(count) => u64::from(count) << 20,
        MemorySize::SeeExtendedSize => match device.extended_size() {
            Some(MemorySizeExtended::Megabytes(count)) => u64::from(count) << 20,
            Some(MemorySizeExtended::SeeSize) | None => 0,
        },
    };
    Some(bytes)
}

/// A serial or part number that is one. All zeros is none: a comparison by it would mix modules up.
fn number(found: Outcome<String>) -> Outcome<String> {
    match found {
        Outcome::Value(text) if FILLERS.iter().any(|filler| text.eq_ignore_ascii_case(filler)) => {
            Outcome::Absent
        }
        Outcome::Value(text) if text.bytes().all(|byte| byte == b'0') => Outcome::Absent,
        found => found,
    }
}

/// Boards with several processors name their slots alike on each; the bank tells them apart, and where that
/// does not either, their order in the table.
fn separate(modules: &mut [(Option<String>, MemoryModuleFacts)]) {
    for with_bank in [true, false] {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (_, facts) in modules.iter() {
            *counts.entry(facts.locator.clone()).or_default() += 1;
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (bank, facts) in modules.iter_mut().filter(|(_, facts)| counts.get(&facts.locator) > Some(&1)) {
            let number = seen.entry(facts.locator.clone()).or_default();
            *number += 1;
            facts.locator = match bank {
                Some(bank) if with_bank => format!("{bank} {}", facts.locator),
                _ if with_bank => continue,
                _ => format!("{} #{number}", facts.locator),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    /// A structure of type 17 as of SMBIOS 2.7: size field, extended size in MiB, and four texts: locator,
    /// bank, serial, part.
    fn device(size: u16, extended: u32, texts: [&str; 4]) -> Vec<u8> {
        let mut bytes = vec![17, 0x22, 7, 0x11];
        bytes.resize(0x22, 0);
        bytes[0x0c..0x0e].copy_from_slice(&size.to_le_bytes());
        (bytes[0x10], bytes[0x11], bytes[0x18], bytes[0x1a]) = (1, 2, 3, 4);
        bytes[0x1c..0x20].copy_from_slice(&extended.to_le_bytes());
        for text in texts {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        }
        bytes.push(0);
        bytes
    }

    fn table(devices: &[Vec<u8>]) -> Vec<u8> {
        let mut table = devices.concat();
        table.extend([127, 4, 0xff, 0xff, 0, 0]);
        table
    }

    fn modules(devices: &[Vec<u8>]) -> Vec<MemoryModuleFacts> {
        match parse(table(devices)) {
            Outcome::Value(modules) => modules,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn modules_are_listed_and_empty_slots_are_not() {
        let found = modules(&[
            device(0x7fff, 65536, ["DIMM_B1", "NODE 0", "3A5F12", "M393A8G40AB2-CWE"]),
            device(0, 0, ["DIMM_B2", "NODE 0", "NO DIMM", "NO DIMM"]),
            device(0x4000, 0, ["DIMM_A1", "NODE 0", "00000000", "Unknown"]),
            device(0xffff, 0, ["DIMM_C1", "NODE 0", "X", "Y"]),
        ]);
        let seen: Vec<_> = found.iter().map(|one| (one.locator.as_str(), one.size_bytes)).collect();
        assert_eq!(seen, [("DIMM_A1", 16 << 30), ("DIMM_B1", 64 << 30), ("DIMM_C1", 0)]);
        assert_eq!(found[1].serial, Outcome::Value("3A5F12".to_owned()));
        assert_eq!(found[1].part, Outcome::Value("M393A8G40AB2-CWE".to_owned()));
        assert_eq!((&found[0].serial, &found[0].part), (&Outcome::Absent, &Outcome::Absent));
    }

    #[test]
    fn slots_that_are_named_alike_are_told_apart() {
        let of = |bank| device(1024, 0, ["DIMM 1", bank, "S", "P"]);
        let locators =
            |found: Vec<MemoryModuleFacts>| -> Vec<_> { found.into_iter().map(|one| one.locator).collect() };
        assert_eq!(locators(modules(&[of("P0"), of("P1")])), ["P0 DIMM 1", "P1 DIMM 1"]);
        assert_eq!(locators(modules(&[of("P0"), of("P0")])), ["P0 DIMM 1 #1", "P0 DIMM 1 #2"]);
        assert_eq!(locators(modules(&[of("P0")])), ["DIMM 1"]);
    }

    #[test]
    fn a_table_without_memory_has_not_said_that_there_is_none() {
        assert!(matches!(parse(table(&[])), Outcome::Unreadable(_)));
        assert_eq!(parse(table(&[device(0, 0, ["A", "B", "C", "D"])])), Outcome::Value(vec![]));
    }

    proptest! {
        #[test]
        fn any_table_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..120) {
            let _ = parse(bytes.clone());
            let mut whole = table(&[device(1024, 0, ["A", "B", "C", "D"]), device(8, 1, ["A", "B", "C", "D"])]);
            whole.truncate(cut);
            let _ = parse(whole);
            let mut mixed = device(1024, 0, ["A", "B", "C", "D"]);
            for (at, byte) in bytes.iter().take(mixed.len() - 4).enumerate() {
                mixed[at + 4] = *byte;
            }
            if let Outcome::Value(found) = parse(mixed) {
                prop_assert!(found.iter().all(|one| one.locator.chars().count() <= 500));
            }
        }
    }
}
