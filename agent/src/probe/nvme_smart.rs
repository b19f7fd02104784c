//! NVMe disk health: SMART / Health Information, log page 02h.

use std::fs::File;
use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Tier};

use super::check::Check;
use super::nvme_admin::NvmePort;

/// The log page (NVM Express Base Specification, "SMART / Health Information").
const LOG_PAGE: u8 = 0x02;
/// Its length in bytes.
const LOG_BYTES: u16 = 512;

/// Check 7.
pub const CHECK: Check = Check {
    number: 7,
    name: "NVMe disk health",
    tier: Tier::T1,
    reads: "NVMe log page 02h",
    keys: &KEYS,
    rules: &[
        "fitness/nvme-critical-warning",
        "fitness/nvme-available-spare",
        "fitness/nvme-percentage-used",
        "fitness/nvme-media-errors",
        "fitness/nvme-warning-temperature",
        "fitness/nvme-critical-temperature",
    ],
};

/// The log counts what was written in thousands of 512 bytes.
const DATA_UNIT_BYTES: u64 = 512_000;

/// What this probe reads.
pub const KEYS: [ReadingKey; 10] = [
    ReadingKey::NvmeCriticalWarning,
    ReadingKey::NvmeAvailableSparePercent,
    ReadingKey::NvmeAvailableSpareThresholdPercent,
    ReadingKey::NvmePercentageUsed,
    ReadingKey::NvmeMediaErrors,
    ReadingKey::DiskBytesWritten,
    ReadingKey::DiskPowerOnHours,
    ReadingKey::NvmeUnsafeShutdowns,
    ReadingKey::NvmeWarningTemperatureMinutes,
    ReadingKey::NvmeCriticalTemperatureMinutes,
];

/// The health of the disk at `device`; one outcome for each of [`KEYS`], in that order.
#[must_use]
pub fn read(device: &Path) -> Vec<(ReadingKey, Outcome<ReadingValue>)> {
    match File::open(device) {
        Ok(file) => read_open(&file),
        Err(error) => unread(&format!("cannot open {}: {error}", device.display())),
    }
}

/// The same of an open disk.
#[must_use]
pub fn read_open(file: &File) -> Vec<(ReadingKey, Outcome<ReadingValue>)> {
    match file.log_page(LOG_PAGE, LOG_BYTES) {
        Ok(data) => parse(&data),
        Err(error) => unread(&format!("cannot read the health log: {error}")),
    }
}

fn unread(why: &str) -> Vec<(ReadingKey, Outcome<ReadingValue>)> {
    KEYS.map(|key| (key, Outcome::Unreadable(why.to_owned()))).to_vec()
}

/// The readings in a health log.
#[must_use]
pub fn parse(data: &[u8]) -> Vec<(ReadingKey, Outcome<ReadingValue>)> {
    let count = |value: Option<u64>| match value {
        Some(value) => Outcome::Value(ReadingValue::Count(value)),
        None => Outcome::Unreadable("the health log is too short".to_owned()),
    };
    let byte = |at: usize| data.get(at).map(|&byte| u64::from(byte));
    // 128 bits; more than 64 bits of anything is as bad as the largest number we can say.
    let wide = |at: usize| {
        let value = u128::from_le_bytes(data.get(at..at + 16)?.try_into().ok()?);
        Some(u64::try_from(value).unwrap_or(u64::MAX))
    };
    let minutes = |at: usize| Some(u64::from(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?)));
    let values = [
        byte(0),
        byte(3),
        byte(4),
        byte(5),
        wide(160),
        wide(48).map(|units| units.saturating_mul(DATA_UNIT_BYTES)),
        wide(128),
        wide(144),
        minutes(192),
        minutes(196),
    ];
    KEYS.into_iter().zip(values.map(count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn values(data: &[u8]) -> Vec<Option<u64>> {
        parse(data)
            .iter()
            .map(|(_, outcome)| match outcome {
                Outcome::Value(ReadingValue::Count(count)) => Some(*count),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_log_page_is_read() {
        let mut data = vec![0; usize::from(LOG_BYTES)];
        data[0] = 0x04;
        data[3] = 99;
        data[4] = 10;
        data[5] = 103;
        data[160..162].copy_from_slice(&[0x02, 0x01]);
        assert_eq!(values(&data)[..5], [Some(4), Some(99), Some(10), Some(103), Some(258)]);
        data[170] = 1;
        assert_eq!(values(&data)[4], Some(u64::MAX));
    }

    #[test]
    fn wear_and_heat_are_read() {
        let mut data = vec![0; usize::from(LOG_BYTES)];
        data[48..50].copy_from_slice(&[0x10, 0x27]);
        data[128..130].copy_from_slice(&[0x20, 0x4e]);
        data[144] = 7;
        data[192] = 5;
        data[196..200].copy_from_slice(&[1, 1, 0, 0]);
        let expected = [Some(5_120_000_000), Some(20_000), Some(7), Some(5), Some(257)];
        assert_eq!(values(&data)[5..], expected);
        data[48..64].fill(0xff);
        assert_eq!(values(&data)[5], Some(u64::MAX), "absurd, and no overflow");
    }

    #[test]
    fn a_short_log_is_unreadable_where_it_ends() {
        let short = values(&[0, 0, 0, 100, 10]);
        assert_eq!(short[..3], [Some(0), Some(100), Some(10)]);
        assert_eq!(short[3..], [None; 7]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_all_keys(data in proptest::collection::vec(any::<u8>(), 0..usize::from(LOG_BYTES))) {
            prop_assert_eq!(parse(&data).len(), KEYS.len());
        }
    }
}
