use std::io::Cursor;

use proptest::prelude::{ProptestConfig, any, proptest};
use uuid::Uuid;

use contract::plan::KeptPartition;
use contract::root_size::RootSize;

use super::{
    DiskLayout, LayoutError, LayoutRequest, NODE_PARTITION_BYTES, NODE_PARTITION_TYPE, SEED_PARTITION_BYTES,
    SEED_PARTITION_TYPE, data_partitions, minimum_disk_bytes, seed_partition_guid,
};
use crate::chunk::CHUNK_BYTES;
use crate::gpt::Gpt;
use crate::manifest::tests::{partition, sample};
use crate::manifest::{Chunk, Chunks, Manifest, PartitionRole};

pub(super) const MIB: u64 = 1 << 20;
const DISK_GUID: Uuid = Uuid::from_u128(0xd15c);
const NODE_GUID: Uuid = Uuid::from_u128(0x40de);

pub(super) fn first_chunk() -> Vec<u8> {
    (0..CHUNK_BYTES).map(|at| (at % 251) as u8).collect()
}

fn request(manifest: &Manifest, disk_bytes: u64) -> LayoutRequest<'static> {
    LayoutRequest {
        disk_bytes,
        sector_bytes: manifest.sector_bytes,
        disk_guid: DISK_GUID,
        node_partition_guid: NODE_GUID,
        root_size: RootSize::Grow,
        keep: &[],
    }
}

pub(super) fn laid_out(manifest: &Manifest, disk_bytes: u64) -> Result<DiskLayout, LayoutError> {
    DiskLayout::compute(manifest, &first_chunk(), &request(manifest, disk_bytes))
}

pub(super) fn kept(number: u32, first_byte: u64, length_bytes: u64) -> KeptPartition {
    KeptPartition {
        number,
        type_guid: Uuid::from_u128(0x3000),
        unique_guid: Uuid::from_u128(0x4000 + u128::from(number)),
        first_byte,
        length_bytes,
        attributes: 1 << 60,
        name: format!("data {number}"),
    }
}

/// With partitions that are kept and a size of the root.
pub(super) fn laid_out_with(
    manifest: &Manifest,
    disk_bytes: u64,
    root_size: RootSize,
    keep: &[KeptPartition],
) -> Result<DiskLayout, LayoutError> {
    let wanted = LayoutRequest { root_size, keep, ..request(manifest, disk_bytes) };
    DiskLayout::compute(manifest, &first_chunk(), &wanted)
}

/// The table as text, for comparing at a glance.
pub(super) fn shown(layout: &DiskLayout) -> String {
    let table = Gpt::read(&written(layout)).unwrap();
    let sector = u64::from(table.sector_bytes);
    let line = |p: &crate::gpt::Partition| {
        let (from, to) = (p.first_sector * sector, (p.last_sector + 1) * sector);
        format!("{:<3} {:13} {:>7} KiB to {:>7} KiB\n", p.number, p.name, from / 1024, to / 1024)
    };
    table.partitions.iter().map(line).collect()
}

/// The disk as it is after the layout was written to zeros.
pub(super) fn written(layout: &DiskLayout) -> Vec<u8> {
    let mut disk = vec![0; usize::try_from(layout.disk_bytes).unwrap()];
    disk[..layout.first_chunk.len()].copy_from_slice(&layout.first_chunk);
    let at = usize::try_from(layout.backup_table_offset).unwrap();
    disk[at..at + layout.backup_table.len()].copy_from_slice(&layout.backup_table);
    disk
}

fn assert_table_is_sound(manifest: &Manifest, layout: &DiskLayout, table: &gptman::GPT) {
    let sector = u64::from(layout.sector_bytes);
    assert_eq!(table.header.disk_guid, DISK_GUID.to_bytes_le());
    for expected in &manifest.partitions {
        let found = &table[expected.number];
        assert_eq!(found.starting_lba * sector, expected.first_byte);
        let root = layout.root.filter(|root| root.number == expected.number);
        let end = root.map_or(expected.end_byte(), |root| root.range.offset + root.range.length_bytes);
        assert_eq!((found.ending_lba + 1) * sector, end);
        assert_eq!(found.unique_partition_guid, expected.unique_guid.to_bytes_le());
        assert_eq!(found.partition_name.as_str(), expected.name);
    }
    let ours = &table[layout.ours.unwrap().node_number];
    assert_eq!(ours.partition_type_guid, NODE_PARTITION_TYPE.to_bytes_le());
    assert_eq!(ours.unique_partition_guid, NODE_GUID.to_bytes_le());
    assert_eq!(ours.starting_lba * sector, layout.ours.unwrap().node.offset);
    assert_eq!(ours.size().unwrap() * sector, NODE_PARTITION_BYTES);
    let seed = &table[layout.ours.unwrap().seed_number];
    assert_eq!(seed.partition_type_guid, SEED_PARTITION_TYPE.to_bytes_le());
    assert_eq!(seed.unique_partition_guid, seed_partition_guid(NODE_GUID).to_bytes_le());
    assert_eq!(seed.starting_lba * sector, layout.ours.unwrap().seed.offset);
    assert_eq!(seed.size().unwrap() * sector, SEED_PARTITION_BYTES);
    assert_eq!(table.iter().filter(|(_, p)| p.is_used()).count(), manifest.partitions.len() + 2);
    // gptman checks GUIDs, overlaps and usable sectors when it writes.
    table.clone().write_into(&mut Cursor::new(vec![0; layout.disk_bytes as usize])).unwrap();
}

