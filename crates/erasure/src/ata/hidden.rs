//! Areas that a disk hides: host-protected area, device configuration overlay, accessible maximum
//! address. An erase of what can be addressed does not reach them.

use super::identify::Identify;
use super::pass_through::{Command, Registers, Transfer};

/// Addresses are 48 bits; whatever says that it has more sectors is not believed.
const SECTORS_MAX: u64 = 1 << 48;

/// READ NATIVE MAX ADDRESS EXT (ATA/ATAPI-7, 27h); the address comes back in the LBA registers.
#[must_use]
pub fn read_native_max() -> Command {
    Command::extended("READ NATIVE MAX ADDRESS EXT", 0x27, 0, 0, 0)
}

/// GET NATIVE MAX ADDRESS EXT of Accessible Max Address Configuration (ACS-4, 78h feature 0000h).
#[must_use]
pub fn get_native_max() -> Command {
    Command::extended("GET NATIVE MAX ADDRESS EXT", 0x78, 0x0000, 0, 0)
}

/// DEVICE CONFIGURATION IDENTIFY (ATA/ATAPI-7, B1h feature C2h).
#[must_use]
pub fn configuration_identify() -> Command {
    Command::short("DEVICE CONFIGURATION IDENTIFY", 0xb1, 0xc2, Transfer::In)
}

/// The number of sectors that a native maximum address in the LBA registers means.
///
/// # Errors
/// In words, if the upper half of the address did not come back.
pub fn native_sectors(registers: Registers) -> Result<u64, String> {
    if registers.complete {
        Ok(registers.lba.saturating_add(1))
    } else {
        Err("the native maximum address came back only in half".to_owned())
    }
}

/// The number of sectors in DEVICE CONFIGURATION IDENTIFY data: words 3 to 6 are the maximum address.
///
/// # Errors
/// In words, if the data are too short or have a wrong checksum (word 255).
pub fn configuration_sectors(data: &[u8]) -> Result<u64, String> {
    let Some(data) = data.get(..512) else {
        return Err(format!("the device configuration has {} bytes", data.len()));
    };
    let sum = data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if data[510] == 0xa5 && sum != 0 {
        return Err("the device configuration has a wrong checksum".to_owned());
    }
    let address = data[6..14].iter().rev().fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
    Ok(address.saturating_add(1))
}

/// How many bytes a disk hides, from its native size and its overlay where it has such.
///
/// # Errors
/// In words, where what it says contradicts itself: a native size below the one it shows, or an overlay
/// below the native size or beyond 48 bits (some disks answer such; it is no measure of anything).
pub fn hidden_bytes(
    identify: &Identify,
    native_sectors: Option<u64>,
    overlay_sectors: Option<u64>,
) -> Result<u64, String> {
    let shown = identify.sectors;
    let native = native_sectors.unwrap_or(shown);
    if native < shown || native > SECTORS_MAX {
        return Err(format!("the disk shows {shown} sectors and says that {native} are native"));
    }
    let all = overlay_sectors.unwrap_or(native);
    if all < native || all > SECTORS_MAX {
        return Err(format!("the disk has {native} native sectors and its configuration overlay says {all}"));
    }
    Ok((all - shown).saturating_mul(u64::from(identify.logical_sector_bytes)))
}
