//! IDENTIFY DEVICE, as far as erasing needs it.

use contract::inventory::AtaCapabilities;
use contract::reading::Outcome;

/// IDENTIFY DEVICE data are 256 words.
pub const IDENTIFY_BYTES: usize = 512;

/// What a disk says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a bit of the standard's
pub struct Identify {
    /// Words 100-103 where the 48-bit feature set is supported (word 83 bit 10), else words 60-61.
    pub sectors: u64,
    /// Words 117-118 in words of 16 bits where word 106 says so, else 512 bytes.
    pub logical_sector_bytes: u32,
    /// Word 48 bit 0: the Trusted Computing feature set.
    pub trusted_computing: bool,
    /// Word 59 bit 12: SANITIZE DEVICE.
    pub sanitize: bool,
    /// Word 59 bit 13: CRYPTO SCRAMBLE EXT.
    pub sanitize_crypto: bool,
    /// Word 59 bit 14: OVERWRITE EXT.
    pub sanitize_overwrite: bool,
    /// Word 59 bit 15: BLOCK ERASE EXT.
    pub sanitize_block: bool,
    /// Word 82 bit 10: Host Protected Area.
    pub host_protected_area: bool,
    /// Word 83 bit 11: Device Configuration Overlay.
    pub configuration_overlay: bool,
    /// Word 119 bit 8: Accessible Max Address Configuration.
    pub accessible_max_address: bool,
    /// Word 83 bit 10: 48-bit addresses.
    pub long_addresses: bool,
    /// Word 128 bit 0: the security feature set.
    pub security_supported: bool,
    /// Word 128 bit 1 or word 85 bit 1: a user password is set. Either is enough; it is the cautious
    /// reading where they differ.
    pub security_enabled: bool,
    /// Word 128 bit 2.
    pub security_locked: bool,
    /// Word 128 bit 3.
    pub security_frozen: bool,
    /// Word 128 bit 4.
    pub security_count_expired: bool,
    /// Word 128 bit 5.
    pub enhanced_erase: bool,
    /// Word 89, in minutes; none where the disk does not say.
    pub erase_estimate_minutes: Option<u32>,
    /// Word 90, in minutes.
    pub enhanced_estimate_minutes: Option<u32>,
    /// Word 217: 1 is no rotation, 1025 and more are turns a minute; none where the disk does not say.
    pub rotation: Option<u16>,
}

impl Identify {
    /// Reads IDENTIFY DEVICE data.
    ///
    /// # Errors
    /// In words, if they are too short, have a wrong checksum (word 255), are those of a packet device
    /// or describe no disk (all zeros, which some bridges answer).
    pub fn parse(data: &[u8]) -> Result<Self, String> {
        let Some(data) = data.get(..IDENTIFY_BYTES) else {
            return Err(format!("the IDENTIFY data have {} bytes, not {IDENTIFY_BYTES}", data.len()));
        };
        let sum = data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        if data[510] == 0xa5 && sum != 0 {
            return Err("the IDENTIFY data have a wrong checksum".to_owned());
        }
        let word = |number: usize| u16::from_le_bytes([data[2 * number], data[2 * number + 1]]);
        if word(0) & 0x8000 != 0 {
            return Err("the IDENTIFY data are not those of a disk".to_owned());
        }
        let bit = |number: usize, bit: u32| word(number) & (1 << bit) != 0;
        // Words 48, 83, 106 and 119 mean something only where bits 15:14 are 01b.
        let valid = |number: usize| word(number) >> 14 == 0b01;
        let valid_bit = |number: usize, which: u32| valid(number) && bit(number, which);
        let long_addresses = valid_bit(83, 10);
        let join =
            |words: &[usize]| words.iter().rev().fold(0_u64, |all, at| (all << 16) | u64::from(word(*at)));
        let sectors = if long_addresses { join(&[100, 101, 102, 103]) } else { join(&[60, 61]) };
        if sectors == 0 {
            return Err("the IDENTIFY data name no sectors".to_owned());
        }
        let sector_words = join(&[117, 118]);
        let large_sectors = valid_bit(106, 12) && sector_words > 256;
        Ok(Self {
            sectors,
            logical_sector_bytes: match u32::try_from(sector_words.saturating_mul(2)) {
                Ok(bytes) if large_sectors => bytes,
                _ => 512,
            },
            trusted_computing: valid_bit(48, 0),
            sanitize: bit(59, 12),
            sanitize_crypto: bit(59, 12) && bit(59, 13),
            sanitize_overwrite: bit(59, 12) && bit(59, 14),
            sanitize_block: bit(59, 12) && bit(59, 15),
            host_protected_area: bit(82, 10) && word(82) != 0xffff,
            configuration_overlay: valid_bit(83, 11),
            accessible_max_address: valid_bit(119, 8),
            long_addresses,
            security_supported: bit(128, 0),
            security_enabled: bit(128, 1) || bit(85, 1) && word(85) != 0xffff,
            security_locked: bit(128, 2),
            security_frozen: bit(128, 3),
            security_count_expired: bit(128, 4),
            enhanced_erase: bit(128, 5),
            erase_estimate_minutes: estimate_minutes(word(89)),
            enhanced_estimate_minutes: estimate_minutes(word(90)),
            rotation: match word(217) {
                1 => Some(1),
                turns @ 0x0401..=0xfffe => Some(turns),
                _ => None,
            },
        })
    }

    /// The same as facts for the inventory, with what looking for hidden areas gave.
    #[must_use]
    pub fn capabilities(&self, hidden_bytes: Outcome<u64>) -> AtaCapabilities {
        AtaCapabilities {
            security_supported: self.security_supported,
            security_enabled: self.security_enabled,
            security_locked: self.security_locked,
            security_frozen: self.security_frozen,
            security_count_expired: self.security_count_expired,
            enhanced_erase: self.enhanced_erase,
            erase_estimate_minutes: self.erase_estimate_minutes,
            enhanced_estimate_minutes: self.enhanced_estimate_minutes,
            hidden_bytes,
        }
    }
}

/// Words 89 and 90: twice the number of minutes, in bits 14:0 where bit 15 is set and in bits 7:0 else.
/// The largest number of each form means "longer than that"; it is passed on as it is.
fn estimate_minutes(word: u16) -> Option<u32> {
    let halves = if word & 0x8000 != 0 { word & 0x7fff } else { word & 0x00ff };
    (halves != 0).then_some(u32::from(halves) * 2)
}
