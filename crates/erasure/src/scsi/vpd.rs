//! Vital product data, as the kernel asked for them with INQUIRY and keeps them in sysfs, or as asked for.

/// Page of the serial number of the unit.
pub const PAGE_SERIAL: u8 = 0x80;
/// Page of a disk behind SCSI/ATA Translation.
pub const PAGE_ATA_INFORMATION: u8 = 0x89;

/// Page of the limits of commands (SBC-4).
pub const PAGE_BLOCK_LIMITS: u8 = 0xb0;

/// The content of a page after its four bytes of head; none if it is another page or nothing.
#[must_use]
pub fn content(page: u8, data: &[u8]) -> Option<&[u8]> {
    if *data.get(1)? != page {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([*data.get(2)?, *data.get(3)?]));
    let rest = data.get(4..)?;
    Some(rest.get(..length).unwrap_or(rest))
}

/// Whether this is a disk behind SCSI/ATA Translation: the page is there and its command code (byte 56)
/// is that of IDENTIFY DEVICE.
#[must_use]
pub fn is_ata_disk(page: &[u8]) -> bool {
    page.get(1) == Some(&PAGE_ATA_INFORMATION) && page.get(56) == Some(&0xec)
}

/// The IDENTIFY data in ATA Information (bytes 60 to 571). A translator may have read them long ago.
#[must_use]
pub fn ata_identify(page: &[u8]) -> Option<&[u8]> {
    if is_ata_disk(page) { page.get(60..572) } else { None }
}
