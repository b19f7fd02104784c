//! WRITE SAME (16) (SBC-4, 93h): the disk writes one block that it is given to many.
//!
//! A command of no blocks would mean "to the end of the disk", for as long as that takes; none is ever
//! sent. UNMAP and ANCHOR are 0, so the disk is to write and not to take blocks out of use, and NDOB is
//! 0: the block of zeros goes with the command, as older disks want it.

use contract::inventory::WriteSameCapabilities;

use super::sense::{
    INVALID_FIELD, INVALID_OPERATION_CODE, INVALID_PARAMETER, KEY_ILLEGAL_REQUEST, KEY_RECOVERED,
    KEY_UNIT_ATTENTION, Sense,
};
use super::vpd::{PAGE_BLOCK_LIMITS, content};

/// Operation code of WRITE SAME (16).
pub const OPERATION_CODE: u8 = 0x93;

/// The most blocks of one command for a disk that names no limit, as Linux has it (`SD_MAX_WS10_BLOCKS`
/// in `drivers/scsi/sd.h`).
const BLOCKS_MAX_UNKNOWN: u64 = 0xffff;
/// The most blocks of one command for any disk, as Linux has it (`SD_MAX_WS16_BLOCKS`).
const BLOCKS_MAX: u64 = 0x7f_ffff;
/// Pieces begin at multiples of this many blocks where the disk's limit allows it, so that a disk whose
/// sectors are larger inside does not read before it writes.
const BLOCKS_ALIGNED: u64 = 8;

/// The command that writes the block that goes with it to `blocks` blocks from `first` on. None if there
/// is no block to write, for that has another meaning.
#[must_use]
pub fn command(first: u64, blocks: u32) -> Option<[u8; 16]> {
    if blocks == 0 {
        return None;
    }
    let [a, b, c, d, e, f, g, h] = first.to_be_bytes();
    let [i, j, k, l] = blocks.to_be_bytes();
    Some([OPERATION_CODE, 0, a, b, c, d, e, f, g, h, i, j, k, l, 0, 0])
}

/// What VPD page B0h (Block Limits) says of it: MAXIMUM WRITE SAME LENGTH, bytes 36 to 43. None of a page
/// that is shorter (SBC-2) or says 0: the disk names no limit. None too if it is another page.
#[must_use]
pub fn capabilities(page: &[u8]) -> WriteSameCapabilities {
    let field = content(PAGE_BLOCK_LIMITS, page).and_then(|content| content.get(32..40));
    let blocks = field.and_then(|field| field.try_into().ok()).map(u64::from_be_bytes);
    WriteSameCapabilities { blocks_max: blocks.filter(|blocks| *blocks > 0) }
}

/// How many blocks one command writes of `wanted`: no more than the disk takes, and whole multiples of
/// [`BLOCKS_ALIGNED`] if it does not take them all.
#[must_use]
pub fn blocks_at_once(wanted: u64, limits: WriteSameCapabilities) -> u32 {
    let most = limits.blocks_max.unwrap_or(BLOCKS_MAX_UNKNOWN).min(BLOCKS_MAX);
    let blocks = match (wanted <= most, most - most % BLOCKS_ALIGNED) {
        (true, _) => wanted,
        (false, 0) => most,
        (false, aligned) => aligned,
    };
    // At most BLOCKS_MAX, which fits.
    u32::try_from(blocks).unwrap_or(u32::MAX)
}

/// What a disk's answer to the command means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It says that it wrote.
    Good,
    /// Something else happened to it before (a reset, say), and nothing was written: once more.
    Again,
    /// It has no such command, or not as we give it, and wrote nothing.
    Refused,
    /// Anything else; nobody knows what was written.
    Failed,
}