#[test]
fn both_tables_are_read_by_another_reader() {
    let manifest = sample();
    let layout = laid_out(&manifest, 60 * MIB + 512).unwrap();
    let mut disk = written(&layout);
    assert_table_is_sound(&manifest, &layout, &gptman::GPT::read_from(&mut Cursor::new(&disk), 512).unwrap());
    let primary = gptman::GPT::read_from(&mut Cursor::new(&disk), 512).unwrap();
    assert_eq!(primary.header.last_usable_lba, (60 * MIB + 512) / 512 - 34);
    disk[512..1024].fill(0);
    let backup = gptman::GPT::read_from(&mut Cursor::new(&disk), 512).unwrap();
    assert!(backup.is_backup());
    assert_table_is_sound(&manifest, &layout, &backup);
}

#[test]
fn the_image_stays_what_it_is_beside_the_tables() {
    let layout = laid_out(&sample(), 1 << 30).unwrap();
    let image = first_chunk();
    assert_eq!(layout.first_chunk.len(), image.len());
    assert_eq!(layout.first_chunk[..440], image[..440], "boot code");
    assert_eq!(layout.first_chunk[512 * 34..], image[512 * 34..], "what follows the table");
    assert_eq!(layout.first_chunk[510..512], [0x55, 0xaa]);
    assert_eq!((layout.image_chunks, layout.image_end_bytes), (5, 5 * MIB));
    assert_eq!(layout.ours.unwrap().seed.offset, 983 * MIB);
    assert_eq!(layout.ours.unwrap().node.offset, 991 * MIB);
}

#[test]
fn a_disk_of_the_least_size_is_enough_and_one_sector_less_is_not() {
    let manifest = sample();
    let least = minimum_disk_bytes(&manifest);
    let layout = laid_out(&manifest, least).unwrap();
    let node_end = layout.ours.unwrap().node.offset + layout.ours.unwrap().node.length_bytes;
    assert_eq!(node_end, layout.backup_table_offset);
    assert_eq!(layout.ours.unwrap().seed.offset, 5 * MIB);
    let disk = written(&layout);
    assert_table_is_sound(&manifest, &layout, &gptman::GPT::read_from(&mut Cursor::new(&disk), 512).unwrap());
    let refused = laid_out(&manifest, least - 512);
    let expected = LayoutError::DiskTooSmall {
        image: "debian-12".to_owned(),
        disk_bytes: least - 512,
        needed_bytes: least,
    };
    assert_eq!(refused, Err(expected));
}

#[test]
fn other_sectors_a_short_first_chunk_and_no_number_left_are_refused() {
    let mut manifest = sample();
    let wanted = LayoutRequest { sector_bytes: 4096, ..request(&manifest, 1 << 30) };
    let wrong = DiskLayout::compute(&manifest, &first_chunk(), &wanted);
    assert!(matches!(wrong, Err(LayoutError::SectorSize { disk_sector_bytes: 4096, .. })));
    let short = DiskLayout::compute(&manifest, &[0; 512], &request(&manifest, 1 << 30));
    assert!(matches!(short, Err(LayoutError::FirstChunk { .. })));
    manifest.partitions[1].number = 128;
    let layout = laid_out(&manifest, 1 << 30).unwrap();
    assert_eq!((layout.ours.unwrap().node_number, layout.ours.unwrap().seed_number), (2, 3));
    let all = (2..=126).map(|number| kept(number, (10 + u64::from(number)) * MIB, MIB));
    let all: Vec<KeptPartition> = all.collect();
    let refused = laid_out_with(&manifest, 1 << 30, RootSize::Grow, &all);
    assert!(matches!(refused, Err(LayoutError::NoNumberLeft { .. })), "{refused:?}");
}

