//! ATA disk health: SMART READ DATA and SMART RETURN STATUS.

use std::fs::File;
use std::io;
use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Tier};
use erasure::ata::pass_through::{Command, Registers, Transfer};

use super::ata_port::AtaPort;
use super::check::Check;
use super::scsi_generic::READ_TIMEOUT_MILLIS;

/// Check 9.
pub const CHECK: Check = Check {
    number: 9,
    name: "ATA disk health",
    tier: Tier::T1,
    reads: "SMART READ DATA, SMART RETURN STATUS",
    keys: &KEYS,
    rules: &[
        "fitness/ata-reallocated-sectors",
        "fitness/ata-reported-uncorrectable",
        "fitness/ata-pending-sectors",
        "fitness/ata-offline-uncorrectable",
        "fitness/ata-spin-retries",
        "fitness/ata-command-timeouts",
        "fitness/ata-interface-crc-errors",
        "fitness/ata-smart-threshold",
    ],
};

/// What this probe reads.
pub const KEYS: [ReadingKey; 10] = [
    ReadingKey::AtaReallocatedSectors,
    ReadingKey::AtaReportedUncorrectable,
    ReadingKey::AtaPendingSectors,
    ReadingKey::AtaOfflineUncorrectable,
    ReadingKey::AtaSpinRetries,
    ReadingKey::AtaCommandTimeouts,
    ReadingKey::AtaInterfaceCrcErrors,
    ReadingKey::DiskPowerOnHours,
    ReadingKey::DiskBytesWritten,
    ReadingKey::AtaSmartThresholdExceeded,
];

/// Which part of the six raw bytes of an attribute is the number.
#[derive(Debug, Clone, Copy)]
enum Raw {
    /// The lower 32 bits; the upper two bytes are vendors' extras on many disks.
    Lower32,
    /// The lower 16 bits: some makers pack three numbers, of which this is the one that all others mean.
    Lower16,
    /// All 48 bits, counted in sectors of 512 bytes, as ACS counts what was written.
    Sectors,
}

/// Numbers of the attributes of the first nine of [`KEYS`], and how they are read. Attributes 1 and 7 are
/// not here: their raw values are rates packed with counts of operations, and healthy disks show millions.
const ATTRIBUTES: [(u8, Raw); 9] = [
    (5, Raw::Lower32),
    (187, Raw::Lower32),
    (197, Raw::Lower32),
    (198, Raw::Lower32),
    (10, Raw::Lower32),
    (188, Raw::Lower16),
    (199, Raw::Lower32),
    (9, Raw::Lower32),
    (241, Raw::Sectors),
];
/// SMART data is one sector.
const SMART_BYTES: usize = 512;
/// What was written is counted in these (ACS, Logical Sectors Written of disks with sectors of 512 bytes).
const SECTOR_BYTES: u64 = 512;
/// LBA mid and high of every SMART command (ACS-3).
const SIGNATURE: u64 = 0xc2_4f00;

/// SMART READ DATA.
pub(super) fn read_data() -> Command {
    Command { lba: SIGNATURE, ..Command::short("SMART READ DATA", 0xb0, 0xd0, Transfer::In) }
}

/// SMART RETURN STATUS.
fn return_status() -> Command {
    Command { lba: SIGNATURE, ..Command::short("SMART RETURN STATUS", 0xb0, 0xda, Transfer::None) }
}

/// SMART READ LOG of one sector.
pub(super) fn read_log(address: u8) -> Command {
    let lba = SIGNATURE | u64::from(address);
    Command { lba, ..Command::short("SMART READ LOG", 0xb0, 0xd5, Transfer::In) }
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

/// A sector of SMART data, whole and with the checksum that every such sector has.
///
/// # Errors
/// In words, where it is neither.
pub(super) fn checked(data: &[u8]) -> Result<&[u8], String> {
    let Some(data) = data.get(..SMART_BYTES) else { return Err("the SMART data is too short".to_owned()) };
    let sum = data.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if sum == 0 { Ok(data) } else { Err("the SMART data has a wrong checksum".to_owned()) }
}

/// Raw values of [`ATTRIBUTES`] in SMART data (30 entries of 12 bytes from offset 2). A disk that does
/// not keep an attribute does not have it: absent.
#[must_use]
pub fn parse_attributes(data: &[u8]) -> [Outcome<ReadingValue>; 9] {
    let data = match checked(data) {
        Ok(data) => data,
        Err(why) => return ATTRIBUTES.map(|_| Outcome::Unreadable(why.clone())),
    };
    ATTRIBUTES.map(|(wanted, raw)| {
        let entry = data[2..362].chunks_exact(12).find(|entry| entry[0] == wanted);
        entry.map_or(Outcome::Absent, |entry| Outcome::Value(ReadingValue::Count(raw.count(entry))))
    })
}

impl Raw {
    /// The number in an entry of 12 bytes, whose raw value stands in bytes 5 to 10.
    fn count(self, entry: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        bytes[..6].copy_from_slice(&entry[5..11]);
        let whole = u64::from_le_bytes(bytes);
        match self {
            Self::Lower32 => whole & 0xffff_ffff,
            Self::Lower16 => whole & 0xffff,
            // 48 bits of sectors are less than 64 bits of bytes.
            Self::Sectors => whole * SECTOR_BYTES,
        }
    }
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

    fn smart_data(entries: &[(u8, [u8; 6])]) -> Vec<u8> {
        let mut data = vec![0u8; SMART_BYTES];
        for (slot, (id, raw)) in entries.iter().enumerate() {
            let at = 2 + 12 * slot;
            data[at] = *id;
            data[at + 5..at + 11].copy_from_slice(raw);
        }
        let sum = data.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        data[511] = 0u8.wrapping_sub(sum);
        data
    }

    fn counts(entries: &[(u8, [u8; 6])]) -> Vec<Option<u64>> {
        let counted = |outcome: &Outcome<ReadingValue>| match outcome {
            Outcome::Value(ReadingValue::Count(count)) => Some(*count),
            Outcome::Absent => None,
            other => panic!("{other:?}"),
        };
        parse_attributes(&smart_data(entries)).iter().map(counted).collect()
    }

    #[test]
    fn attributes_are_found_wherever_they_stand() {
        let found = counts(&[(1, [7; 6]), (198, [3, 0, 0, 0, 0, 0]), (7, [9; 6]), (5, [2, 1, 0, 0, 9, 9])]);
        assert_eq!(found[..4], [Some(258), None, None, Some(3)], "the upper two bytes are a maker's own");
        assert_eq!(found[4..], [None; 5], "rates in attributes 1 and 7 are nobody's errors");
    }

    #[test]
    fn a_disk_of_each_kind_is_read() {
        // As a Seagate disk packs 188: three numbers of 16 bits.
        let packed = [(188, [1, 0, 2, 0, 3, 0]), (10, [0; 6]), (199, [4, 0, 0, 0, 0, 0])];
        assert_eq!(counts(&packed)[4..7], [Some(0), Some(1), Some(4)]);
        // 20,000 hours with milliseconds packed above them; 1 TiB in sectors.
        let aged = [(9, [0x20, 0x4e, 0, 0, 0x5a, 0x01]), (241, [0, 0, 0, 0x80, 0, 0])];
        assert_eq!(counts(&aged)[7..], [Some(20_000), Some(1 << 40)]);
        assert_eq!(counts(&[(241, [0xff; 6])])[8], Some(((1 << 48) - 1) * 512), "absurd, and no overflow");
    }

    #[test]
    fn short_or_altered_data_is_unreadable_not_absent() {
        let mut data = smart_data(&[(5, [0; 6])]);
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
