//! INQUIRY: who answers for a disk.

/// Operation code of INQUIRY.
pub const OPERATION_CODE: u8 = 0x12;
/// Length of the data that every device has, in bytes.
pub const DATA_BYTES: u8 = 36;

/// What a translator to ATA names as the vendor (SCSI/ATA Translation 5, standard INQUIRY data).
const VENDOR_OF_TRANSLATORS: &[u8; 8] = b"ATA     ";

/// The command for the standard data.
#[must_use]
pub fn command() -> [u8; 6] {
    [OPERATION_CODE, 0, 0, 0, DATA_BYTES, 0]
}

/// The command for a page of vital product data, with room for this many bytes.
#[must_use]
pub fn page_command(page: u8, bytes: u8) -> [u8; 6] {
    [OPERATION_CODE, 1, page, 0, bytes, 0]
}

/// Whether a translator to ATA answers for the disk (vendor, bytes 8 to 15); none if the data end too early.
#[must_use]
pub fn is_translated(data: &[u8]) -> Option<bool> {
    data.get(8..16).map(|vendor| vendor == VENDOR_OF_TRANSLATORS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    #[test]
    fn a_translator_is_known_by_its_vendor() {
        let mut data = [0; DATA_BYTES as usize];
        assert_eq!(is_translated(&data), Some(false));
        data[8..16].copy_from_slice(b"ATA     ");
        assert_eq!(is_translated(&data), Some(true));
        assert_eq!(is_translated(&data[..15]), None);
        data[8..16].copy_from_slice(b"ATAXY   ");
        assert_eq!(is_translated(&data), Some(false));
        assert_eq!(command(), [0x12, 0, 0, 0, 36, 0]);
        assert_eq!(page_command(0xb0, 64), [0x12, 1, 0xb0, 0, 64, 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(is_translated(&data).is_some() == (data.len() >= 16));
        }
    }
}
