//! What a disk holds, as far as signatures and samples show: is it blank?

use imaging::gpt::Gpt;

use super::raw_read::RawDisk;

/// How much of the start of the disk, and of each partition, signatures are looked for in.
const HEAD_BYTES: usize = 128 << 10;
/// Samples in the ramdisk.
pub const SAMPLES_DEEP: u64 = 256;
/// Samples in the running system.
pub const SAMPLES_QUICK: u64 = 16;
/// One sample.
const SAMPLE_BYTES: u64 = 4096;

/// One magic: where, what, and its name.
struct Magic {
    offset: usize,
    bytes: &'static [u8],
    name: &'static str,
}

const fn magic(offset: usize, bytes: &'static [u8], name: &'static str) -> Magic {
    Magic { offset, bytes, name }
}

/// Where these stand: the file systems' and tools' own on-disk format documents.
const MAGICS: &[Magic] = &[
    magic(512, b"EFI PART", "gpt"),
    magic(4096, b"EFI PART", "gpt"),
    magic(510, &[0x55, 0xaa], "mbr"),
    magic(1080, &[0x53, 0xef], "ext"),
    magic(0, b"XFSB", "xfs"),
    magic(0x10040, b"_BHRfS_M", "btrfs"),
    magic(512, b"LABELONE", "lvm"),
    magic(0, b"LABELONE", "lvm"),
    magic(1024, b"LABELONE", "lvm"),
    magic(1536, b"LABELONE", "lvm"),
    magic(0, b"LUKS\xba\xbe", "luks"),
    magic(0, &[0xfc, 0x4e, 0x2b, 0xa9], "md"),
    magic(4096, &[0xfc, 0x4e, 0x2b, 0xa9], "md"),
    magic(3, b"NTFS    ", "ntfs"),
    magic(82, b"FAT32   ", "vfat"),
    magic(54, b"FAT1", "vfat"),
    magic(4086, b"SWAPSPACE2", "swap"),
    magic(3, b"-FVE-FS-", "bitlocker"),
    magic(0, b"hsqs", "squashfs"),
    magic(0x8001, b"CD001", "iso9660"),
];

/// Names of the signatures in these first bytes of a disk or partition.
#[must_use]
pub fn signatures(head: &[u8]) -> Vec<&'static str> {
    let mut found = Vec::new();
    for magic in MAGICS {
        let there = head.get(magic.offset..).is_some_and(|rest| rest.starts_with(magic.bytes));
        if there && !found.contains(&magic.name) {
            found.push(magic.name);
        }
    }
    found
}

/// Where samples lie: evenly from the first to the last full sample of the disk.
pub fn sample_offsets(disk_bytes: u64, samples: u64) -> impl Iterator<Item = u64> {
    let blocks = disk_bytes / SAMPLE_BYTES;
    let count = samples.min(blocks);
    (0..count).map(move |index| {
        let last = u128::from(blocks.saturating_sub(1));
        let block = last * u128::from(index) / u128::from(count.saturating_sub(1).max(1));
        u64::try_from(block).unwrap_or(0) * SAMPLE_BYTES
    })
}

/// Signatures on the disk, with the place, and `data` where a sample is not blank.
///
/// The list is empty only if every place was read and was blank.
///
/// # Errors
/// The first read that failed, if nothing was found until then: what could not be read may hold data.
pub fn read(disk: &RawDisk, samples: u64) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut failed = None;
    let mut look = |offset, place: &str| match disk.read(offset, HEAD_BYTES) {
        Ok(head) => found.extend(signatures(&head).into_iter().map(|name| format!("{name} {place}"))),
        Err(error) => failed = Some(error.to_string()),
    };
    look(0, "at the start");
    // A table that cannot be read is a signature all the same; what it would point to is sampled.
    if let Ok(table) = Gpt::read(disk) {
        for partition in table.partitions {
            let offset = partition.first_sector.saturating_mul(u64::from(table.sector_bytes));
            look(offset, &format!("on partition {}", partition.number));
        }
    }
    // The backup GPT and old RAID superblocks stand at the end.
    match disk.read(disk.size_bytes().saturating_sub(HEAD_BYTES as u64), HEAD_BYTES) {
        Ok(tail) if tail.iter().any(|&byte| byte != 0 && byte != 0xff) => {
            found.push("data at the end".to_owned())
        }
        Ok(_) => {}
        Err(error) => failed = failed.or(Some(error.to_string())),
    }
    let mut filled = 0u64;
    for offset in sample_offsets(disk.size_bytes(), samples) {
        match disk.read(offset, SAMPLE_BYTES as usize) {
            Ok(sample) if is_blank(&sample) => {}
            Ok(_) => filled += 1,
            Err(error) => failed = failed.or(Some(error.to_string())),
        }
    }
    if filled > 0 {
        found.push(format!("data in {filled} of {} samples", samples.min(disk.size_bytes() / SAMPLE_BYTES)));
    }
    match failed {
        Some(why) if found.is_empty() => Err(why),
        _ => Ok(found),
    }
}

/// One byte value throughout, 00h or FFh: what media read as after an erase or fresh from the factory.
fn is_blank(sample: &[u8]) -> bool {
    match sample.first() {
        Some(&first) if first == 0 || first == 0xff => sample.iter().all(|&byte| byte == first),
        Some(_) => false,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};
    use std::os::unix::fs::FileExt;

    fn disk_with(content: &[(u64, &[u8])]) -> (tempfile::NamedTempFile, RawDisk) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let size = 8 << 20;
        file.as_file().set_len(size).unwrap();
        for (offset, bytes) in content {
            file.as_file().write_all_at(bytes, *offset).unwrap();
        }
        let disk = RawDisk::open(file.path(), size).unwrap();
        (file, disk)
    }

    #[test]
    fn a_blank_disk_gives_an_empty_list() {
        let (_file, disk) = disk_with(&[]);
        assert_eq!(read(&disk, SAMPLES_DEEP), Ok(vec![]));
    }

    #[test]
    fn every_magic_is_found() {
        for magic in MAGICS {
            let mut head = vec![0; HEAD_BYTES];
            head[magic.offset..magic.offset + magic.bytes.len()].copy_from_slice(magic.bytes);
            assert!(signatures(&head).contains(&magic.name), "{}", magic.name);
        }
    }

    #[test]
    fn data_without_a_signature_is_seen_by_a_sample_or_at_the_end() {
        let (_file, disk) = disk_with(&[((8 << 20) - 100, b"secret")]);
        assert!(read(&disk, SAMPLES_DEEP).unwrap().contains(&"data at the end".to_owned()));
        let filled = vec![7u8; 1 << 20];
        let (_file, disk) = disk_with(&[(3 << 20, &filled)]);
        let found = read(&disk, SAMPLES_QUICK).unwrap();
        assert!(found.iter().any(|one| one.starts_with("data in ")), "{found:?}");
    }

    #[test]
    fn what_cannot_be_read_is_not_blank() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let disk = RawDisk::open(file.path(), 1 << 20).unwrap();
        assert!(read(&disk, SAMPLES_DEEP).is_err());
    }

    proptest! {
        #[test]
        fn samples_lie_within_the_disk(disk_bytes in any::<u64>(), samples in 0u64..300) {
            for offset in sample_offsets(disk_bytes, samples) {
                prop_assert!(offset.checked_add(SAMPLE_BYTES).is_some_and(|end| end <= disk_bytes));
            }
        }
    }
}
