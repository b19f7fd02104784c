use contract::id::{ChunkDigest, Digest};
use contract::root_size::RootSize;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use uuid::Uuid;

use super::{Copy, OnDisk, Placement, WritePlan, chunks_to_write, describe, sample, write_plan};
use crate::chunk::{CHUNK_BYTES, digest_of};
use crate::layout::{DiskLayout, LayoutRequest};
use crate::manifest::tests::sample as image;
use crate::manifest::{Chunk, Chunks, Manifest};

fn layout_request(disk_bytes: u64, guids: (Uuid, Uuid)) -> LayoutRequest<'static> {
    let (disk_guid, node_partition_guid) = guids;
    let root_size = RootSize::Grow;
    LayoutRequest { disk_bytes, sector_bytes: 512, disk_guid, node_partition_guid, root_size, keep: &[] }
}

#[test]
fn only_what_differs_or_is_unknown_is_written() {
    let manifest = image();
    let first = vec![9; CHUNK_BYTES];
    let guids = (Uuid::from_u128(1), Uuid::from_u128(2));
    let layout = DiskLayout::compute(&manifest, &first, &layout_request(1 << 30, guids)).unwrap();
    let expected = |index| OnDisk::Read(layout.chunk_digest(&manifest, index).unwrap());
    let all: Vec<OnDisk> = (0..layout.image_chunks).map(expected).collect();
    assert!(chunks_to_write(&manifest, &layout, &all).is_empty());

    let mut found = all.clone();
    found[0] = OnDisk::Read(digest_of(&first));
    found[2] = OnDisk::Unknown;
    found[3] = OnDisk::Read(digest_of(&vec![0; CHUNK_BYTES]));
    assert_eq!(chunks_to_write(&manifest, &layout, &found), [0, 2, 3]);
    assert_eq!(chunks_to_write(&manifest, &layout, &found[..4]), [0, 2, 3, 4]);
    assert_eq!(chunks_to_write(&manifest, &layout, &[]), [0, 1, 2, 3, 4]);
}

fn content(number: u8) -> ChunkDigest {
    ChunkDigest(Digest::of(&[number]))
}

/// An image of these contents; 0 is zeros.
fn image_of(contents: &[u8]) -> Manifest {
    let chunk = |number: &u8| if *number == 0 { Chunk::Zero } else { Chunk::Stored(content(*number)) };
    let chunks: Vec<Chunk> = contents.iter().map(chunk).collect();
    Manifest { disk_bytes: (chunks.len() * CHUNK_BYTES) as u64, chunks: Chunks::from(chunks), ..image() }
}

fn found_of(contents: &[u8]) -> Vec<OnDisk> {
    contents
        .iter()
        .map(|number| if *number == 9 { OnDisk::Unknown } else { OnDisk::Read(content(*number)) })
        .collect()
}

/// Carries a plan out on a disk of contents, as long as its sources are what it says.
fn carry_out(plan: &WritePlan, disk: &mut [Option<ChunkDigest>]) -> Result<(), String> {
    for copy in &plan.copies {
        if disk[copy.from as usize] != Some(copy.placement.digest) {
            return Err(format!("{copy:?} comes too late"));
        }
        for to in &copy.placement.to {
            disk[*to as usize] = Some(copy.placement.digest);
        }
    }
    for fetch in &plan.fetches {
        for to in &fetch.to {
            disk[*to as usize] = Some(fetch.digest);
        }
    }
    for index in plan.zero_runs.iter().cloned().flatten() {
        disk[index as usize] = None;
    }
    Ok(())
}

