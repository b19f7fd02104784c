//! Reading many ranges of a disk, several at a time, with bounded memory.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::buffers::Buffers;
use super::device::{AlignedBuffer, BlockDevice};
use super::meter::Meter;

/// So many ranges are asked for at a time even where there are few cores: a disk is only fast when it
/// has something to do while somebody looks at what it gave.
const READERS_MIN: usize = 12;
/// More readers do not make any disk faster, and each holds one range in memory.
const READERS_MAX: usize = 32;

/// Reads as [`scan_with`] does, in memory of its own.
pub fn scan<T: Send>(
    device: &dyn BlockDevice,
    ranges: &[Range<u64>],
    meter: &Meter,
    inspect: impl Fn(usize, &[u8]) -> T + Sync,
) -> Vec<io::Result<T>> {
    scan_with(&Buffers::default(), 1, device, ranges, meter, inspect)
}

/// Reads these byte ranges, which need not be whole sectors, and gives what `inspect` makes of each,
/// in their order. A range that cannot be read is an error of its own; the others are still read. Where
/// several disks are at work at once, each has only its share of readers.
pub fn scan_with<T: Send>(
    buffers: &Buffers,
    disks_at_once: usize,
    device: &dyn BlockDevice,
    ranges: &[Range<u64>],
    meter: &Meter,
    inspect: impl Fn(usize, &[u8]) -> T + Sync,
) -> Vec<io::Result<T>> {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let all = (cores * 2).clamp(READERS_MIN, READERS_MAX);
    let readers = (all / disks_at_once.max(1)).max(2).min(ranges.len().max(1));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        buffers.with(|buffer| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(range) = ranges.get(index) else { return found };
                let read = read_range(device, range, buffer, meter, |bytes| inspect(index, bytes));
                meter.advance(range.end.saturating_sub(range.start));
                found.push((index, read));
            }
        })
    };
    let mut results: Vec<Option<io::Result<T>>> = ranges.iter().map(|_| None).collect();
    let mut found = Vec::new();
    thread::scope(|scope| {
        let handles: Vec<_> = (1..readers).map(|_| scope.spawn(work)).collect();
        found.extend(work());
        for handle in handles {
            found.extend(handle.join().unwrap_or_default());
        }
    });
    for (index, result) in found {
        results[index] = Some(result);
    }
    let unread = || Err(io::Error::other("the reader of this range ended without a word"));
    results.into_iter().map(|result| result.unwrap_or_else(unread)).collect()
}

fn read_range<T>(
    device: &dyn BlockDevice,
    range: &Range<u64>,
    buffer: &mut AlignedBuffer,
    meter: &Meter,
    inspect: impl FnOnce(&[u8]) -> T,
) -> io::Result<T> {
    let covering = whole_sectors(range, device.sector_bytes());
    let length = usize::try_from(covering.end - covering.start).map_err(io::Error::other)?;
    if buffer.bytes().len() < length {
        // Longer than a chunk, or across its ends: such ranges are few.
        return read_range(device, range, &mut AlignedBuffer::zeroed(length), meter, inspect);
    }
    device.read_at(covering.start, &mut buffer.bytes_mut()[..length])?;
    meter.count_read(length as u64);
    let skip = (range.start - covering.start) as usize;
    Ok(inspect(&buffer.bytes()[skip..skip + (range.end - range.start) as usize]))
}

/// The smallest range of whole sectors that covers this one.
#[must_use]
pub fn whole_sectors(range: &Range<u64>, sector_bytes: u32) -> Range<u64> {
    let sector = u64::from(sector_bytes);
    let start = range.start - range.start % sector;
    let end = range.end.checked_next_multiple_of(sector).unwrap_or(u64::MAX - u64::MAX % sector);
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::fake_device::{FakeDevice, Faults};

    #[test]
    fn ranges_are_byte_precise_and_an_unreadable_one_spoils_no_other() {
        let content: Vec<u8> = (0..20_480_u32).map(|at| (at % 251) as u8).collect();
        let faults = Faults { unreadable: Some(8192..8193), ..Faults::default() };
        let device = FakeDevice::new(content.clone(), faults);
        let ranges: Vec<Range<u64>> = (0..20).map(|n| n * 1024 + 100..n * 1024 + 900).collect();
        let meter = Meter::default();
        let read = scan(&device, &ranges, &meter, |index, bytes| (index, bytes.to_vec()));
        for (index, (range, result)) in ranges.iter().zip(read).enumerate() {
            let expected = content[range.start as usize..range.end as usize].to_vec();
            match result {
                Ok(found) => assert_eq!(found, (index, expected)),
                Err(_) => assert_eq!(index, 8),
            }
        }
        assert_eq!(meter.bytes_read(), 19 * 1024);
        assert_eq!(meter.progress().done_bytes, 20 * 800);
    }
}
