use std::io::Cursor;

use proptest::prelude::{ProptestConfig, any, proptest};
use uuid::Uuid;

use super::{
    DiskLayout, LayoutError, NODE_PARTITION_BYTES, NODE_PARTITION_TYPE, find_node_partition,
    minimum_disk_bytes,
};
use crate::chunk::CHUNK_BYTES;
use crate::gpt::Gpt;
use crate::manifest::tests::{partition, sample};
use crate::manifest::{Chunk, Chunks, Manifest, PartitionRole};

const MIB: u64 = 1 << 20;
const DISK_GUID: Uuid = Uuid::from_u128(0xd15c);
const NODE_GUID: Uuid = Uuid::from_u128(0x40de);

fn first_chunk() -> Vec<u8> {
    (0..CHUNK_BYTES).map(|at| (at % 251) as u8).collect()
}

fn laid_out(manifest: &Manifest, disk_bytes: u64) -> Result<DiskLayout, LayoutError> {
    let sector = manifest.sector_bytes;
    DiskLayout::compute(manifest, &first_chunk(), disk_bytes, sector, DISK_GUID, NODE_GUID)
}

/// The disk as it is after the layout was written to zeros.
fn written(layout: &DiskLayout) -> Vec<u8> {
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
        assert_eq!((found.ending_lba + 1) * sector, expected.end_byte());
        assert_eq!(found.unique_partition_guid, expected.unique_guid.to_bytes_le());
        assert_eq!(found.partition_name.as_str(), expected.name);
    }
    let ours = &table[layout.node_partition_number];
    assert_eq!(ours.partition_type_guid, NODE_PARTITION_TYPE.to_bytes_le());
    assert_eq!(ours.starting_lba * sector, layout.node_partition.offset);
    assert_eq!(ours.size().unwrap() * sector, NODE_PARTITION_BYTES);
    assert_eq!(table.iter().filter(|(_, p)| p.is_used()).count(), manifest.partitions.len() + 1);
    // gptman checks GUIDs, overlaps and usable sectors when it writes.
    table.clone().write_into(&mut Cursor::new(vec![0; layout.disk_bytes as usize])).unwrap();
}

#[test]
fn both_tables_are_read_by_another_reader() {
    let manifest = sample();
    let layout = laid_out(&manifest, 50 * MIB + 512).unwrap();
    let mut disk = written(&layout);
    assert_table_is_sound(&manifest, &layout, &gptman::GPT::read_from(&mut Cursor::new(&disk), 512).unwrap());
    let primary = gptman::GPT::read_from(&mut Cursor::new(&disk), 512).unwrap();
    assert_eq!(primary.header.last_usable_lba, (50 * MIB + 512) / 512 - 34);
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
    assert_eq!(layout.node_partition.offset, 5 * MIB);
}

#[test]
fn a_disk_of_the_least_size_is_enough_and_one_sector_less_is_not() {
    let manifest = sample();
    let least = minimum_disk_bytes(&manifest);
    let layout = laid_out(&manifest, least).unwrap();
    let node_end = layout.node_partition.offset + layout.node_partition.length_bytes;
    assert_eq!(node_end, layout.backup_table_offset);
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
    let wrong = DiskLayout::compute(&manifest, &first_chunk(), 1 << 30, 4096, DISK_GUID, NODE_GUID);
    assert!(matches!(wrong, Err(LayoutError::SectorSize { disk_sector_bytes: 4096, .. })));
    let short = DiskLayout::compute(&manifest, &[0; 512], 1 << 30, 512, DISK_GUID, NODE_GUID);
    assert!(matches!(short, Err(LayoutError::FirstChunk { .. })));
    manifest.partitions[1].number = 128;
    assert!(matches!(laid_out(&manifest, 1 << 30), Err(LayoutError::NoNumberLeft { .. })));
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
    let found = find_node_partition(&disk).unwrap();
    assert_eq!((found.disk_guid, found.node_partition_guid), (DISK_GUID, NODE_GUID));
    assert_eq!(found.range, layout.node_partition);
}

#[test]
fn a_disk_without_our_partition_has_none() {
    assert_eq!(find_node_partition(&vec![0_u8; 100_000]), None);
    let mut disk = written(&laid_out(&sample(), 50 * MIB).unwrap());
    assert!(find_node_partition(&disk).is_some());
    disk[1024] ^= 1;
    assert_eq!(find_node_partition(&disk), None);
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
        let ours = layout.node_partition;
        assert!(manifest.partitions.iter().all(|p| p.end_byte() <= ours.offset));
        assert!(layout.image_end_bytes <= ours.offset && ours.offset.is_multiple_of(MIB));
        assert!(ours.offset + ours.length_bytes <= layout.backup_table_offset);
        let end = layout.backup_table_offset + layout.backup_table.len() as u64;
        assert_eq!(end, layout.disk_bytes);
        assert_eq!(Gpt::read(&written(&layout)).unwrap().partitions.len(), manifest.partitions.len() + 1);
    }

    #[test]
    fn a_changed_or_cut_table_never_panics_and_is_never_half_read(
        at in 512..1024 + 128 * 128_usize,
        to in any::<u8>(),
        cut in 0..40_000_usize,
    ) {
        let mut disk = written(&laid_out(&sample(), 40 * MIB).unwrap());
        let whole = Gpt::read(&disk).unwrap();
        assert!(Gpt::read(&disk[..cut]).is_err());
        disk[at] = to;
        // Behind the 92 bytes of the header the sector is not covered by its checksum.
        if let Ok(read) = Gpt::read(&disk) {
            assert_eq!(read, whole);
        }
    }
}
