//! GUID partition tables (UEFI specification 2.10, §5.3): reading hostile ones, writing our own.
//!
//! Own code rather than a crate, because an image's table comes from outside: the crate that was
//! tried multiplies its numbers unchecked. Tests read what is written here with that crate.

use uuid::Uuid;

use crate::source::ReadAt;
use crate::validate::PARTITIONS_MAX;

/// Size of one partition entry in bytes, the one that all tools write.
const ENTRY_BYTES: usize = 128;

/// Size of all partition entries in bytes.
const ENTRIES_BYTES: usize = PARTITIONS_MAX as usize * ENTRY_BYTES;

/// Size of the header in bytes.
const HEADER_BYTES: usize = 92;

const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: [u8; 4] = [0, 0, 1, 0];

/// Why no partition table could be read.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// There is none, at either sector size.
    #[error("there is no GUID partition table; images need one (MBR tables are not supported)")]
    None,
    /// The medium could not be read.
    #[error("could not read {what}")]
    Read {
        /// What was being read.
        what: &'static str,
        /// What the medium said.
        #[source]
        source: std::io::Error,
    },
    /// It is damaged.
    #[error("the partition table is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The disk that it describes is larger than the medium.
    #[error(
        "the partition table is for a disk of at least {table_bytes} bytes, but there are only {found_bytes}: the image is cut off"
    )]
    CutOff {
        /// What the table describes, in bytes.
        table_bytes: u64,
        /// What there is, in bytes.
        found_bytes: u64,
    },
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its type.
    pub type_guid: Uuid,
    /// Its identity.
    pub unique_guid: Uuid,
    /// First sector.
    pub first_sector: u64,
    /// Last sector, included.
    pub last_sector: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// Its name; what is not UTF-16 is replaced.
    pub name: String,
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpt {
    /// Logical sector size in bytes.
    pub sector_bytes: u32,
    /// Identity of the disk.
    pub disk_guid: Uuid,
    /// Where the other copy of the header stands, in sectors.
    pub backup_sector: u64,
    /// The partitions, ordered by number.
    pub partitions: Vec<Partition>,
}

/// The first byte after MBR, header and entries: where the first partition may begin.
#[must_use]
pub fn first_usable_byte(sector_bytes: u32) -> u64 {
    2 * u64::from(sector_bytes) + ENTRIES_BYTES as u64
}

/// How many bytes the backup table takes at the end of a disk.
#[must_use]
pub fn backup_bytes(sector_bytes: u32) -> u64 {
    u64::from(sector_bytes) + ENTRIES_BYTES as u64
}

impl Gpt {
    /// Reads the primary table, trying sectors of 512 and then of 4096 bytes.
    ///
    /// # Errors
    /// [`GptError`] if there is none, it is damaged, or describes a larger disk than `source`.
    pub fn read<S: ReadAt + ?Sized>(source: &S) -> Result<Self, GptError> {
        match Self::read_with(source, 512, 1) {
            Err(GptError::None) => Self::read_with(source, 4096, 1),
            other => other,
        }
    }

    /// Reads the backup table, whose header is in the last whole sector of `source`, trying sectors of
    /// 512 and then of 4096 bytes. What it says is in the form of the primary one.
    ///
    /// # Errors
    /// As [`Gpt::read`].
    pub fn read_backup<S: ReadAt + ?Sized>(source: &S) -> Result<Self, GptError> {
        let read = |sector_bytes: u32| {
            let last = (source.size_bytes() / u64::from(sector_bytes)).saturating_sub(1);
            let found = Self::read_with(source, sector_bytes, last)?;
            Ok(Self { backup_sector: last, ..found })
        };
        match read(512) {
            Err(GptError::None) => read(4096),
            other => other,
        }
    }

    fn read_with<S: ReadAt + ?Sized>(
        source: &S,
        sector_bytes: u32,
        header_sector: u64,
    ) -> Result<Self, GptError> {
        let sector = u64::from(sector_bytes);
        if source.size_bytes() < first_usable_byte(sector_bytes) {
            return Err(GptError::None);
        }
        let mut header = [0; HEADER_BYTES];
        let read = |what, offset, buffer: &mut [u8]| {
            source.read_at(offset, buffer).map_err(|source| GptError::Read { what, source })
        };
        read("the header of the partition table", header_sector.saturating_mul(sector), &mut header)?;
        if !header.starts_with(SIGNATURE) {
            return Err(GptError::None);
        }
        let fields = parse_header(&header, header_sector)?;
        let mut entries = vec![0; ENTRIES_BYTES];
        let entries_offset = fields
            .entries_sector
            .checked_mul(sector)
            .ok_or(GptError::Damaged { what: "its entries are nowhere" })?;
        read("the entries of the partition table", entries_offset, &mut entries)?;
        if crc32fast::hash(&entries) != fields.entries_crc {
            return Err(GptError::Damaged { what: "the checksum of its entries is wrong" });
        }
        check_size(fields.other_sector.max(header_sector), sector_bytes, source.size_bytes())?;
        let partitions = parse_entries(&entries, &fields, fields.other_sector.max(header_sector))?;
        Ok(Self { sector_bytes, disk_guid: fields.disk_guid, backup_sector: fields.other_sector, partitions })
    }

    /// The table as it stands at the start of a disk of `disk_sectors`: header at sector 1 and
    /// entries from sector 2 on. The first sector (the MBR) is not in it.
    #[must_use]
    pub(crate) fn encode_primary(&self, disk_sectors: u64) -> Vec<u8> {
        let mut bytes = self.encode_header(1, self.backup_sector, 2, disk_sectors);
        bytes.resize(self.sector_bytes as usize, 0);
        bytes.extend(self.encode_entries());
        bytes
    }

