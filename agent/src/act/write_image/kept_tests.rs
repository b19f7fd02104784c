//! Partitions with data beside the image: before, after and while it is written.

use std::fs;
use std::sync::Arc;

use contract::agent_api::{Finish, FinishResult};
use contract::decision::SanitizeLevel;
use contract::id::Digest;
use contract::plan::{EraseMethod, KeptPartition, Step, VerifyDepth};
use contract::reading::{Outcome, ReadingKey, ReadingValue};
use contract::root_size::RootSize;
use imaging::chunk::CHUNK_BYTES;
use imaging::gpt::Gpt;
use imaging::layout::{self, DiskLayout, LayoutRequest};
use imaging::manifest::PartitionRole;
use uuid::Uuid;

use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{
    FakeService, GUIDS, Image, disk_id, layout_request, noise, of_bytes, partition, run, target, write_step,
};
use crate::act::loop_fixture::{Loop, must};
use crate::image_check::{ImageCheckRequest, check_from_ramdisk};
use crate::probe::data_partitions;

const DISK_BYTES: usize = 53 << 20;
const DATA: std::ops::Range<usize> = 9 << 20..11 << 20;

fn image(seed: u32, end: u64) -> Image {
    let mut bytes = noise(seed, 8 * CHUNK_BYTES);
    bytes[3 * CHUNK_BYTES..5 * CHUNK_BYTES].fill(0);
    of_bytes(bytes, vec![partition(1, 1 << 20, end, PartitionRole::Root)])
}

fn data() -> KeptPartition {
    KeptPartition {
        number: 4,
        type_guid: Uuid::from_u128(0x11),
        unique_guid: Uuid::from_u128(0x22),
        first_byte: DATA.start as u64,
        length_bytes: DATA.len() as u64,
        attributes: 1 << 63,
        name: "data".to_owned(),
    }
}

fn layout(image: &Image, keep: &[KeptPartition]) -> DiskLayout {
    let request = LayoutRequest { keep, ..layout_request(DISK_BYTES as u64) };
    DiskLayout::compute(&image.manifest, &image.bytes[..CHUNK_BYTES], &request).unwrap()
}

/// A disk with this image, to which somebody added a partition with data.
fn installed(image: &Image) -> Vec<u8> {
    let layout = layout(image, &[data()]);
    let mut disk = noise(9, DISK_BYTES);
    let end = layout.image_end_bytes as usize;
    disk[..end].copy_from_slice(&image.bytes[..end]);
    disk[..CHUNK_BYTES].copy_from_slice(&layout.first_chunk);
    disk[layout.backup_table_offset as usize..].copy_from_slice(&layout.backup_table);
    disk
}

fn keeping(device: &FakeDevice, image: &Image, kept: KeptPartition) -> Step {
    let mut step = write_step(device, image);
    if let Step::WriteImage { keep, .. } = &mut step {
        keep.push(kept);
    }
    step
}

fn write(content: Vec<u8>, faults: Faults, image: &Image) -> (Finish, Arc<FakeDevice>) {
    let disk = Arc::new(FakeDevice::new(content, faults));
    let step = keeping(&disk, image, data());
    (run(&disk, &Arc::new(FakeService::with(image)), vec![step]), disk)
}

/// The data partitions in a disk's table beside this image.
fn in_table(content: &[u8], image: &Image) -> Vec<KeptPartition> {
    layout::data_partitions(&Gpt::read(content).unwrap(), &[&image.manifest])
}

#[test]
fn another_image_leaves_data_and_their_entry_as_they_were() {
    let (old, new) = (image(1, 6 << 20), image(2, 7 << 20));
    let before = installed(&old);
    let (finish, disk) = write(before.clone(), Faults::default(), &new);
    assert_eq!(finish.result, FinishResult::Done);
    let after = disk.content();
    assert_eq!(Digest::of(&after[DATA]), Digest::of(&before[DATA]));
    assert!(disk.writes().iter().all(|write| {
        let end = write.offset_bytes + write.length_bytes;
        end <= DATA.start as u64 || write.offset_bytes >= DATA.end as u64
    }));
    let table = Gpt::read(&after).unwrap();
    assert_eq!(Gpt::read_backup(&after).unwrap(), table);
    assert_eq!(in_table(&after, &new), [data()]);
    // The root ends where the data begin.
    let root = table.partitions.iter().find(|partition| partition.number == 1).unwrap();
    assert_eq!((root.last_sector + 1) * 512, DATA.start as u64);
    let proof = &finish.steps[0].proof;
    assert!(proof.contains("; partition 4 \"data\" (2 MiB) stayed as they were"), "{proof}");
}

/// What the next look and the next plan make of a disk. Without a table it is what the plan that was
/// begun was to keep (`verdict` test `work_that_was_cut_off_goes_on_with_what_it_was_to_keep`).
fn kept_next(content: &[u8], images: [&Image; 2]) -> Vec<KeptPartition> {
    match data_partitions::read(content, &images.map(|image| &image.manifest)) {
        Outcome::Value(ReadingValue::List { items, .. }) => {
            items.iter().map(|item| serde_json::from_str(item).unwrap()).collect()
        }
        Outcome::Absent => vec![data()],
        other => panic!("no plan can be made: {other:?}"),
    }
}

