//! Where everything goes on a node's disk.
//!
//! ```text
//! | MBR, GPT | the image's partitions, where the image has them | (to the next MiB) | ours, 32 MiB | free | backup GPT |
//!   ^ computed  ^ identical to the image                                             ^ of the node
//! ```
//!
//! The first chunk is the image's with the tables put in; the boot code in the MBR's first 440 bytes
//! is the image's, because GRUB for BIOS is there.

use contract::id::ChunkDigest;
use uuid::{Uuid, uuid};

use crate::chunk::{CHUNK_BYTES, digest_of};
use crate::gpt::{Gpt, Partition, backup_bytes, first_usable_byte};
use crate::manifest::Manifest;
use crate::source::ReadAt;
use crate::validate::PARTITIONS_MAX;

/// Type GUID of the node's own partition.
pub const NODE_PARTITION_TYPE: Uuid = uuid!("c3f62a1e-9d0b-4f4d-8a57-52e5b1d6e0a7");

/// Name of the node's own partition.
pub const NODE_PARTITION_NAME: &str = "reprieve-node";

/// Size of the node's own partition in bytes.
pub const NODE_PARTITION_BYTES: u64 = 32 << 20;

/// Boot code in the MBR, in bytes from its start (UEFI specification, "Protective MBR").
const BOOT_CODE_BYTES: usize = 440;

/// A part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length_bytes: u64,
}

/// Where everything goes on one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskLayout {
    /// The disk's size in bytes.
    pub disk_bytes: u64,
    /// The disk's logical sector size in bytes.
    pub sector_bytes: u32,
    /// The first chunk as it must stand on the disk: the image's with MBR and primary GPT put in.
    pub first_chunk: Vec<u8>,
    /// The backup table.
    pub backup_table: Vec<u8>,
    /// Where the backup table goes, in bytes; it ends with the disk's last whole sector.
    pub backup_table_offset: u64,
    /// The node's own partition.
    pub node_partition: ByteRange,
    /// Its number.
    pub node_partition_number: u32,
    /// How many chunks of the image are on the disk: those up to the end of its last partition.
    pub image_chunks: u64,
    /// Where the image's bytes end: the end of its last chunk that is on the disk.
    pub image_end_bytes: u64,
}

/// Why an image cannot be laid out on a disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The disk is too small.
    #[error(
        "the disk has {disk_bytes} bytes and the image {image:?} needs {needed_bytes}; choose a larger disk"
    )]
    DiskTooSmall {
        /// Name of the image.
        image: String,
        /// What there is, in bytes.
        disk_bytes: u64,
        /// What is needed, in bytes.
        needed_bytes: u64,
    },
    /// The image was made for another sector size.
    #[error(
        "the image {image:?} was made for sectors of {image_sector_bytes} bytes and the disk has {disk_sector_bytes}; import an image made for such disks"
    )]
    SectorSize {
        /// Name of the image.
        image: String,
        /// What the image was made for, in bytes.
        image_sector_bytes: u32,
        /// What the disk has, in bytes.
        disk_sector_bytes: u32,
    },
    /// The first chunk is not the image's.
    #[error(
        "the first chunk of the image {image:?} has {found_bytes} bytes where {expected_bytes} are needed"
    )]
    FirstChunk {
        /// Name of the image.
        image: String,
        /// What was given, in bytes.
        found_bytes: usize,
        /// What is needed, in bytes.
        expected_bytes: usize,
    },
    /// All partition numbers are taken.
    #[error(
        "the image {image:?} uses partition number 128; there is no number left for the node's partition"
    )]
    NoNumberLeft {
        /// Name of the image.
        image: String,
    },
}

/// The size in bytes of the smallest disk that the image fits on.
#[must_use]
pub fn minimum_disk_bytes(manifest: &Manifest) -> u64 {
    let tail = backup_bytes(manifest.sector_bytes);
    node_partition_offset(manifest).saturating_add(NODE_PARTITION_BYTES).saturating_add(tail)
}

fn last_partition_end(manifest: &Manifest) -> u64 {
    manifest.partitions.iter().map(|partition| partition.end_byte()).max().unwrap_or(0)
}

fn node_partition_offset(manifest: &Manifest) -> u64 {
    last_partition_end(manifest).max(1).next_multiple_of(CHUNK_BYTES as u64)
}

impl DiskLayout {
    /// How many bytes at the start of the disk hold the MBR and the primary table: all that firmware
    /// needs to find anything, and no byte of a partition.
    #[must_use]
    pub fn tables_bytes(&self) -> usize {
        let bytes = usize::try_from(first_usable_byte(self.sector_bytes)).unwrap_or(usize::MAX);
        bytes.min(self.first_chunk.len())
    }