#[test]
fn sectors_of_4096_bytes_are_laid_out_too() {
    let mut manifest = sample();
    manifest.sector_bytes = 4096;
    manifest.disk_bytes = 6 * MIB;
    let layout = laid_out(&manifest, 64 * MIB).unwrap();
    let disk = written(&layout);
    let table = gptman::GPT::read_from(&mut Cursor::new(&disk), 4096).unwrap();
    assert_table_is_sound(&manifest, &layout, &table);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_two_things_share_a_byte(
        lengths in proptest::collection::vec((0..40_u64, 1..4000_u64), 1..6),
        spare_sectors in 0..100_000_u64,
    ) {
        let mut next = 34_u64;
        let mut partitions = Vec::new();
        for (number, (gap, sectors)) in (1..).zip(lengths) {
            partitions.push(partition(number, PartitionRole::Other, (next + gap) * 512, sectors * 512));
            next += gap + sectors;
        }
        let disk_bytes = (next * 512).max(MIB);
        let chunks = vec![Chunk::Zero; disk_bytes.div_ceil(MIB) as usize];
        let manifest =
            Manifest { disk_bytes, chunks: Chunks::from(chunks), partitions, root: None, ..sample() };
        assert!(manifest.to_bytes().is_ok());
        let layout = laid_out(&manifest, minimum_disk_bytes(&manifest) + spare_sectors * 512).unwrap();
        let (seed, ours) = (layout.ours.unwrap().seed, layout.ours.unwrap().node);
        assert!(manifest.partitions.iter().all(|p| p.end_byte() <= seed.offset));
        assert!(layout.image_end_bytes <= seed.offset && ours.offset.is_multiple_of(MIB));
        assert_eq!(seed.offset + seed.length_bytes, ours.offset);
        assert!(ours.offset + ours.length_bytes <= layout.backup_table_offset);
        let end = layout.backup_table_offset + layout.backup_table.len() as u64;
        assert_eq!(end, layout.disk_bytes);
        assert_eq!(Gpt::read(&written(&layout)).unwrap().partitions.len(), manifest.partitions.len() + 2);
    }

    /// Whatever is kept: it lies in the new table as in the old one, nothing shares a byte with it, and
    /// laying the result out again changes nothing.
    #[test]
    fn what_is_kept_stays_and_laying_out_again_changes_nothing(
        data in proptest::collection::vec((0..30 * MIB / 512, 1..20 * MIB / 512, 2..14_u32), 0..5),
        size in 0..4_u64,
        spare in 0..80 * MIB / 512,
    ) {
        let manifest = sample();
        let mut next = 5 * MIB;
        let mut keep: Vec<KeptPartition> = Vec::new();
        for (gap, sectors, number) in data {
            if keep.iter().all(|kept| kept.number != number) {
                keep.push(kept(number, next + gap * 512, sectors * 512));
                next += (gap + sectors) * 512;
            }
        }
        let root_size = match size {
            0 => RootSize::Grow,
            1 => RootSize::Image,
            more => RootSize::Bytes(more * 3 * MIB / 2 + 1),
        };
        let disk_bytes = next + spare * 512 + 33 * 512;
        let Ok(layout) = laid_out_with(&manifest, disk_bytes, root_size, &keep) else {
            // What has no room is refused; with enough of it there is no reason to.
            let room = laid_out_with(&manifest, disk_bytes + 41 * MIB, RootSize::Image, &keep);
            assert!(room.is_ok(), "{room:?}");
            return Ok(());
        };
        let disk = written(&layout);
        let table = Gpt::read(&disk).unwrap();
        assert_eq!(Gpt::read_backup(&disk).unwrap(), table);
        let mut sorted = table.partitions.clone();
        sorted.sort_by_key(|p| p.first_sector);
        assert!(sorted.windows(2).all(|pair| pair[0].last_sector < pair[1].first_sector));
        assert_eq!(table.partitions.len(), manifest.partitions.len() + keep.len() + 2);
        keep.sort_by_key(|kept| kept.number);
        let found = data_partitions(&table, &[&manifest]);
        assert_eq!(found, keep);
        assert!(keep.iter().all(|kept| kept.first_byte >= layout.image_end_bytes));
        assert_eq!(laid_out_with(&manifest, disk_bytes, root_size, &found).unwrap(), layout);
    }

    #[test]
    fn any_bytes_are_no_backup_table_or_one_that_is_whole(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..40_000),
        signed in any::<bool>(),
    ) {
        if let (true, Some(at)) = (signed, (bytes.len() / 512).checked_sub(1)) {
            bytes[at * 512..at * 512 + 16].copy_from_slice(b"EFI PART\0\0\x01\0\x5c\0\0\0");
        }
        assert!(Gpt::read_backup(&bytes).is_err());
    }

    #[test]
    fn a_changed_or_cut_table_never_panics_and_is_never_half_read(
        at in 512..1024 + 128 * 128_usize,
        to in any::<u8>(),
        cut in 0..40_000_usize,
    ) {
        let mut disk = written(&laid_out(&sample(), 50 * MIB).unwrap());
        let whole = Gpt::read(&disk).unwrap();
        assert!(Gpt::read(&disk[..cut]).is_err());
        disk[at] = to;
        // Behind the 92 bytes of the header the sector is not covered by its checksum.
        if let Ok(read) = Gpt::read(&disk) {
            assert_eq!(read, whole);
        }
    }
}
