//! Vital product data, as the kernel asked for them with INQUIRY and keeps them in sysfs.

/// Page of the serial number of the unit.
pub const PAGE_SERIAL: u8 = 0x80;
/// Page of names of the unit.
pub const PAGE_DESIGNATORS: u8 = 0x83;
/// Page of a disk behind SCSI/ATA Translation.
pub const PAGE_ATA_INFORMATION: u8 = 0x89;

/// Names in a page are no more than this; a page of 64 KiB could hold thousands.
const DESIGNATORS_MAX: usize = 64;

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

/// A name of the unit or of something it is reached by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Designator {
    /// What it names: 0 the unit, 1 the port, 2 the target.
    pub association: u8,
    /// How it is made: 1 a vendor's, 2 EUI-64, 3 NAA, 8 a SCSI name.
    pub kind: u8,
    /// Its bytes.
    pub name: Vec<u8>,
}

/// The names in page 83h, up to the first that is cut off.
#[must_use]
pub fn designators(data: &[u8]) -> Vec<Designator> {
    let mut rest = content(PAGE_DESIGNATORS, data).unwrap_or_default();
    let mut found = Vec::new();
    while let [_, about, _, length, ..] = *rest
        && found.len() < DESIGNATORS_MAX
        && let Some(name) = rest.get(4..4 + usize::from(length))
    {
        found.push(Designator { association: (about >> 4) & 0b11, kind: about & 0xf, name: name.to_vec() });
        rest = &rest[4 + usize::from(length)..];
    }
    found
}
