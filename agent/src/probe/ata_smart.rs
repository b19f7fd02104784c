//! ATA disk health: SMART READ DATA and SMART RETURN STATUS.

use std::fs::File;
use std::io;
use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue};
use erasure::ata::pass_through::{Command, Registers, Transfer};

use super::ata_port::AtaPort;
use super::scsi_generic::READ_TIMEOUT_MILLIS;

/// What this probe reads.
pub const KEYS: [ReadingKey; 5] = [
    ReadingKey::AtaReallocatedSectors,
    ReadingKey::AtaReportedUncorrectable,
    ReadingKey::AtaPendingSectors,
    ReadingKey::AtaOfflineUncorrectable,
    ReadingKey::AtaSmartThresholdExceeded,
];

/// Attribute numbers of the first four of [`KEYS`].
const ATTRIBUTES: [u8; 4] = [5, 187, 197, 198];
/// SMART data is one sector.
const SMART_BYTES: usize = 512;
/// LBA mid and high of every SMART command (ACS-3).
const SIGNATURE: u64 = 0xc2_4f00;

/// SMART READ DATA.
fn read_data() -> Command {
    Command { lba: SIGNATURE, ..Command::short("SMART READ DATA", 0xb0, 0xd0, Transfer::In) }
}

/// SMART RETURN STATUS.
fn return_status() -> Command {
    Command { lba: SIGNATURE, ..Command::short("SMART RETURN STATUS", 0xb0, 0xda, Transfer::None) }
}

/// The health of the disk at `device`; one outcome for each of [`KEYS`], in that order.
#[must_use]
pub fn read(device: &Path) -> Vec<(ReadingKey, Outcome<ReadingValue>)> {
    match File::open(device) {
        Ok(file) => read_open(&file),
        Err(error) => {
            let why = format!("cannot open {}: {error}", device.display());
            KEYS.map(|key| (key, Outcome::Unreadable(why.clone()))).to_vec()
        }
    }
}

/// The same of an open disk.
#[must_use]
pub fn read_open(file: &File) -> Vec<(ReadingKey, Outcome<ReadingValue>)> {
    let failed = |error: io::Error| format!("cannot read SMART: {error}");
    let disk = AtaPort::new(file);
    let attributes = match disk.read_sector(&read_data()) {
        Ok(data) => parse_attributes(&data),
        Err(error) => {
            let why = failed(error);
            ATTRIBUTES.map(|_| Outcome::Unreadable(why.clone()))
        }
    };
    let threshold = match disk.complete(&return_status(), READ_TIMEOUT_MILLIS) {
        Ok(registers) => parse_return_status(registers),
        Err(error) => Outcome::Unreadable(failed(error)),
    };
    KEYS.into_iter().zip(attributes.into_iter().chain([threshold])).collect()
}

/// Raw values of the four attributes in SMART data (30 entries of 12 bytes from offset 2). A disk that
/// does not keep an attribute does not have it: absent.
#[must_use]
pub fn parse_attributes(data: &[u8]) -> [Outcome<ReadingValue>; 4] {
    if data.len() < SMART_BYTES {
        return ATTRIBUTES.map(|_| Outcome::Unreadable("the SMART data is too short".to_owned()));
    }
    let sum = data[..SMART_BYTES].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if sum != 0 {
        return ATTRIBUTES.map(|_| Outcome::Unreadable("the SMART data has a wrong checksum".to_owned()));
    }
    ATTRIBUTES.map(|wanted| {
        let entry = data[2..362].chunks_exact(12).find(|entry| entry[0] == wanted);
        match entry {
            // Six raw bytes; the upper two are vendors' extras on many disks, the count is in the lower four.
            Some(entry) => {
                let count = u32::from_le_bytes([entry[5], entry[6], entry[7], entry[8]]);
                Outcome::Value(ReadingValue::Count(u64::from(count)))
            }
            None => Outcome::Absent,
        }
    })
}

/// LBA mid and high of the returned registers: 4Fh/C2h is well, F4h/2Ch is a threshold exceeded.
#[must_use]
pub fn parse_return_status(registers: Registers) -> Outcome<ReadingValue> {
    match registers.lba & 0xff_ff00 {
        SIGNATURE => Outcome::Value(ReadingValue::Flag(false)),
        0x2c_f400 => Outcome::Value(ReadingValue::Flag(true)),
        other => Outcome::Unreadable(format!("SMART RETURN STATUS gave LBA {other:#x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    fn smart_data(entries: &[(u8, u32)]) -> Vec<u8> {
        let mut data = vec![0u8; SMART_BYTES];
        for (slot, (id, raw)) in entries.iter().enumerate() {
            let at = 2 + 12 * slot;
            data[at] = *id;
            data[at + 5..at + 9].copy_from_slice(&raw.to_le_bytes());
        }
        let sum = data.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        data[511] = 0u8.wrapping_sub(sum);
        data
    }

    #[test]
    fn attributes_are_found_wherever_they_stand() {
        let read = parse_attributes(&smart_data(&[(1, 7), (198, 3), (5, 258)]));
        assert_eq!(read[0], Outcome::Value(ReadingValue::Count(258)));
        assert_eq!(read[1], Outcome::Absent);
        assert_eq!(read[2], Outcome::Absent);
        assert_eq!(read[3], Outcome::Value(ReadingValue::Count(3)));
    }

    #[test]
    fn short_or_altered_data_is_unreadable_not_absent() {
        let mut data = smart_data(&[(5, 0)]);
        data[40] ^= 1;
        for data in [&data[..], &data[..511]] {
            assert!(parse_attributes(data).iter().all(|one| matches!(one, Outcome::Unreadable(_))));
        }
    }

    #[test]
    fn commands_byte_by_byte() {
        let data = [0x85, 8, 0x0e, 0, 0xd0, 0, 1, 0, 0, 0, 0x4f, 0, 0xc2, 0x40, 0xb0, 0];
        let status = [0x85, 6, 0x20, 0, 0xda, 0, 0, 0, 0, 0, 0x4f, 0, 0xc2, 0x40, 0xb0, 0];
        assert_eq!((read_data().block(), return_status().block()), (data, status));
    }

    #[test]
    fn return_status_is_read_from_both_sense_formats() {
        let descriptor = |mid: u8, high: u8| {
            let mut sense = vec![0x72, 1, 0, 0x1d, 0, 0, 0, 14, 0x09, 12];
            sense.extend([0, 0, 0, 0, 0, 0, 0, mid, 0, high, 0, 0x50]);
            sense
        };
        let fixed = |mid: u8, high: u8| vec![0x70, 0, 1, 0, 0x50, 0, 0, 10, 0, 0, mid, high, 0x00, 0x1d];
        for make in [&descriptor as &dyn Fn(u8, u8) -> Vec<u8>, &fixed] {
            let read = |mid, high| parse_return_status(Registers::from_sense(&make(mid, high)).unwrap());
            assert_eq!(read(0x4f, 0xc2), Outcome::Value(ReadingValue::Flag(false)));
            assert_eq!(read(0xf4, 0x2c), Outcome::Value(ReadingValue::Flag(true)));
            assert!(matches!(read(0, 0), Outcome::Unreadable(_)));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_attributes(&data);
        }
    }
}
