//! Where everything goes on a node's disk.
//!
//! ```text
//! | MBR, GPT | the image's partitions … root, grown | kept partitions | seed, 8 MiB | node, 32 MiB | backup GPT |
//!   ^ computed  ^ identical to the image               ^ not touched    ^ ours, at the end
//! ```
//!
//! Ours stand at the end of the last free space that has room for them, so that a later image of any
//! size finds them where they were.
//!
//! The first chunk is the image's with the tables put in; the boot code in the MBR's first 440 bytes
//! is the image's, because GRUB for BIOS is there.

mod data;
mod error;
mod found;
mod place;
mod table_found;

use contract::id::ChunkDigest;
use contract::plan::KeptPartition;
use contract::root_size::RootSize;
use uuid::{Uuid, uuid};

use crate::chunk::{CHUNK_BYTES, digest_of};
use crate::gpt::{Gpt, Partition, backup_bytes, first_usable_byte};
pub use crate::layout::data::{DataLayoutRequest, check_data_image, minimum_data_disk_bytes};
pub use crate::layout::error::LayoutError;
pub use crate::layout::found::{SeedPlaceError, data_partitions, seed_place};
pub use crate::layout::place::RootPlace;
use crate::layout::place::{Places, image_end, last_partition_end, place};
pub use crate::layout::table_found::{TableError, read_table};
use crate::manifest::Manifest;

/// Type GUID of the node's own partition.
pub const NODE_PARTITION_TYPE: Uuid = uuid!("c3f62a1e-9d0b-4f4d-8a57-52e5b1d6e0a7");

/// Name of the node's own partition.
pub const NODE_PARTITION_NAME: &str = "reprieve-node";

/// Size of the node's own partition in bytes.
pub const NODE_PARTITION_BYTES: u64 = 32 << 20;

/// Type GUID of the seed partition: Microsoft basic data, as for any FAT volume.
pub const SEED_PARTITION_TYPE: Uuid = uuid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7");

/// Name of the seed partition.
pub const SEED_PARTITION_NAME: &str = "cidata";

/// Size of the seed partition in bytes.
pub const SEED_PARTITION_BYTES: u64 = 8 << 20;

/// Boot code in the MBR, in bytes from its start (UEFI specification, "Protective MBR").
pub const BOOT_CODE_BYTES: u64 = 440;

/// The rest of the MBR, in bytes.
const MBR_TAIL_BYTES: usize = 512 - BOOT_CODE_BYTES as usize;

/// A part of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub length_bytes: u64,
}

/// For which disk an image is laid out, and what is wanted there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayoutRequest<'a> {
    /// The disk's size in bytes.
    pub disk_bytes: u64,
    /// The disk's logical sector size in bytes.
    pub sector_bytes: u32,
    /// GUID of the disk in its new partition table.
    pub disk_guid: Uuid,
    /// GUID of the node's own partition in the new partition table.
    pub node_partition_guid: Uuid,
    /// How large the root partition becomes.
    pub root_size: RootSize,
    /// The partitions that stay as they are.
    pub keep: &'a [KeptPartition],
}

/// The two partitions of ours on the disk of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OurPartitions {
    /// The one for the volume with the node's data, which cloud-init reads.
    pub seed: ByteRange,
    /// Its number.
    pub seed_number: u32,
    /// The node's own.
    pub node: ByteRange,
    /// Its number.
    pub node_number: u32,
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
    /// The partitions of ours; none on a data disk.
    pub ours: Option<OurPartitions>,
    /// The root partition; none if the image does not say which it is, and on a data disk.
    pub root: Option<RootPlace>,
    /// How many chunks of the image are on the disk: those up to the end of its last partition.
    pub image_chunks: u64,
    /// Where the image's bytes end: the end of its last chunk that is on the disk.
    pub image_end_bytes: u64,
}

/// The size in bytes of the smallest disk that the image fits on.
#[must_use]
pub fn minimum_disk_bytes(manifest: &Manifest) -> u64 {
    let ours = SEED_PARTITION_BYTES + NODE_PARTITION_BYTES;
    image_end(manifest).saturating_add(ours).saturating_add(backup_bytes(manifest.sector_bytes))
}

