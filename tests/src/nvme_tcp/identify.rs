//! What the device says of itself: Identify data and log pages (NVM Express Base Specification 1.4,
//! sections 5.14 and 5.15).

use std::time::Duration;

use super::wire::{CAPSULE_DATA_BYTES_MAX, DATA_BYTES_MAX};

/// Length of Identify data, in bytes.
pub const IDENTIFY_BYTES: usize = 4096;
/// Version 1.4.
pub const VERSION: u32 = 0x0001_0400;
/// The kernel refuses a fabrics controller without keep-alive; in units of 100 ms.
const KEEP_ALIVE_UNIT: u16 = 10;
/// How many asynchronous event requests are held.
pub const EVENTS_MAX: u8 = 4;

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Name of the subsystem, `nqn.…`.
    pub name: String,
    /// Serial number, at most 20 bytes.
    pub serial: String,
    /// Model, at most 40 bytes.
    pub model: String,
    /// Firmware revision, at most 8 bytes.
    pub firmware: String,
    /// Sizes of the namespaces in bytes; they are numbered from 1.
    pub namespaces: Vec<u64>,
    /// Sector size in bytes, a power of two.
    pub sector_bytes: u32,
    /// Whether it has Format NVM.
    pub format: bool,
    /// Whether Format NVM has a cryptographic erase.
    pub format_crypto: bool,
    /// Whether a format and its erase apply to all namespaces.
    pub format_covers_all: bool,
    /// Which sanitize actions it has.
    pub actions: Actions,
    /// How long block erase, overwrite and cryptographic erase take.
    pub takes: [Duration; 3],
}

/// Which sanitize actions a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actions {
    /// Block erase.
    pub block: bool,
    /// Cryptographic erase.
    pub crypto: bool,
    /// Overwrite.
    pub overwrite: bool,
}

impl Profile {
    /// An SSD with one namespace, Format NVM, and all sanitize actions, each of which takes three
    /// seconds.
    #[must_use]
    pub fn solid_state(serial: &str, size_bytes: u64) -> Self {
        Self {
            name: format!("nqn.2014-08.org.nvmexpress:reprieve:{serial}"),
            serial: serial.to_owned(),
            model: "Reprieve Fake SSD".to_owned(),
            firmware: "1.0".to_owned(),
            namespaces: vec![size_bytes],
            sector_bytes: 512,
            format: true,
            format_crypto: true,
            format_covers_all: true,
            actions: Actions { block: true, crypto: true, overwrite: true },
            takes: [Duration::from_secs(3); 3],
        }
    }
}