/// What an answer of this status with these sense data means. Only a refusal of the command as such is
/// one: that the blocks are not there, or the disk is write-protected, would be no better otherwise.
#[must_use]
pub fn ended(status: u8, sense: &[u8]) -> Ended {
    if status == 0 {
        return Ended::Good;
    }
    match Sense::parse(sense) {
        // About an earlier command: what that one wrote is not on the medium.
        None | Some(Sense { deferred: true, .. }) => Ended::Failed,
        Some(Sense { key: KEY_UNIT_ATTENTION, .. }) => Ended::Again,
        Some(Sense { key: KEY_RECOVERED, .. }) => Ended::Good,
        Some(Sense { key: KEY_ILLEGAL_REQUEST, additional, .. })
            if [INVALID_OPERATION_CODE, INVALID_FIELD, INVALID_PARAMETER].contains(&additional) =>
        {
            Ended::Refused
        }
        Some(_) => Ended::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn fixed(response: u8, key: u8, additional: (u8, u8)) -> Vec<u8> {
        vec![response, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, additional.0, additional.1, 0, 0, 0, 0]
    }

    #[test]
    fn the_command_byte_by_byte() {
        let bytes = command(0x0102_0304_0506_0708, 0x0a0b_0c0d).unwrap();
        assert_eq!(bytes, [0x93, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xa, 0xb, 0xc, 0xd, 0, 0]);
        assert_eq!(command(0, 0), None, "no blocks means all blocks");
    }

    #[test]
    fn the_limit_is_the_disk_s_and_never_more_than_is_bounded() {
        let mut page = vec![0; 64];
        (page[1], page[3]) = (0xb0, 60);
        assert_eq!(capabilities(&page).blocks_max, None, "0 is no limit");
        page[36..44].copy_from_slice(&0x0000_0001_0000_0002_u64.to_be_bytes());
        assert_eq!(capabilities(&page).blocks_max, Some(0x1_0000_0002));
        page[3] = 39;
        assert_eq!(capabilities(&page).blocks_max, None, "the page ends before it");
        (page[1], page[3]) = (0xb1, 60);
        assert_eq!(capabilities(&page).blocks_max, None, "another page");
        let at_once = |wanted, blocks_max| blocks_at_once(wanted, WriteSameCapabilities { blocks_max });
        assert_eq!(at_once(1 << 40, None), 65_528);
        assert_eq!(at_once(1 << 40, Some(u64::MAX)), 8_388_600);
        assert_eq!(at_once(1 << 40, Some(65_535)), 65_528);
        assert_eq!(at_once(1 << 40, Some(7)), 7);
        assert_eq!(at_once(13, Some(65_535)), 13);
    }

    #[test]
    fn only_a_refusal_of_the_command_is_one() {
        let cases = [
            (0, Vec::new(), Ended::Good),
            (2, fixed(0x70, 1, (0x17, 1)), Ended::Good),
            (2, fixed(0x70, 6, (0x29, 0)), Ended::Again),
            (2, fixed(0x70, 5, (0x20, 0)), Ended::Refused),
            (2, fixed(0x70, 5, (0x24, 0)), Ended::Refused),
            (2, fixed(0x70, 5, (0x26, 0)), Ended::Refused),
            // The disk is smaller than it says.
            (2, fixed(0x70, 5, (0x21, 0)), Ended::Failed),
            (2, fixed(0x70, 7, (0x27, 0)), Ended::Failed),
            (2, fixed(0x70, 3, (0x0c, 0)), Ended::Failed),
            (2, fixed(0x71, 5, (0x20, 0)), Ended::Failed),
            (2, fixed(0x71, 1, (0x17, 1)), Ended::Failed),
            (2, Vec::new(), Ended::Failed),
            (8, Vec::new(), Ended::Failed),
        ];
        for (status, sense, expected) in cases {
            assert_eq!(ended(status, &sense), expected, "{status} {sense:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_page_and_any_answer_are_survived(
            data in proptest::collection::vec(any::<u8>(), 0..80), status: u8, wanted in 1..u64::MAX,
        ) {
            let limits = capabilities(&data);
            let blocks = blocks_at_once(wanted, limits);
            prop_assert!(blocks > 0 && u64::from(blocks) <= wanted);
            prop_assert!(limits.blocks_max.is_none_or(|most| u64::from(blocks) <= most));
            prop_assert_eq!(ended(status, &data) == Ended::Good && status != 0, {
                let sense = Sense::parse(&data);
                status != 0 && sense.is_some_and(|sense| sense.key == 1 && !sense.deferred)
            });
        }
    }
}