#[test]
fn a_power_cut_at_any_write_loses_no_data_and_the_next_try_keeps_them_too() {
    let (old, new) = (image(1, 6 << 20), image(2, 7 << 20));
    let before = installed(&old);
    let (_, done) = write(before.clone(), Faults::default(), &new);
    for at in 0..done.writes().len() {
        let cut = Faults { power_cut_at_write: Some(at), ..Faults::default() };
        let (finish, disk) = write(before.clone(), cut, &new);
        assert!(matches!(finish.result, FinishResult::Failed { .. }), "write {at}");
        for lost in [1, 2] {
            let survivors = disk.after_power_cut(|index| index % 2 != lost);
            assert_eq!(Digest::of(&survivors[DATA]), Digest::of(&before[DATA]), "write {at}");
            let kept = kept_next(&survivors, [&old, &new]);
            assert_eq!(kept, [data()], "write {at}");
            // Going on from every one would take long, and shows no more.
            if at % 12 != lost {
                continue;
            }
            let disk = Arc::new(FakeDevice::new(survivors, Faults::default()));
            let step = keeping(&disk, &new, kept[0].clone());
            let again = run(&disk, &Arc::new(FakeService::with(&new)), vec![step]);
            assert_eq!(again.result, FinishResult::Done, "write {at}");
            let after = disk.content();
            assert_eq!(Digest::of(&after[DATA]), Digest::of(&before[DATA]), "write {at}");
            assert_eq!(in_table(&after, &new), [data()]);
        }
    }
}

#[test]
fn what_the_plan_keeps_and_the_disk_has_otherwise_is_not_written_over() {
    let image = image(1, 6 << 20);
    let before = installed(&image);
    let refuse = |kept: KeptPartition, content: Vec<u8>| {
        let disk = Arc::new(FakeDevice::new(content, Faults::default()));
        let step = keeping(&disk, &image, kept);
        let service = Arc::new(FakeService::with(&image));
        let finish = run(&disk, &service, vec![step]);
        assert!(disk.writes().is_empty() && !service.calls().contains(&"begin 0".to_owned()));
        let FinishResult::Failed { error, .. } = finish.result else { panic!("{finish:?}") };
        assert!(error.starts_with("nothing was written"), "{error}");
        error
    };
    let moved = KeptPartition { first_byte: 10 << 20, ..data() };
    assert!(refuse(moved, before.clone()).contains("look again"));
    let mut broken = before;
    broken[1030] ^= 1;
    broken[DISK_BYTES - 400] ^= 1;
    broken[DISK_BYTES - 512] ^= 1;
    assert!(refuse(data(), broken).contains("could not tell which partitions"));
    let inside = KeptPartition { first_byte: 5 << 20, ..data() };
    assert!(refuse(inside, vec![0; DISK_BYTES]).contains("reaches to"));
}

#[test]
fn a_plan_that_erases_and_keeps_is_refused_before_anything_happens() {
    let image = image(1, 6 << 20);
    let disk = Arc::new(FakeDevice::new(installed(&image), Faults::default()));
    let erase = Step::Erase {
        disk: target(&disk),
        method: EraseMethod::Overwrite,
        level: SanitizeLevel::Clear,
        verify_seed: Digest::of(b"seed"),
        verify_samples: 10,
        verify_depth: VerifyDepth::Sampling,
    };
    let service = Arc::new(FakeService::with(&image));
    let finish = run(&disk, &service, vec![erase, keeping(&disk, &image, data())]);
    let FinishResult::Failed { error, .. } = finish.result else { panic!("{finish:?}") };
    assert!(error.contains("erases disk") && disk.writes().is_empty(), "{error}");
}

/// What a tenant's own tool makes of our table is no difference from the image.
#[test]
fn a_partition_that_a_tool_added_is_data_and_the_image_is_still_found_whole() {
    let image = image(1, 6 << 20);
    let disk = Arc::new(FakeDevice::new(vec![0; DISK_BYTES], Faults::default()));
    let mut step = write_step(&disk, &image);
    if let Step::WriteImage { root_size, .. } = &mut step {
        *root_size = RootSize::Image;
    }
    let finish = run(&disk, &Arc::new(FakeService::with(&image)), vec![step]);
    assert_eq!(finish.result, FinishResult::Done);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("disk");
    fs::write(&file, disk.content()).unwrap();
    let place = format!("--new=0:{}:{}", DATA.start / 512, DATA.end / 512 - 1);
    must("sgdisk", &[&place], &file);
    must("sgdisk", &["--change-name=4:data", "--attributes=4:set:63"], &file);
    let found = fs::read(&file).unwrap();
    let data = in_table(&found, &image);
    let places: Vec<(u64, u64, &str)> =
        data.iter().map(|one| (one.first_byte, one.length_bytes, one.name.as_str())).collect();
    assert_eq!(places.len(), 1, "{data:?}");
    assert_eq!((places[0].0, places[0].1), (DATA.start as u64, DATA.len() as u64));
    let unfinished = || {
        let attached = Loop::attach(&file);
        let measured = check_from_ramdisk(&ImageCheckRequest {
            manifest: &image.manifest,
            first_chunk: Some(&image.bytes[..CHUNK_BYTES]),
            disk: &disk_id(),
            os_disk: &attached.device,
        });
        measured.into_iter().find(|(_, key, _)| *key == ReadingKey::ImageUnfinished).unwrap().2
    };
    assert_eq!(unfinished(), Outcome::Value(ReadingValue::Flag(false)));

    // An entry over what is in no partition of the image could hide what was changed there, and is not
    // taken for one of ours by its identity.
    let seed = layout::seed_partition_guid(GUIDS.1);
    must("sgdisk", &["--set-alignment=1", "--new=9:34:2047"], &file);
    must("sgdisk", &[&format!("--partition-guid=9:{seed}")], &file);
    assert_eq!(unfinished(), Outcome::Value(ReadingValue::Flag(true)));
}
