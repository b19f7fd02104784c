//! Where the partitions go that are not the image's: the kept ones where they are, ours in the last
//! free space, and the root's new end.

use contract::plan::KeptPartition;
use contract::root_size::RootSize;

use super::{
    ByteRange, LayoutError, LayoutRequest, NODE_PARTITION_BYTES, OurPartitions, SEED_PARTITION_BYTES,
};
use crate::chunk::CHUNK_BYTES;
use crate::manifest::{Manifest, ManifestPartition, PartitionRole};
use crate::validate::{PARTITION_NAME_UNITS_MAX, PARTITIONS_MAX};

/// Partitions of ours begin and grown ones end at multiples of this, in bytes.
const ALIGNMENT_BYTES: u64 = CHUNK_BYTES as u64;

/// Where everything is that is not the image's.
pub(super) struct Places {
    pub ours: OurPartitions,
    pub root: Option<RootPlace>,
}

/// The root partition on the disk, or the last one of a data disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootPlace {
    /// Its number.
    pub number: u32,
    /// Where it lies.
    pub range: ByteRange,
    /// Its length in the image, in bytes; never more than on the disk.
    pub image_length_bytes: u64,
}

/// The end of the image's last partition, in bytes.
pub(super) fn last_partition_end(manifest: &Manifest) -> u64 {
    manifest.partitions.iter().map(ManifestPartition::end_byte).max().unwrap_or(0)
}

/// Where the image's bytes may end: at the end of its last chunk that is on the disk.
pub(super) fn image_end(manifest: &Manifest) -> u64 {
    last_partition_end(manifest).max(1).next_multiple_of(CHUNK_BYTES as u64)
}

/// Finds a place for everything, or says why there is none. `usable_end` is where the backup table
/// begins, in bytes.
pub(super) fn place(
    manifest: &Manifest,
    request: &LayoutRequest<'_>,
    usable_end: u64,
) -> Result<Places, LayoutError> {
    let kept = sound_in_order(manifest, request, usable_end)?;
    let (seed, node) = our_places(manifest, &kept, usable_end)?;
    let (seed_number, node_number) = our_numbers(manifest, &kept)?;
    let first_behind = kept.first().map_or(seed.offset, |kept| kept.first_byte.min(seed.offset));
    let root = root_place(manifest, request, first_behind)?;
    Ok(Places { ours: OurPartitions { seed, seed_number, node, node_number }, root })
}

/// The kept partitions by place, each of them such that it can stand in a table with the image's.
fn sound_in_order<'a>(
    manifest: &Manifest,
    request: &LayoutRequest<'a>,
    usable_end: u64,
) -> Result<Vec<&'a KeptPartition>, LayoutError> {
    let mut kept: Vec<&KeptPartition> = request.keep.iter().collect();
    kept.sort_by_key(|kept| (kept.first_byte, kept.number));
    for partition in &kept {
        sound(manifest, partition, u64::from(request.sector_bytes), usable_end)?;
    }
    let refused = |number, why| Err(LayoutError::NotKept { number, why });
    for (at, one) in kept.iter().enumerate() {
        for other in kept.iter().skip(at + 1) {
            if one.end_byte() > other.first_byte {
                return refused(other.number, "it overlaps another partition that is kept");
            }
            if one.number == other.number {
                return refused(one.number, "there are two with its number");
            }
            if one.unique_guid == other.unique_guid {
                return refused(one.number, "there are two with its identity");
            }
        }
    }
    Ok(kept)
}

fn sound(manifest: &Manifest, kept: &KeptPartition, sector: u64, usable_end: u64) -> Result<(), LayoutError> {
    let number = kept.number;
    let image_end_bytes = image_end(manifest);
    if kept.first_byte < image_end_bytes {
        let (image, first_byte) = (manifest.name.clone(), kept.first_byte);
        return Err(LayoutError::Overlap { number, first_byte, image, image_end_bytes });
    }
    let whole = kept.first_byte.is_multiple_of(sector) && kept.length_bytes.is_multiple_of(sector);
    let end = kept.first_byte.checked_add(kept.length_bytes);
    let units = kept.name.encode_utf16().count();
    let of_image = |same: &dyn Fn(&ManifestPartition) -> bool| manifest.partitions.iter().any(same);
    let why = if !(1..=PARTITIONS_MAX).contains(&number) {
        "there are only 128 numbers"
    } else if !whole || kept.length_bytes == 0 {
        "it is not made of whole sectors"
    } else if end.is_none_or(|end| end > usable_end) {
        "it reaches into the backup of the partition table"
    } else if kept.type_guid.is_nil() || kept.unique_guid.is_nil() {
        "it has no type or no identity"
    } else if units > PARTITION_NAME_UNITS_MAX || kept.name.contains(['\0', '\u{fffd}']) {
        "its name is not UTF-16 of at most 36 units"
    } else if of_image(&|of_image| of_image.number == number) {
        "the image has a partition with its number"
    } else if of_image(&|of_image| of_image.unique_guid == kept.unique_guid) {
        "the image has a partition with its identity"
    } else {
        return Ok(());
    };
    Err(LayoutError::NotKept { number, why })
}

