//! NVMe disk health: SMART / Health Information, log page 02h.

use std::fs::File;
use std::path::Path;

use contract::reading::{Outcome, ReadingKey, ReadingValue};

use super::nvme_admin::NvmePort;

/// The log page (NVM Express Base Specification, "SMART / Health Information").
const LOG_PAGE: u8 = 0x02;
/// Its length in bytes.
const LOG_BYTES: u16 = 512;

/// What this probe reads.
pub const KEYS: [ReadingKey; 5] = [
    ReadingKey::NvmeCriticalWarning,
    ReadingKey::NvmeAvailableSparePercent,
    ReadingKey::NvmeAvailableSpareThresholdPercent,
    ReadingKey::NvmePercentageUsed,
    ReadingKey::NvmeMediaErrors,
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
    let media_errors = data.get(160..176).and_then(|bytes| {
        // 128 bits; more than 64 bits of errors is as bad as the largest number we can say.
        let value = u128::from_le_bytes(bytes.try_into().ok()?);
        Some(u64::try_from(value).unwrap_or(u64::MAX))
    });
    let values = [byte(0), byte(3), byte(4), byte(5), media_errors];
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
        assert_eq!(values(&data), [Some(4), Some(99), Some(10), Some(103), Some(258)]);
        data[170] = 1;
        assert_eq!(values(&data)[4], Some(u64::MAX));
    }

    #[test]
    fn a_short_log_is_unreadable_where_it_ends() {
        assert_eq!(values(&[0, 0, 0, 100, 10]), [Some(0), Some(100), Some(10), None, None]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_all_keys(data in proptest::collection::vec(any::<u8>(), 0..usize::from(LOG_BYTES))) {
            prop_assert_eq!(parse(&data).len(), KEYS.len());
        }
    }
}
