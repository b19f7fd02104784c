//! The newest self-test of an ATA disk: SMART self-test log (ACS, log address 06h).

use std::io;

use contract::reading::{Outcome, ReadingValue};

use super::ata_port::AtaPort;
use super::ata_smart::{checked, read_data, read_log};

/// Address of the log. There is an extended one for long addresses; the results are in both.
const LOG_ADDRESS: u8 = 0x06;
/// Where the descriptors begin, how long one is, and how many there are.
const DESCRIPTORS_OFFSET: usize = 2;
const DESCRIPTOR_BYTES: usize = 24;
const DESCRIPTORS: usize = 21;
/// Which descriptor is the newest, counted from 1; 0 if no test was ever run.
const NEWEST_OFFSET: usize = 508;
/// Byte of the SMART data with the off-line capabilities, and its bit "self-tests are there".
const CAPABILITIES_OFFSET: usize = 367;
const CAPABILITY_SELF_TEST: u8 = 1 << 4;

/// Whether the newest completed self-test failed; absent where the disk has none or none was ever run.
#[must_use]
pub fn read(disk: &AtaPort<'_>) -> Outcome<ReadingValue> {
    let asked = || -> io::Result<Outcome<ReadingValue>> {
        let data = disk.read_sector(&read_data())?;
        if checked(&data).map_err(io::Error::other)?[CAPABILITIES_OFFSET] & CAPABILITY_SELF_TEST == 0 {
            return Ok(Outcome::Absent);
        }
        Ok(parse(&disk.read_sector(&read_log(LOG_ADDRESS))?))
    };
    asked().unwrap_or_else(|error| Outcome::Unreadable(format!("cannot read the self-test log: {error}")))
}

/// The newest completed result. Descriptors are a ring.
#[must_use]
pub fn parse(log: &[u8]) -> Outcome<ReadingValue> {
    let log = match checked(log) {
        Ok(log) => log,
        Err(why) => return Outcome::Unreadable(format!("self-test log: {why}")),
    };
    let newest = usize::from(log[NEWEST_OFFSET]);
    if newest == 0 {
        return Outcome::Absent;
    }
    if newest > DESCRIPTORS {
        return Outcome::Unreadable(format!("the self-test log names descriptor {newest} of {DESCRIPTORS}"));
    }
    for age in 0..DESCRIPTORS {
        let slot = (newest - 1 + DESCRIPTORS - age) % DESCRIPTORS;
        let at = DESCRIPTORS_OFFSET + slot * DESCRIPTOR_BYTES;
        let descriptor = &log[at..at + DESCRIPTOR_BYTES];
        // The ring is not full yet.
        if descriptor.iter().all(|byte| *byte == 0) {
            return Outcome::Absent;
        }
        match descriptor[1] >> 4 {
            0 => return Outcome::Value(ReadingValue::Flag(false)),
            // Broken off by the host or a reset, or still running: says nothing of the disk.
            1 | 2 | 0xf => {}
            // A fatal error in the middle; an element that failed.
            3..=8 => return Outcome::Value(ReadingValue::Flag(true)),
            other => return Outcome::Unreadable(format!("a self-test ended with status {other}")),
        }
    }
    Outcome::Absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake_ata::FakeAta;
    use proptest::prelude::{any, proptest};

    fn with_checksum(mut sector: Vec<u8>) -> Vec<u8> {
        sector[511] = 0;
        let sum = sector.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        sector[511] = 0_u8.wrapping_sub(sum);
        sector
    }

    /// A log in which these results were written, oldest first.
    fn log(results: &[u8]) -> Vec<u8> {
        let mut log = vec![0; 512];
        log[0] = 1;
        for (number, result) in results.iter().enumerate() {
            let at = DESCRIPTORS_OFFSET + number % DESCRIPTORS * DESCRIPTOR_BYTES;
            log[at..at + 4].copy_from_slice(&[2, result << 4, number as u8 + 1, 0]);
            log[NEWEST_OFFSET] = (number % DESCRIPTORS) as u8 + 1;
        }
        with_checksum(log)
    }

    #[test]
    fn the_newest_completed_test_counts() {
        let flag = |failed| Outcome::Value(ReadingValue::Flag(failed));
        let mut full = vec![7; 21];
        full.extend([0, 1, 2]);
        for (results, expected) in [
            (&[][..], Outcome::Absent),
            (&[7, 0], flag(false)),
            (&[0, 7], flag(true)),
            (&[0, 3], flag(true)),
            (&[8, 1, 2, 15], flag(true)),
            (&[1, 2], Outcome::Absent),
            (&full, flag(false)),
            (&[1; 30], Outcome::Absent),
        ] {
            assert_eq!(parse(&log(results)), expected, "{results:?}");
        }
        assert!(matches!(parse(&log(&[9])), Outcome::Unreadable(_)));
        let mut absurd = log(&[0]);
        absurd[NEWEST_OFFSET] = 22;
        assert!(matches!(parse(&with_checksum(absurd)), Outcome::Unreadable(_)));
        let mut altered = log(&[7]);
        altered[3] = 0;
        assert!(matches!(parse(&altered), Outcome::Unreadable(_)));
    }

    #[test]
    fn a_disk_says_whether_it_has_self_tests() {
        let mut fake = FakeAta::plain();
        assert!(matches!(read(&AtaPort::new(&fake)), Outcome::Unreadable(_)), "it has no SMART");
        fake.smart_data = with_checksum(vec![0; 512]);
        assert_eq!(read(&AtaPort::new(&fake)), Outcome::Absent);
        let mut capable = vec![0; 512];
        capable[CAPABILITIES_OFFSET] = 0x79;
        fake.smart_data = with_checksum(capable);
        assert!(matches!(read(&AtaPort::new(&fake)), Outcome::Unreadable(_)), "and keeps its log to itself");
        fake.self_test_log = log(&[0, 4]);
        assert_eq!(read(&AtaPort::new(&fake)), Outcome::Value(ReadingValue::Flag(true)));
    }

    #[test]
    fn the_command_byte_by_byte() {
        let expected = [0x85, 8, 0x0e, 0, 0xd5, 0, 1, 0, 6, 0, 0x4f, 0, 0xc2, 0x40, 0xb0, 0];
        assert_eq!(read_log(LOG_ADDRESS).block(), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
            if bytes.len() >= 512 {
                let _ = parse(&with_checksum(bytes[..512].to_vec()));
            }
        }
    }
}
