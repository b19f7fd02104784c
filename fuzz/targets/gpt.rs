//! Partition tables (UEFI specification 5.3). The checksums are put right first: a fuzzer does not find
//! them, and whoever makes a hostile table makes them right too.
#![no_main]

use imaging::gpt::Gpt;
use imaging::partitions::describe;
use libfuzzer_sys::fuzz_target;

const SECTOR: usize = 512;
const ENTRIES: usize = 128 * 128;

fuzz_target!(|data: &[u8]| {
    let mut disk = data.to_vec();
    disk.resize(data.len().max(2 * SECTOR + ENTRIES).next_multiple_of(SECTOR), 0);
    let header = SECTOR;
    disk[header..header + 8].copy_from_slice(b"EFI PART");
    // Where the table says that its entries are, if that is on the disk.
    let entries = u64::from_le_bytes(disk[header + 72..header + 80].try_into().unwrap_or_default());
    let from = usize::try_from(entries).unwrap_or(usize::MAX).saturating_mul(SECTOR);
    if let Some(entries) = disk.get(from..from.saturating_add(ENTRIES)) {
        let checksum = crc32fast::hash(entries).to_le_bytes();
        disk[header + 88..header + 92].copy_from_slice(&checksum);
    }
    disk[header + 16..header + 20].fill(0);
    let checksum = crc32fast::hash(&disk[header..header + 92]).to_le_bytes();
    disk[header + 16..header + 20].copy_from_slice(&checksum);
    if let Ok(table) = Gpt::read(&disk) {
        for partition in &table.partitions {
            assert!(partition.first_sector <= partition.last_sector);
        }
        let _ = describe(&table, table.partitions.first().map(|partition| partition.number));
    }
});