/// Seed and node partition, side by side at the end of the last free space that is large enough.
fn our_places(
    manifest: &Manifest,
    kept: &[&KeptPartition],
    usable_end: u64,
) -> Result<(ByteRange, ByteRange), LayoutError> {
    let needed_bytes = SEED_PARTITION_BYTES + NODE_PARTITION_BYTES;
    let ends = kept.iter().map(|kept| kept.first_byte).chain([usable_end]);
    let begins = [image_end(manifest)].into_iter().chain(kept.iter().map(|kept| kept.end_byte()));
    let mut free: Vec<(u64, u64)> = begins.zip(ends).collect();
    free.reverse();
    let seed_offset = free.into_iter().find_map(|(begin, end)| {
        let end = end - end % ALIGNMENT_BYTES;
        end.checked_sub(needed_bytes).filter(|offset| *offset >= begin)
    });
    let offset =
        seed_offset.ok_or_else(|| LayoutError::NoSpace { image: manifest.name.clone(), needed_bytes })?;
    let seed = ByteRange { offset, length_bytes: SEED_PARTITION_BYTES };
    let node = ByteRange { offset: offset + SEED_PARTITION_BYTES, length_bytes: NODE_PARTITION_BYTES };
    Ok((seed, node))
}

/// Numbers of seed and node partition: the next two behind the image's that are free.
fn our_numbers(manifest: &Manifest, kept: &[&KeptPartition]) -> Result<(u32, u32), LayoutError> {
    let is_free = |number: &u32| {
        manifest.partition(*number).is_none() && kept.iter().all(|kept| kept.number != *number)
    };
    let last = manifest.partitions.iter().map(|partition| partition.number).max().unwrap_or(0);
    let mut free = (last.saturating_add(1)..=PARTITIONS_MAX).chain(1..=last).filter(is_free);
    match (free.next(), free.next()) {
        (Some(node), Some(seed)) => Ok((seed, node)),
        _ => Err(LayoutError::NoNumberLeft { image: manifest.name.clone() }),
    }
}

/// The root with its new end. Only the last partition can grow, and none that must stay as the image
/// has it, byte for byte. `first_behind` is where the first partition behind the image begins.
fn root_place(
    manifest: &Manifest,
    request: &LayoutRequest<'_>,
    first_behind: u64,
) -> Result<Option<RootPlace>, LayoutError> {
    let refused =
        |wanted_bytes, why| Err(LayoutError::RootSize { image: manifest.name.clone(), wanted_bytes, why });
    let root = manifest.partitions.iter().find(|partition| partition.role == PartitionRole::Root);
    let Some(root) = root else {
        return match request.root_size {
            RootSize::Bytes(wanted) => refused(wanted, "the image does not say which partition is its root"),
            RootSize::Grow | RootSize::Image => Ok(None),
        };
    };
    let wanted = Wanted { size: request.root_size, sector_bytes: request.sector_bytes, first_behind };
    sized(manifest, root, wanted).map(Some).or_else(|(wanted, why)| refused(wanted, why))
}

/// How large a partition is to become, and what limits it.
pub(super) struct Wanted {
    pub size: RootSize,
    pub sector_bytes: u32,
    /// Where what lies behind the image begins, in bytes.
    pub first_behind: u64,
}

/// A partition with its new end; or the size that cannot be had, and why not.
pub(super) fn sized(
    manifest: &Manifest,
    partition: &ManifestPartition,
    wanted: Wanted,
) -> Result<RootPlace, (u64, &'static str)> {
    let is_last = partition.end_byte() == last_partition_end(manifest);
    let can_grow = is_last && partition.immutable.is_none();
    let behind = wanted.first_behind - wanted.first_behind % ALIGNMENT_BYTES;
    let most = behind.max(partition.end_byte()) - partition.first_byte;
    let length_bytes = match wanted.size {
        RootSize::Grow if can_grow => most,
        RootSize::Grow | RootSize::Image => partition.length_bytes,
        RootSize::Bytes(bytes) => {
            let length = bytes.div_ceil(u64::from(wanted.sector_bytes));
            let length = length.saturating_mul(u64::from(wanted.sector_bytes));
            if length < partition.length_bytes {
                return Err((bytes, "in the image it is larger"));
            }
            if length > partition.length_bytes && !can_grow {
                return Err((bytes, "it is not the image's last partition, or must not change"));
            }
            if length > most {
                return Err((bytes, "there is not so much free space behind it"));
            }
            length
        }
    };
    let range = ByteRange { offset: partition.first_byte, length_bytes };
    Ok(RootPlace { number: partition.number, range, image_length_bytes: partition.length_bytes })
}