    /// Lays the image out on a disk. `first_chunk` are the bytes of the image's first chunk, already
    /// compared with its digest.
    ///
    /// # Errors
    /// [`LayoutError`] if the image does not fit the disk.
    pub fn compute(
        manifest: &Manifest,
        first_chunk: &[u8],
        disk_bytes: u64,
        sector_bytes: u32,
        disk_guid: Uuid,
        node_partition_guid: Uuid,
    ) -> Result<Self, LayoutError> {
        check_fit(manifest, first_chunk, disk_bytes, sector_bytes)?;
        let sector = u64::from(sector_bytes);
        let disk_sectors = disk_bytes / sector;
        let node_partition =
            ByteRange { offset: node_partition_offset(manifest), length_bytes: NODE_PARTITION_BYTES };
        let last_number = manifest.partitions.iter().map(|partition| partition.number).max().unwrap_or(0);
        if last_number >= PARTITIONS_MAX {
            return Err(LayoutError::NoNumberLeft { image: manifest.name.clone() });
        }
        let mut partitions: Vec<Partition> =
            manifest.partitions.iter().map(|partition| in_sectors(partition, sector)).collect();
        partitions.push(Partition {
            number: last_number + 1,
            type_guid: NODE_PARTITION_TYPE,
            unique_guid: node_partition_guid,
            first_sector: node_partition.offset / sector,
            last_sector: (node_partition.offset + node_partition.length_bytes) / sector - 1,
            attributes: 0,
            name: NODE_PARTITION_NAME.to_owned(),
        });
        let table = Gpt { sector_bytes, disk_guid, backup_sector: disk_sectors - 1, partitions };
        let image_chunks = last_partition_end(manifest).div_ceil(CHUNK_BYTES as u64);
        Ok(Self {
            disk_bytes,
            sector_bytes,
            first_chunk: put_tables_in(first_chunk, &table, disk_sectors),
            backup_table: table.encode_backup(disk_sectors),
            backup_table_offset: disk_sectors * sector - backup_bytes(sector_bytes),
            node_partition,
            node_partition_number: last_number + 1,
            image_chunks,
            image_end_bytes: manifest.disk_bytes.min(image_chunks * CHUNK_BYTES as u64),
        })
    }

    /// The digest that the chunk with this index must have on the disk; none past the image's end.
    #[must_use]
    pub fn chunk_digest(&self, manifest: &Manifest, index: u64) -> Option<ChunkDigest> {
        match index {
            0 => Some(digest_of(&self.first_chunk)),
            _ if index < self.image_chunks => manifest.chunk_digest(index),
            _ => None,
        }
    }
}

/// The GUIDs that a disk laid out by [`DiskLayout::compute`] has: of the disk, and of the node's
/// partition with its place. None if the disk has no table that can be read or no such partition.
#[must_use]
pub fn find_node_partition<S: ReadAt + ?Sized>(disk: &S) -> Option<FoundNodePartition> {
    let table = Gpt::read(disk).ok()?;
    let sector = u64::from(table.sector_bytes);
    let found = table.partitions.iter().find(|partition| partition.type_guid == NODE_PARTITION_TYPE)?;
    let offset = found.first_sector.checked_mul(sector)?;
    let end = found.last_sector.checked_add(1)?.checked_mul(sector)?;
    Some(FoundNodePartition {
        disk_guid: table.disk_guid,
        node_partition_guid: found.unique_guid,
        range: ByteRange { offset, length_bytes: end.checked_sub(offset)? },
    })
}

/// What [`find_node_partition`] found on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundNodePartition {
    /// Identity of the disk.
    pub disk_guid: Uuid,
    /// Identity of the node's own partition.
    pub node_partition_guid: Uuid,
    /// Where it lies.
    pub range: ByteRange,
}

fn check_fit(
    manifest: &Manifest,
    first_chunk: &[u8],
    disk_bytes: u64,
    sector_bytes: u32,
) -> Result<(), LayoutError> {
    let image = manifest.name.clone();
    if manifest.sector_bytes != sector_bytes || !matches!(sector_bytes, 512 | 4096) {
        let image_sector_bytes = manifest.sector_bytes;
        return Err(LayoutError::SectorSize { image, image_sector_bytes, disk_sector_bytes: sector_bytes });
    }
    let needed_bytes = minimum_disk_bytes(manifest);
    if disk_bytes - disk_bytes % u64::from(sector_bytes) < needed_bytes {
        return Err(LayoutError::DiskTooSmall { image, disk_bytes, needed_bytes });
    }
    let expected_bytes = manifest.chunk_length(0);
    let tables_fit = expected_bytes as u64 >= first_usable_byte(sector_bytes);
    if first_chunk.len() != expected_bytes || !tables_fit {
        return Err(LayoutError::FirstChunk { image, found_bytes: first_chunk.len(), expected_bytes });
    }
    Ok(())
}

fn in_sectors(partition: &crate::manifest::ManifestPartition, sector: u64) -> Partition {
    Partition {
        number: partition.number,
        type_guid: partition.type_guid,
        unique_guid: partition.unique_guid,
        first_sector: partition.first_byte / sector,
        last_sector: partition.end_byte() / sector - 1,
        attributes: partition.attributes,
        name: partition.name.clone(),
    }
}

/// The first chunk with the protective MBR and the primary table in their places. The caller has
/// checked that they fit.
fn put_tables_in(first_chunk: &[u8], table: &Gpt, disk_sectors: u64) -> Vec<u8> {
    let sector = table.sector_bytes as usize;
    let mut bytes = first_chunk.to_vec();
    let active = first_chunk.get(446).copied().unwrap_or(0) & 0x80;
    let mbr_tail = protective_mbr_tail(disk_sectors, active);
    bytes.splice(BOOT_CODE_BYTES..512, mbr_tail);
    let primary = table.encode_primary(disk_sectors);
    bytes.splice(sector..sector + primary.len(), primary);
    bytes
}

/// Bytes 440 to 511 of the protective MBR: one partition of type EE over the whole disk, active if the
/// image's is (some BIOSes boot no disk without an active partition).
fn protective_mbr_tail(disk_sectors: u64, active: u8) -> [u8; 512 - BOOT_CODE_BYTES] {
    let mut tail = [0; 512 - BOOT_CODE_BYTES];
    let sectors = u32::try_from(disk_sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    // From CHS 0/0/2 to the end, type EE, from sector 1 on.
    tail[6..18].copy_from_slice(&[active, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    tail[18..22].copy_from_slice(&sectors.to_le_bytes());
    tail[70..72].copy_from_slice(&[0x55, 0xaa]);
    tail
}

#[cfg(test)]
mod tests;
