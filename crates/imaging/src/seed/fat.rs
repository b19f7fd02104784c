//! A FAT12 volume of one fixed shape with a few files in its root folder (Microsoft's FAT specification
//! of 2000; long names after its section "Long Directory Entries").
//!
//! Sectors have 4096 bytes, so that disks with either sector size take it. Times and the serial number
//! are given, so that the same files give the same bytes.

/// Bytes of a sector; a cluster is one sector.
pub const SECTOR_BYTES: usize = 4096;
/// Sectors of the whole volume.
pub const SECTORS: usize = 256;
/// Boot sector, two tables, root folder.
const FIRST_DATA_SECTOR: usize = 4;
/// Entries of the root folder: one sector of them.
const ROOT_ENTRIES: usize = SECTOR_BYTES / ENTRY_BYTES;
const ENTRY_BYTES: usize = 32;
/// Clusters for files; FAT12 knows the volume by there being fewer than 4085.
pub const CLUSTERS: usize = SECTORS - FIRST_DATA_SECTOR;
/// The number of the first cluster; 0 and 1 are taken by marks.
const FIRST_CLUSTER: usize = 2;
const END_OF_CHAIN: u16 = 0xfff;
/// A fixed disk.
const MEDIA: u8 = 0xf8;
/// 1 January 1980, the first day that FAT knows.
const DATE: u16 = 0x0021;
const ATTRIBUTE_VOLUME_LABEL: u8 = 0x08;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;
/// UTF-16 units in one entry of a long name.
const LONG_NAME_UNITS: usize = 13;

/// A file: its long name in ASCII, its name in 8+3, and what is in it.
pub struct File<'a> {
    /// Such as `meta-data`.
    pub name: &'static str,
    /// Such as `META-D~1   `.
    pub short_name: [u8; 11],
    /// Its bytes.
    pub content: &'a [u8],
}

/// The whole volume; `None` if the files do not fit.
pub fn volume(label: [u8; 11], serial: u32, files: &[File<'_>]) -> Option<Vec<u8>> {
    let mut bytes = boot_sector(label, serial);
    let mut table: Vec<u16> = vec![0xf00 | u16::from(MEDIA), END_OF_CHAIN];
    let mut root = entry(label, ATTRIBUTE_VOLUME_LABEL, 0, 0);
    let mut data = Vec::new();
    for file in files {
        let clusters = file.content.len().div_ceil(SECTOR_BYTES);
        let first = if clusters == 0 { 0 } else { table.len() };
        for at in 1..=clusters {
            let next = if at == clusters { END_OF_CHAIN } else { u16::try_from(table.len() + 1).ok()? };
            table.push(next);
        }
        root.extend(long_name(file.name, file.short_name));
        let length = u32::try_from(file.content.len()).ok()?;
        root.extend(entry(file.short_name, ATTRIBUTE_ARCHIVE, u16::try_from(first).ok()?, length));
        data.extend_from_slice(file.content);
        data.resize(data.len().next_multiple_of(SECTOR_BYTES), 0);
    }
    if table.len() > FIRST_CLUSTER + CLUSTERS || root.len() > ROOT_ENTRIES * ENTRY_BYTES {
        return None;
    }
    let mut packed = pack(&table);
    packed.resize(SECTOR_BYTES, 0);
    root.resize(SECTOR_BYTES, 0);
    bytes.extend_from_slice(&packed);
    bytes.extend_from_slice(&packed);
    bytes.extend(root);
    bytes.extend(data);
    bytes.resize(SECTORS * SECTOR_BYTES, 0);
    Some(bytes)
}

fn boot_sector(label: [u8; 11], serial: u32) -> Vec<u8> {
    let mut sector = Vec::with_capacity(SECTORS * SECTOR_BYTES);
    // A jump over the parameters and the name of the system that made it.
    sector.extend([0xeb, 0x3c, 0x90]);
    sector.extend(b"REPRIEVE");
    sector.extend((SECTOR_BYTES as u16).to_le_bytes());
    // One sector for each cluster; one reserved; two tables.
    sector.extend([1, 1, 0, 2]);
    sector.extend((ROOT_ENTRIES as u16).to_le_bytes());
    sector.extend((SECTORS as u16).to_le_bytes());
    // One sector for each table; a geometry that nobody asks for; no hidden sectors; no 32-bit size.
    sector.extend([MEDIA, 1, 0, 32, 0, 2, 0]);
    sector.extend([0; 8]);
    // A fixed disk, with serial number, label and type.
    sector.extend([0x80, 0, 0x29]);
    sector.extend(serial.to_le_bytes());
    sector.extend(label);
    sector.extend(b"FAT12   ");
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(SECTOR_BYTES, 0);
    sector
}

/// Two entries of twelve bits in three bytes.
fn pack(table: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(table.len() * 3 / 2 + 2);
    for pair in table.chunks(2) {
        let (low, high) = (pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0));
        let both = u32::from(low & 0xfff) | u32::from(high & 0xfff) << 12;
        bytes.extend(both.to_le_bytes().into_iter().take(3));
    }
    bytes
}

fn entry(name: [u8; 11], attributes: u8, cluster: u16, length_bytes: u32) -> Vec<u8> {
    let mut entry = Vec::with_capacity(ENTRY_BYTES);
    entry.extend(name);
    entry.extend([attributes, 0, 0]);
    // Made at, made on, read on, high half of the cluster, written at, written on.
    for field in [0, DATE, DATE, 0, 0, DATE, cluster] {
        entry.extend(field.to_le_bytes());
    }
    entry.extend(length_bytes.to_le_bytes());
    entry
}

/// The entries that carry a long name, the last part of it first.
fn long_name(name: &str, short_name: [u8; 11]) -> Vec<u8> {
    let checksum = short_name.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut units: Vec<u16> = name.encode_utf16().collect();
    if !units.len().is_multiple_of(LONG_NAME_UNITS) {
        units.push(0);
    }
    units.resize(units.len().next_multiple_of(LONG_NAME_UNITS), 0xffff);
    let parts: Vec<&[u16]> = units.chunks(LONG_NAME_UNITS).collect();
    let mut bytes = Vec::with_capacity(parts.len() * ENTRY_BYTES);
    for (at, part) in parts.iter().enumerate().rev() {
        let last = if at + 1 == parts.len() { 0x40 } else { 0 };
        let number = u8::try_from(at + 1).unwrap_or(u8::MAX) | last;
        let unit = |at: usize| part.get(at).copied().unwrap_or(0xffff).to_le_bytes();
        bytes.push(number);
        bytes.extend((0..5).flat_map(unit));
        bytes.extend([ATTRIBUTE_LONG_NAME, 0, checksum]);
        bytes.extend((5..11).flat_map(unit));
        bytes.extend([0, 0]);
        bytes.extend((11..13).flat_map(unit));
    }
    bytes
}