fn put(page: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(place) = page.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// ASCII, padded with spaces.
fn put_text(page: &mut [u8], offset: usize, length: usize, text: &str) {
    let mut bytes: Vec<u8> = text.bytes().take(length).collect();
    bytes.resize(length, b' ');
    put(page, offset, &bytes);
}

/// Identify Controller.
#[must_use]
pub fn controller(profile: &Profile, serial: &str, controller: u16) -> Vec<u8> {
    let mut page = vec![0; IDENTIFY_BYTES];
    put(&mut page, 0, &[0x36, 0x1b, 0xf4, 0x1a]);
    put_text(&mut page, 4, 20, serial);
    put_text(&mut page, 24, 40, &profile.model);
    put_text(&mut page, 64, 8, &profile.firmware);
    // CMIC: more than one controller may be there. The kernel then shows the namespaces below the
    // subsystem, where it shows those of dual-ported disks, and not below its fabrics device.
    page[76] = 0b10;
    // MDTS, in powers of two of 4 KiB.
    page[77] = u8::try_from((DATA_BYTES_MAX / 4096).trailing_zeros()).unwrap_or(0);
    put(&mut page, 78, &controller.to_le_bytes());
    put(&mut page, 80, &VERSION.to_le_bytes());
    // An I/O controller.
    page[111] = 1;
    page[256] = if profile.format { 0b10 } else { 0 };
    page[259] = EVENTS_MAX - 1;
    // Two firmware slots.
    page[260] = 2 << 1;
    put(&mut page, 266, &353_u16.to_le_bytes());
    put(&mut page, 268, &363_u16.to_le_bytes());
    put(&mut page, 320, &KEEP_ALIVE_UNIT.to_le_bytes());
    let Actions { block, crypto, overwrite } = profile.actions;
    page[328] = u8::from(crypto) | u8::from(block) << 1 | u8::from(overwrite) << 2;
    put(&mut page, 512, &[0x66, 0x44]);
    put(&mut page, 514, &128_u16.to_le_bytes());
    put(&mut page, 516, &namespace_count(profile).to_le_bytes());
    // ONCS: Dataset Management, Write Zeroes.
    page[520] = 0b1100;
    let all = u8::from(profile.format_covers_all);
    page[524] = all | all << 1 | u8::from(profile.format_crypto) << 2;
    // A volatile write cache.
    page[525] = 1;
    // NWPC: write protection exists.
    page[531] = 1;
    put(&mut page, 536, &0x0010_0001_u32.to_le_bytes());
    put(&mut page, 768, profile.name.as_bytes());
    // A capsule with its data, and a response, in units of 16 bytes.
    put(&mut page, 1792, &((64 + CAPSULE_DATA_BYTES_MAX) / 16).to_le_bytes());
    put(&mut page, 1796, &1_u32.to_le_bytes());
    page[1803] = 1;
    page
}

fn namespace_count(profile: &Profile) -> u32 {
    u32::try_from(profile.namespaces.len()).unwrap_or(u32::MAX)
}

/// Identify Namespace.
#[must_use]
pub fn namespace(size_bytes: u64, sector_bytes: u32, write_protected: bool) -> Vec<u8> {
    let mut page = vec![0; IDENTIFY_BYTES];
    let sectors = size_bytes / u64::from(sector_bytes.max(1));
    for place in [0, 8, 16] {
        put(&mut page, place, &sectors.to_le_bytes());
    }
    // It may be reached through more than one controller.
    page[30] = 1;
    page[99] = u8::from(write_protected);
    page[130] = u8::try_from(sector_bytes.trailing_zeros()).unwrap_or(0);
    page
}

/// A list of namespaces above `after`.
#[must_use]
pub fn namespace_list(profile: &Profile, after: u32) -> Vec<u8> {
    let mut page = vec![0; IDENTIFY_BYTES];
    let listed = (1..=namespace_count(profile)).filter(|id| *id > after);
    for (place, id) in (0..IDENTIFY_BYTES).step_by(4).zip(listed) {
        put(&mut page, place, &id.to_le_bytes());
    }
    page
}

/// Namespace Identification Descriptors: a UUID made of serial number and namespace.
#[must_use]
pub fn namespace_descriptors(serial: &str, namespace: u32) -> Vec<u8> {
    let mut page = vec![0; IDENTIFY_BYTES];
    let digest = blake3::hash(format!("{serial} {namespace}").as_bytes());
    put(&mut page, 0, &[3, 16]);
    put(&mut page, 4, &digest.as_bytes()[..16]);
    page
}

/// SMART / Health Information, log page 02h: a healthy disk that has moved so many bytes.
#[must_use]
pub fn smart_log(read_bytes: u64, written_bytes: u64) -> Vec<u8> {
    let mut page = vec![0; 512];
    put(&mut page, 1, &310_u16.to_le_bytes());
    put(&mut page, 3, &[100, 10, 1]);
    // In thousands of 512 bytes.
    put(&mut page, 32, &(read_bytes / 512_000).to_le_bytes());
    put(&mut page, 48, &(written_bytes / 512_000).to_le_bytes());
    put(&mut page, 112, &9_u64.to_le_bytes());
    put(&mut page, 128, &100_u64.to_le_bytes());
    page
}

/// Firmware Slot Information, log page 03h.
#[must_use]
pub fn firmware_log(profile: &Profile, pending: bool) -> Vec<u8> {
    let mut page = vec![0; 512];
    // The slot that is active, and the one that will be after the next reset.
    page[0] = if pending { 0x21 } else { 0x01 };
    put_text(&mut page, 8, 8, &profile.firmware);
    if pending {
        put_text(&mut page, 16, 8, "next");
    }
    page
}
