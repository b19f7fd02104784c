//! Log page 03h, Firmware Slot Information.

/// Length of the log page in bytes.
pub const LOG_BYTES: u16 = 512;

/// Whether a firmware waits for a reset to become active, which makes a controller refuse a sanitize.
/// AFI (byte 0): bits 2:0 are the active slot, bits 6:4 the slot of the next reset, 0 where the
/// controller does not say. Some controllers name the active slot as the next one for ever; that is no
/// change. None if there are no data.
#[must_use]
pub fn activation_pending(data: &[u8]) -> Option<bool> {
    let active_firmware = *data.first()?;
    let (now, next) = (active_firmware & 0b111, (active_firmware >> 4) & 0b111);
    Some(next != 0 && next != now)
}