/// The GUID of the seed partition beside a node partition with this GUID. It can be told from any other
/// volume for cloud-init by it.
#[must_use]
pub fn seed_partition_guid(node_partition_guid: Uuid) -> Uuid {
    let mut hasher = blake3::Hasher::new_derive_key("reprieve seed partition beside a node partition");
    hasher.update(node_partition_guid.as_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
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
    /// compared with its digest. The same request gives the same layout, and so does one with the
    /// partitions that are kept of the result.
    ///
    /// # Errors
    /// [`LayoutError`] if the image and what is kept do not fit the disk together.
    pub fn compute(
        manifest: &Manifest,
        first_chunk: &[u8],
        request: &LayoutRequest<'_>,
    ) -> Result<Self, LayoutError> {
        let LayoutRequest { disk_bytes, sector_bytes, disk_guid, .. } = *request;
        let disk = Disk { disk_bytes, sector_bytes, disk_guid };
        check_fit(manifest, first_chunk, disk, minimum_disk_bytes(manifest))?;
        let places = place(manifest, request, disk.backup_table_offset())?;
        let partitions = entries(manifest, request, &places);
        let (ours, root) = (Some(places.ours), places.root);
        Ok(Self { ours, root, ..with_tables(manifest, first_chunk, disk, partitions) })
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

/// A disk that an image is laid out for.
#[derive(Debug, Clone, Copy)]
struct Disk {
    disk_bytes: u64,
    sector_bytes: u32,
    disk_guid: Uuid,
}

impl Disk {
    fn sectors(self) -> u64 {
        self.disk_bytes / u64::from(self.sector_bytes)
    }

    /// Where the backup table begins. The caller has checked that the disk is large enough for one.
    fn backup_table_offset(self) -> u64 {
        self.sectors() * u64::from(self.sector_bytes) - backup_bytes(self.sector_bytes)
    }
}

/// The layout with these partitions in its tables, nothing of ours and no root among them.
fn with_tables(
    manifest: &Manifest,
    first_chunk: &[u8],
    disk: Disk,
    partitions: Vec<Partition>,
) -> DiskLayout {
    let Disk { disk_bytes, sector_bytes, disk_guid } = disk;
    let disk_sectors = disk.sectors();
    let table = Gpt { sector_bytes, disk_guid, backup_sector: disk_sectors - 1, partitions };
    let image_chunks = last_partition_end(manifest).div_ceil(CHUNK_BYTES as u64);
    DiskLayout {
        disk_bytes,
        sector_bytes,
        first_chunk: put_tables_in(first_chunk, &table, disk_sectors),
        backup_table: table.encode_backup(disk_sectors),
        backup_table_offset: disk.backup_table_offset(),
        ours: None,
        root: None,
        image_chunks,
        image_end_bytes: manifest.disk_bytes.min(image_chunks * CHUNK_BYTES as u64),
    }
}

fn check_fit(
    manifest: &Manifest,
    first_chunk: &[u8],
    disk: Disk,
    needed_bytes: u64,
) -> Result<(), LayoutError> {
    let Disk { disk_bytes, sector_bytes, .. } = disk;
    let image = manifest.name.clone();
    if manifest.sector_bytes != sector_bytes || !matches!(sector_bytes, 512 | 4096) {
        let image_sector_bytes = manifest.sector_bytes;
        return Err(LayoutError::SectorSize { image, image_sector_bytes, disk_sector_bytes: sector_bytes });
    }
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

/// All entries of the new table, ordered by number.
fn entries(manifest: &Manifest, request: &LayoutRequest<'_>, places: &Places) -> Vec<Partition> {
    let sector = u64::from(request.sector_bytes);
    let kept = request.keep.iter().map(|p| Partition {
        number: p.number,
        type_guid: p.type_guid,
        unique_guid: p.unique_guid,
        attributes: p.attributes,
        name: p.name.clone(),
        ..at(ByteRange { offset: p.first_byte, length_bytes: p.length_bytes }, sector)
    });
    let ours = places.ours;
    let node_guid = request.node_partition_guid;
    let node = Partition {
        number: ours.node_number,
        type_guid: NODE_PARTITION_TYPE,
        unique_guid: node_guid,
        name: NODE_PARTITION_NAME.to_owned(),
        ..at(ours.node, sector)
    };
    let seed = Partition {
        number: ours.seed_number,
        type_guid: SEED_PARTITION_TYPE,
        unique_guid: seed_partition_guid(node_guid),
        name: SEED_PARTITION_NAME.to_owned(),
        ..at(ours.seed, sector)
    };
    let of_image = of_image(manifest, sector, places.root);
    let mut entries: Vec<Partition> = of_image.chain(kept).chain([node, seed]).collect();
    entries.sort_by_key(|entry| entry.number);
    entries
}

/// The image's own partitions; one of them may have another end.
fn of_image(manifest: &Manifest, sector: u64, sized: Option<RootPlace>) -> impl Iterator<Item = Partition> {
    manifest.partitions.iter().map(move |p| {
        let as_in_image = ByteRange { offset: p.first_byte, length_bytes: p.length_bytes };
        let range = sized.filter(|sized| sized.number == p.number).map_or(as_in_image, |sized| sized.range);
        Partition {
            number: p.number,
            type_guid: p.type_guid,
            unique_guid: p.unique_guid,
            attributes: p.attributes,
            name: p.name.clone(),
            ..at(range, sector)
        }
    })
}

/// An entry for this place, and nothing else said of it.
fn at(range: ByteRange, sector: u64) -> Partition {
    Partition {
        number: 0,
        type_guid: Uuid::nil(),
        unique_guid: Uuid::nil(),
        first_sector: range.offset / sector,
        last_sector: (range.offset + range.length_bytes) / sector - 1,
        attributes: 0,
        name: String::new(),
    }
}

/// The first chunk with the protective MBR and the primary table in their places. The caller has
/// checked that they fit.
fn put_tables_in(first_chunk: &[u8], table: &Gpt, disk_sectors: u64) -> Vec<u8> {
    let sector = table.sector_bytes as usize;
    let mut bytes = first_chunk.to_vec();
    let active = first_chunk.get(446).copied().unwrap_or(0) & 0x80;
    let mbr_tail = protective_mbr_tail(disk_sectors, active);
    bytes.splice(BOOT_CODE_BYTES as usize..512, mbr_tail);
    let primary = table.encode_primary(disk_sectors);
    bytes.splice(sector..sector + primary.len(), primary);
    bytes
}

/// Bytes 440 to 511 of the protective MBR: one partition of type EE over the whole disk, active if the
/// image's is (some BIOSes boot no disk without an active partition).
fn protective_mbr_tail(disk_sectors: u64, active: u8) -> [u8; MBR_TAIL_BYTES] {
    let mut tail = [0; MBR_TAIL_BYTES];
    let sectors = u32::try_from(disk_sectors.saturating_sub(1)).unwrap_or(u32::MAX);
    // From CHS 0/0/2 to the end, type EE, from sector 1 on.
    tail[6..18].copy_from_slice(&[active, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    tail[18..22].copy_from_slice(&sectors.to_le_bytes());
    tail[70..72].copy_from_slice(&[0x55, 0xaa]);
    tail
}

#[cfg(test)]
mod kept_tests;
#[cfg(test)]
mod tests;
