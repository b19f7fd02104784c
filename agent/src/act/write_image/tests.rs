//! What is fetched, what is moved about and what is left alone.

use std::sync::Arc;

use contract::agent_api::{Finish, FinishResult};
use imaging::chunk::{CHUNK_BYTES, digest_of};
use imaging::delta::{Copy, Placement, WritePlan};
use imaging::layout::DiskLayout;
use imaging::manifest::PartitionRole;

use super::look::digest_of_found;
use super::stream::Stream;
use crate::act::device::BlockDevice;
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, Image, layout_request, noise, of_bytes, partition, run, write_step};
use crate::act::service::Service;
use crate::act::work::Work;

/// Chunks of the image, the last ones past its partitions.
const CHUNKS: usize = 26;
const DISK_BYTES: usize = 72 << 20;

/// An image of noise with two runs of zeros.
fn image() -> Image {
    let mut bytes = noise(11, CHUNKS * CHUNK_BYTES);
    bytes[4 * CHUNK_BYTES..9 * CHUNK_BYTES].fill(0);
    bytes[15 * CHUNK_BYTES..16 * CHUNK_BYTES].fill(0);
    let end = 25 << 20;
    of_bytes(
        bytes,
        vec![
            partition(1, 1 << 20, 3 << 20, PartitionRole::Esp),
            partition(2, 3 << 20, end, PartitionRole::Other),
        ],
    )
}

fn is_complete(content: &[u8], image: &Image) -> bool {
    let first = &image.bytes[..CHUNK_BYTES];
    let layout = DiskLayout::compute(&image.manifest, first, &layout_request(DISK_BYTES as u64)).unwrap();
    content[..CHUNK_BYTES] == layout.first_chunk[..]
        && content[CHUNK_BYTES..25 * CHUNK_BYTES] == image.bytes[CHUNK_BYTES..25 * CHUNK_BYTES]
        && content[layout.backup_table_offset as usize..] == layout.backup_table[..]
}

fn write(content: Vec<u8>, faults: Faults, image: &Image) -> (Finish, Arc<FakeDevice>, Arc<FakeService>) {
    let disk = Arc::new(FakeDevice::new(content, faults));
    let service = Arc::new(FakeService::with(image));
    let finish = run(&disk, &service, vec![write_step(&disk, image)]);
    (finish, disk, service)
}

/// A disk with this image on it.
fn installed(image: &Image) -> Vec<u8> {
    let (finish, disk, _) = write(noise(12, DISK_BYTES), Faults::default(), image);
    assert_eq!(finish.result, FinishResult::Done);
    disk.content()
}

fn chunk(content: &mut [u8], index: usize) -> &mut [u8] {
    &mut content[index * CHUNK_BYTES..(index + 1) * CHUNK_BYTES]
}

#[test]
fn old_content_becomes_the_image_and_every_zero_is_written() {
    let image = image();
    let (finish, disk, service) = write(noise(12, DISK_BYTES), Faults::default(), &image);
    assert_eq!(finish.result, FinishResult::Done);
    assert!(is_complete(&disk.content(), &image));
    assert_eq!(service.chunks_fetched(), 19);
    let proof = &finish.steps[0].proof;
    assert!(proof.starts_with("none of 18 chunks looked at holds anything of the image"), "{proof}");
    assert!(proof.contains("6 were made zeros and 0 were found"), "{proof}");
    assert_eq!(
        finish.steps[0].bytes_written,
        disk.writes().iter().map(|write| write.length_bytes).sum::<u64>()
    );
    assert_eq!(finish.steps[0].bytes_read, disk.bytes_read());
}

#[test]
fn zeros_that_are_there_are_read_and_not_written() {
    let image = image();
    let (finish, disk, _) = write(vec![0; DISK_BYTES], Faults::default(), &image);
    assert_eq!(finish.result, FinishResult::Done);
    assert!(is_complete(&disk.content(), &image));
    let proof = &finish.steps[0].proof;
    assert!(proof.contains("0 were made zeros and 6 were found"), "{proof}");
    let zeros = 4 << 20..9 << 20;
    assert!(!disk.writes().iter().any(|write| zeros.contains(&write.offset_bytes)));

    // One that cannot be read is made zeros, and found out when it is read back.
    let faults = Faults { unreadable: Some(6 << 20..(6 << 20) + 1), ..Faults::default() };
    let (finish, ..) = write(vec![0; DISK_BYTES], faults, &image);
    let FinishResult::Failed { error, .. } = &finish.result else { panic!("{finish:?}") };
    assert!(error.contains("read back chunk 6"), "{error}");
}

#[test]
fn what_moved_on_the_disk_is_not_fetched() {
    let image = image();
    let mut disk = installed(&image);
    // Chunks 16 to 24 have moved down by one over each other, two have changed places.
    let moved = disk[17 * CHUNK_BYTES..25 * CHUNK_BYTES].to_vec();
    let lost = disk[16 * CHUNK_BYTES..17 * CHUNK_BYTES].to_vec();
    disk[16 * CHUNK_BYTES..24 * CHUNK_BYTES].copy_from_slice(&moved);
    chunk(&mut disk, 24).copy_from_slice(&noise(13, CHUNK_BYTES));
    let second = chunk(&mut disk, 2).to_vec();
    let third = chunk(&mut disk, 3).to_vec();
    chunk(&mut disk, 2).copy_from_slice(&third);
    chunk(&mut disk, 3).copy_from_slice(&second);
    // The one that was pushed out is kept where zeros belong.
    chunk(&mut disk, 5).copy_from_slice(&lost);
    let (finish, after, service) = write(disk, Faults::default(), &image);
    assert_eq!(finish.result, FinishResult::Done);
    assert!(is_complete(&after.content(), &image));
    // The first, and one of the two that changed places.
    assert_eq!(service.chunks_fetched(), 2);
    let proof = &finish.steps[0].proof;
    assert!(proof.contains("1 chunks were written from the service, 10 from elsewhere"), "{proof}");
    assert!(
        proof.starts_with("12 of 25 chunks differed: 1 in partition 1 (part 1), 11 in partition 2"),
        "{proof}"
    );
}