#[test]
fn what_the_disk_has_elsewhere_is_read_from_there() {
    // Everything has moved by one: the last must be copied first. Content 7 is nowhere.
    let plan = write_plan(&image_of(&[1, 7, 2, 3, 4]), &found_of(&[1, 2, 3, 4, 5]), &[1, 2, 3, 4]);
    let copies: Vec<(u64, u64)> = plan.copies.iter().map(|copy| (copy.from, copy.placement.to[0])).collect();
    assert_eq!(copies, [(3, 4), (2, 3), (1, 2)]);
    assert_eq!(plan.fetches, [Placement { digest: content(7), to: vec![1] }]);

    // Two that changed places: one of them is fetched.
    let plan = write_plan(&image_of(&[1, 3, 2]), &found_of(&[1, 2, 3]), &[1, 2]);
    assert_eq!((plan.copies.len(), plan.fetches.len()), (1, 1));

    // A place that keeps its content is preferred, and the first chunk is no source.
    let plan = write_plan(&image_of(&[1, 4, 5, 4, 1]), &found_of(&[1, 8, 4, 4, 8]), &[1, 2, 4]);
    let copy = Copy { from: 3, placement: Placement { digest: content(4), to: vec![1] } };
    assert_eq!(plan.copies, [copy]);
    assert_eq!(plan.fetches.len(), 2);
}

#[test]
fn zeros_are_bounded_runs_and_content_is_placed_once() {
    let mut contents = vec![0; 40];
    contents[30] = 6;
    contents[39] = 6;
    let indexes: Vec<u64> = (1..40).collect();
    let plan = write_plan(&image_of(&contents), &[], &indexes);
    assert_eq!(plan.zero_runs, [1..17, 17..30, 31..39]);
    assert_eq!(plan.fetches, [Placement { digest: content(6), to: vec![30, 39] }]);
}

#[test]
fn a_sample_is_spread_and_bounded() {
    let manifest = image();
    let first = vec![9; CHUNK_BYTES];
    let guids = (Uuid::from_u128(1), Uuid::from_u128(2));
    let layout = DiskLayout::compute(&manifest, &first, &layout_request(1 << 30, guids)).unwrap();
    assert_eq!(sample(&manifest, &layout, 64), [3, 4]);
    assert_eq!(sample(&manifest, &layout, 1), [3]);
    assert_eq!(sample(&manifest, &layout, 0), [3]);
}

#[test]
fn what_differed_is_said_by_partition_and_file() {
    let manifest = image();
    assert_eq!(
        describe(&manifest, &[1, 3]),
        "1 in partition 14 (part14), 1 in partition 1 (part1); parts of 1 immutable files lie there: /usr/a"
    );
    assert_eq!(describe(&manifest, &[0]), "none in a partition");
    let mut long = manifest;
    long.partitions[0].name.clear();
    assert!(describe(&long, &[3]).starts_with("1 in partition 1; parts"));
    long.partitions[0].name = format!("\u{1b}{}", "n".repeat(5000));
    let root = long.root.as_mut().unwrap();
    root.entries = (0..5000).map(|_| root.entries[1].clone()).collect();
    let text = describe(&long, &[2, 3]);
    assert!(text.len() < 2000 && text.ends_with("and 4992 more"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

proptest! {
    #[test]
    fn any_disk_becomes_the_image_and_no_source_is_lost(
        wanted in proptest::collection::vec(0_u8..9, 1..40),
        disk in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let manifest = image_of(&wanted);
        let disk: Vec<u8> = disk.iter().map(|number| number % 10).collect();
        let found = found_of(&disk[..disk.len().min(wanted.len())]);
        let indexes: Vec<u64> = (1..wanted.len())
            .filter(|at| wanted[*at] == 0 || found.get(*at) != Some(&OnDisk::Read(content(wanted[*at]))))
            .map(|at| at as u64)
            .collect();
        let plan = write_plan(&manifest, &found, &indexes);
        let mut state: Vec<Option<ChunkDigest>> = (0..wanted.len())
            .map(|at| match found.get(at) { Some(OnDisk::Read(digest)) if at > 0 => Some(*digest), _ => None })
            .collect();
        carry_out(&plan, &mut state).map_err(proptest::test_runner::TestCaseError::fail)?;
        for at in 1..wanted.len() {
            let expected = (wanted[at] != 0).then(|| content(wanted[at]));
            prop_assert_eq!(state[at], expected);
        }
        // Nothing that stays where it is could have been copied and is fetched all the same.
        for fetch in &plan.fetches {
            let stays = (1..found.len() as u64).any(|at| {
                !indexes.contains(&at) && found[at as usize] == OnDisk::Read(fetch.digest)
            });
            prop_assert!(!stays);
        }
    }
}