    /// The table as it stands at the end of a disk of `disk_sectors`: entries, then the header in the
    /// last sector.
    #[must_use]
    pub(crate) fn encode_backup(&self, disk_sectors: u64) -> Vec<u8> {
        let entry_sectors = ENTRIES_BYTES as u64 / u64::from(self.sector_bytes);
        let entries_at = self.backup_sector.saturating_sub(entry_sectors);
        let mut header = self.encode_header(self.backup_sector, 1, entries_at, disk_sectors);
        header.resize(self.sector_bytes as usize, 0);
        [self.encode_entries(), header].concat()
    }

    fn encode_header(&self, here: u64, other: u64, entries_at: u64, disk_sectors: u64) -> Vec<u8> {
        let sector = u64::from(self.sector_bytes);
        let first_usable = first_usable_byte(self.sector_bytes) / sector;
        let last_usable = disk_sectors.saturating_sub(backup_bytes(self.sector_bytes) / sector + 1);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(SIGNATURE);
        header.extend_from_slice(&REVISION);
        header.extend_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        header.extend_from_slice(&[0; 8]); // checksum, filled in below; reserved
        for number in [here, other, first_usable, last_usable] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        header.extend_from_slice(&self.disk_guid.to_bytes_le());
        header.extend_from_slice(&entries_at.to_le_bytes());
        header.extend_from_slice(&PARTITIONS_MAX.to_le_bytes());
        header.extend_from_slice(&(ENTRY_BYTES as u32).to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(&self.encode_entries()).to_le_bytes());
        let checksum = crc32fast::hash(&header).to_le_bytes();
        header.splice(16..20, checksum);
        header
    }

    fn encode_entries(&self) -> Vec<u8> {
        let mut entries = vec![0; ENTRIES_BYTES];
        for (index, slot) in entries.chunks_exact_mut(ENTRY_BYTES).enumerate() {
            let Some(partition) = self.partitions.iter().find(|p| p.number as usize == index + 1) else {
                continue;
            };
            let mut entry = Vec::with_capacity(ENTRY_BYTES);
            entry.extend_from_slice(&partition.type_guid.to_bytes_le());
            entry.extend_from_slice(&partition.unique_guid.to_bytes_le());
            entry.extend_from_slice(&partition.first_sector.to_le_bytes());
            entry.extend_from_slice(&partition.last_sector.to_le_bytes());
            entry.extend_from_slice(&partition.attributes.to_le_bytes());
            entry.extend(partition.name.encode_utf16().flat_map(u16::to_le_bytes));
            entry.resize(ENTRY_BYTES, 0);
            slot.copy_from_slice(&entry);
        }
        entries
    }
}

struct HeaderFields {
    /// Where the other copy stands.
    other_sector: u64,
    first_usable: u64,
    last_usable: u64,
    disk_guid: Uuid,
    entries_sector: u64,
    entries_crc: u32,
}

fn parse_header(header: &[u8; HEADER_BYTES], here: u64) -> Result<HeaderFields, GptError> {
    let damaged = |what| Err(GptError::Damaged { what });
    if header[8..12] != REVISION || u32_at(header, 12) != HEADER_BYTES as u32 {
        return damaged("its header has an unknown revision or size");
    }
    let mut blanked = *header;
    blanked[16..20].fill(0);
    if crc32fast::hash(&blanked) != u32_at(header, 16) {
        return damaged("the checksum of its header is wrong");
    }
    if u64_at(header, 24) != here {
        return damaged("its header says that it stands elsewhere");
    }
    if u32_at(header, 80) != PARTITIONS_MAX || u32_at(header, 84) != ENTRY_BYTES as u32 {
        return damaged("it does not have 128 entries of 128 bytes");
    }
    Ok(HeaderFields {
        other_sector: u64_at(header, 32),
        first_usable: u64_at(header, 40),
        last_usable: u64_at(header, 48),
        disk_guid: guid_at(header, 56),
        entries_sector: u64_at(header, 72),
        entries_crc: u32_at(header, 88),
    })
}

fn check_size(backup_sector: u64, sector_bytes: u32, found_bytes: u64) -> Result<(), GptError> {
    let table_bytes = backup_sector.saturating_add(1).saturating_mul(u64::from(sector_bytes));
    if table_bytes > found_bytes {
        return Err(GptError::CutOff { table_bytes, found_bytes });
    }
    Ok(())
}

fn parse_entries(
    entries: &[u8],
    header: &HeaderFields,
    backup_sector: u64,
) -> Result<Vec<Partition>, GptError> {
    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(ENTRY_BYTES)) {
        let type_guid = guid_at(entry, 0);
        if type_guid.is_nil() {
            continue;
        }
        let (first_sector, last_sector) = (u64_at(entry, 32), u64_at(entry, 40));
        let inside = first_sector >= header.first_usable
            && first_sector <= last_sector
            && last_sector <= header.last_usable
            && last_sector < backup_sector;
        if !inside {
            return Err(GptError::Damaged { what: "a partition lies outside of the usable sectors" });
        }
        partitions.push(Partition {
            number,
            type_guid,
            unique_guid: guid_at(entry, 16),
            first_sector,
            last_sector,
            attributes: u64_at(entry, 48),
            name: name_at(entry),
        });
    }
    Ok(partitions)
}

fn name_at(entry: &[u8]) -> String {
    let units = entry[56..ENTRY_BYTES].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

// The callers below pass slices of fixed size and constant places inside them.

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(bytes, at))
}

fn guid_at(bytes: &[u8], at: usize) -> Uuid {
    Uuid::from_bytes_le(bytes_at(bytes, at))
}
