//! How fast a disk is read in sequence, for the comparison with others of its model: a disk that reads its
//! sectors twice reports no error and takes its time.
//!
//! Only what holds data is timed: a flash disk answers for blocks that were never written, or were discarded,
//! without reading them, so that a blank disk would make every other one look slow.

use std::time::{Duration, Instant};

use contract::reading::{Outcome, ReadingValue};

use super::raw_read::{BLOCK_BYTES, RawDisk};

/// How long a disk is read as part of every look in the ramdisk. Disks are read side by side.
pub const QUICK: Duration = Duration::from_millis(200);
/// What is read at once.
const REQUEST_BYTES: usize = 4 << 20;
/// Where reading begins: behind what the look has read already, which may be in the disk's cache, and where
/// systems have written. An area that was never written reads faster than any.
const BEGIN_BYTES: u64 = 256 << 20;
/// A smaller disk is in its cache before anything is measured.
const DISK_BYTES_MIN: u64 = 1 << 30;

/// Megabytes read in one second, where there are data; absent for a disk that is too small, or has nothing on
/// it where it was read, to say it.
#[must_use]
pub fn read(disk: &RawDisk, time: Duration) -> Outcome<ReadingValue> {
    if disk.size_bytes() < DISK_BYTES_MIN {
        return Outcome::Absent;
    }
    let mut backing = vec![0_u8; REQUEST_BYTES + BLOCK_BYTES];
    let shift = backing.as_ptr().align_offset(BLOCK_BYTES);
    let Some(buffer) = backing.get_mut(shift..shift + REQUEST_BYTES) else {
        return Outcome::Unreadable("no room for a buffer of whole blocks".to_owned());
    };
    let began = Instant::now();
    let (mut offset, mut bytes, mut taken) = (BEGIN_BYTES, 0_u64, Duration::ZERO);
    while began.elapsed() < time {
        // Round the disk if it is so fast.
        if offset + REQUEST_BYTES as u64 > disk.size_bytes() {
            offset = BEGIN_BYTES;
        }
        let asked = Instant::now();
        if let Err(error) = disk.read_blocks(offset, buffer) {
            return Outcome::Unreadable(error.to_string());
        }
        let answered = asked.elapsed();
        offset += REQUEST_BYTES as u64;
        if holds_data(buffer) {
            taken += answered;
            bytes += REQUEST_BYTES as u64;
        }
    }
    if bytes == 0 {
        return Outcome::Absent;
    }
    Outcome::Value(ReadingValue::Count(megabytes_in_a_second(bytes, taken)))
}

/// Whether nearly all blocks have anything but zeros in them, as those of a file system that is in use do.
fn holds_data(read: &[u8]) -> bool {
    let blocks = read.chunks(BLOCK_BYTES);
    let in_all = blocks.len();
    blocks.filter(|block| block.iter().any(|byte| *byte != 0)).count() * 16 >= in_all * 15
}

/// Bytes in a microsecond are megabytes in a second.
fn megabytes_in_a_second(bytes: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(bytes) / time.as_micros().max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_rate_is_bytes_over_time() {
        for (bytes, millis, expected) in [(500_000_000, 1000, 500), (4 << 20, 200, 20), (0, 5, 0), (1, 0, 1)]
        {
            assert_eq!(megabytes_in_a_second(bytes, Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn a_disk_is_read_and_one_that_breaks_off_is_unknown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(DISK_BYTES_MIN).unwrap();
        let disk = RawDisk::open(file.path(), DISK_BYTES_MIN).unwrap();
        assert_eq!(read(&disk, Duration::from_millis(5)), Outcome::Absent, "a blank disk is not fast");
        file.as_file().write_all_at(&vec![7; 2 * REQUEST_BYTES], BEGIN_BYTES).unwrap();
        let Outcome::Value(ReadingValue::Count(rate)) = read(&disk, Duration::from_millis(5)) else {
            panic!("unread")
        };
        assert!(rate > 0);
        file.as_file().set_len(BEGIN_BYTES).unwrap();
        assert!(matches!(read(&disk, Duration::from_millis(5)), Outcome::Unreadable(_)));
        let small = RawDisk::open(file.path(), BEGIN_BYTES).unwrap();
        assert_eq!(read(&small, Duration::from_millis(5)), Outcome::Absent);
    }
}
