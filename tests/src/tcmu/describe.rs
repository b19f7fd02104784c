//! What a disk says of itself: inquiry, vital product data, modes, size, commands (SPC-5, SBC-4).

use super::command::{INQUIRY, SANITIZE, WRITE_SAME_10, WRITE_SAME_16, parse};
use super::disk::Profile;

/// Logical blocks are of this size, in bytes.
pub const BLOCK_BYTES: u64 = 512;

/// The answer to INQUIRY.
#[must_use]
pub fn inquiry(profile: &Profile) -> Vec<u8> {
    let mut bytes = vec![0; 96];
    // SPC-5, response data format 2, command queuing.
    (bytes[2], bytes[3], bytes[4], bytes[7]) = (7, 2, 91, 2);
    put_text(&mut bytes[8..16], profile.vendor);
    put_text(&mut bytes[16..32], profile.product);
    put_text(&mut bytes[32..36], "1.0");
    bytes
}

fn put_text(place: &mut [u8], text: &str) {
    place.fill(b' ');
    for (to, from) in place.iter_mut().zip(text.bytes()) {
        *to = from;
    }
}

/// A page of vital product data, if there is such a page.
#[must_use]
pub fn vital_product_data(profile: &Profile, page: u8) -> Option<Vec<u8>> {
    let content = match page {
        0x00 => vec![0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2],
        0x80 => profile.serial.as_bytes().to_vec(),
        // One designator of the logical unit: binary, NAA.
        0x83 => {
            let mut designator = vec![0x01, 0x03, 0, 8];
            designator.extend(profile.world_wide_name.to_be_bytes());
            designator
        }
        0xb0 => {
            let mut limits = vec![0; 60];
            // Most blocks of one WRITE SAME.
            limits[32..40].copy_from_slice(&profile.write_same_blocks_max.to_be_bytes());
            limits
        }
        0xb1 => {
            let mut characteristics = vec![0; 60];
            characteristics[..2].copy_from_slice(&profile.rotation.to_be_bytes());
            characteristics
        }
        // Nothing can be unmapped.
        0xb2 => vec![0; 4],
        _ => return None,
    };
    let length = u16::try_from(content.len()).ok()?.to_be_bytes();
    let mut bytes = vec![0, page, length[0], length[1]];
    bytes.extend(content);
    Some(bytes)
}

/// The answer to MODE SENSE: the caching page, where it or all pages are asked for. There is no cache.
#[must_use]
pub fn mode_sense(ten: bool, page: u8) -> Option<Vec<u8>> {
    let mut pages = vec![0; 20];
    (pages[0], pages[1]) = (0x08, 18);
    if !matches!(page, 0x08 | 0x3f) {
        return None;
    }
    // DPO and FUA are known.
    let mut bytes = if ten { vec![0, 26, 0, 0x10, 0, 0, 0, 0] } else { vec![23, 0, 0x10, 0] };
    bytes.extend(pages);
    Some(bytes)
}

/// The answer to READ CAPACITY (10).
#[must_use]
pub fn capacity_10(size_bytes: u64) -> Vec<u8> {
    let last = u32::try_from((size_bytes / BLOCK_BYTES).saturating_sub(1)).unwrap_or(u32::MAX);
    [last.to_be_bytes(), (BLOCK_BYTES as u32).to_be_bytes()].concat()
}

/// The answer to READ CAPACITY (16).
#[must_use]
pub fn capacity_16(size_bytes: u64) -> Vec<u8> {
    let mut bytes = (size_bytes / BLOCK_BYTES).saturating_sub(1).to_be_bytes().to_vec();
    bytes.extend((BLOCK_BYTES as u32).to_be_bytes());
    bytes.resize(32, 0);
    bytes
}

/// The answer to REPORT SUPPORTED OPERATION CODES about one command; none if the question is refused.
#[must_use]
pub fn operation(profile: &Profile, options: u8, operation: u8, action: u16) -> Option<Vec<u8>> {
    // Only questions about one command are known (reporting options 001b to 011b).
    if !matches!(options, 1..=3) {
        return None;
    }
    let known = match operation {
        SANITIZE => profile.sanitizes.iter().any(|one| u16::from(*one) == action),
        WRITE_SAME_10 | WRITE_SAME_16 => profile.write_same_blocks_max > 0,
        INQUIRY => true,
        _ => parse(&[operation, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_some(),
    };
    let length = match operation >> 5 {
        0 => 6,
        1 | 2 => 10,
        5 => 12,
        _ => 16,
    };
    let mut bytes = vec![0, if known { 3 } else { 1 }, 0, if known { length } else { 0 }];
    if known {
        bytes.push(operation);
        bytes.resize(4 + usize::from(length), 0xff);
    }
    Some(bytes)
}