#[test]
fn copies_that_lie_or_are_cut_short_never_boot() {
    let image = image();
    let mut before = installed(&image);
    before.copy_within(17 << 20..25 << 20, 16 << 20);
    let (_, done, _) = write(before.clone(), Faults::default(), &image);
    let writes = done.writes().len();
    for at in (0..writes).step_by(7) {
        let cut = Faults { power_cut_at_write: Some(at), ..Faults::default() };
        let (finish, disk, _) = write(before.clone(), cut, &image);
        assert!(matches!(finish.result, FinishResult::Failed { .. }));
        let survivors = disk.after_power_cut(|index| index % 2 == 0);
        let has_table = survivors[512..520] == *b"EFI PART" || survivors[510..512] == [0x55, 0xaa];
        let untouched = survivors[1 << 20..25 << 20] == before[1 << 20..25 << 20];
        assert!(!has_table || untouched || at + 1 >= writes, "write {at}");
        let (again, disk, _) = write(survivors, Faults::default(), &image);
        assert_eq!(again.result, FinishResult::Done);
        assert!(is_complete(&disk.content(), &image));

        let lie = Faults { dropped_writes: [at].into(), ..Faults::default() };
        let (finish, disk, _) = write(before.clone(), lie, &image);
        // A write of what is there already is not missed.
        let failed = matches!(finish.result, FinishResult::Failed { .. });
        assert!(failed || is_complete(&disk.content(), &image), "write {at} was dropped");
    }
}

#[test]
fn a_disk_that_is_smaller_than_it_says_is_found_out() {
    let image = image();
    // Whatever the last chunks come to lie on, it was written and read back before.
    for wraps_at in [24_u64 << 20, 16 << 20, 3 << 20] {
        let faults = Faults { wraps_at: Some(wraps_at), ..Faults::default() };
        let (finish, disk, _) = write(noise(12, DISK_BYTES), faults, &image);
        let FinishResult::Failed { error, .. } = &finish.result else { panic!("{wraps_at}: {finish:?}") };
        assert!(error.contains("reads back with other bytes") || error.contains("still there"), "{error}");
        assert_ne!(disk.content()[512..520], *b"EFI PART");
    }
}

#[test]
fn one_changed_chunk_costs_little_more_than_itself() {
    let image = image();
    let mut disk = installed(&image);
    chunk(&mut disk, 20)[77] ^= 1;
    let (finish, after, _) = write(disk, Faults::default(), &image);
    assert_eq!(finish.result, FinishResult::Done);
    assert!(is_complete(&after.content(), &image));
    // The chunk, twice both tables, and one slot of the node's record.
    let written = finish.steps[0].bytes_written;
    assert!(written < (CHUNK_BYTES + 160 * 1024) as u64, "{written}");
    // A first MiB that differs beyond its tables is written wholly.
    let mut disk = installed(&image);
    disk[700 * 1024] ^= 1;
    let (finish, after, _) = write(disk, Faults::default(), &image);
    assert_eq!(finish.result, FinishResult::Done);
    assert!(is_complete(&after.content(), &image));
}

#[test]
fn a_source_that_is_not_what_it_was_is_fetched_instead() {
    let image = image();
    let disk = Arc::new(FakeDevice::new(installed(&image), Faults::default()));
    let service = Arc::new(FakeService::with(&image));
    let work = Work {
        device: Arc::clone(&disk) as Arc<dyn BlockDevice>,
        disk: "test".to_owned(),
        service: Arc::clone(&service) as Arc<dyn Service>,
        meter: Arc::default(),
        disks_at_once: 1,
        buffers: Arc::default(),
    };
    let first = &image.bytes[..CHUNK_BYTES];
    let size = DISK_BYTES as u64;
    let layout = DiskLayout::compute(&image.manifest, first, &layout_request(size)).unwrap();
    let digest = digest_of(&image.bytes[20 * CHUNK_BYTES..21 * CHUNK_BYTES]);
    let placement = Placement { digest, to: vec![20] };
    let plan = WritePlan { copies: vec![Copy { from: 7, placement }], ..WritePlan::default() };
    let stream = Stream::new(&work, Arc::new(image.manifest.clone()), Arc::new(layout), false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let written = runtime.block_on(stream.write(plan)).unwrap();
    assert_eq!((written.copied, written.fetched, service.chunks_fetched()), (0, 1, 1));
    assert!(is_complete(&disk.content(), &image));
}

#[test]
fn zeros_have_the_digest_of_zeros_and_almost_zeros_do_not() {
    for length in [CHUNK_BYTES, CHUNK_BYTES - 512, 512, 7, 0] {
        assert_eq!(digest_of_found(&vec![0; length]), digest_of(&vec![0; length]));
    }
    for at in [0, 4095, 4096, CHUNK_BYTES - 1] {
        let mut bytes = vec![0; CHUNK_BYTES];
        bytes[at] = 1;
        assert_eq!(digest_of_found(&bytes), digest_of(&bytes));
    }
}
