//! Writing images on disks that break, from services that lie.

use std::sync::Arc;

use contract::agent_api::{Finish, FinishResult};
use contract::decision::SanitizeLevel;
use contract::id::Digest;
use contract::plan::{EraseMethod, Step, VerifyDepth};
use erasure::command::commands;
use imaging::chunk::{CHUNK_BYTES, digest_of};
use imaging::layout::DiskLayout;
use imaging::node_record::{NodeRecord, RECORD_BYTES, decode_newest};

use crate::act::device::{BlockDevice, Timer};
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{
    FIRST_PARTITION_END, FakeService, Image, identity, image, layout_request, noise, run, target, write_step,
};

/// The image needs 45 MiB and the tables; the rest is somebody else's.
const DISK_BYTES: usize = 48 << 20;

fn layout(image: &Image) -> DiskLayout {
    let first = &image.bytes[..CHUNK_BYTES];
    DiskLayout::compute(&image.manifest, first, &layout_request(DISK_BYTES as u64)).unwrap()
}

fn device(content: Vec<u8>, faults: Faults) -> Arc<FakeDevice> {
    Arc::new(FakeDevice::new(content, faults))
}

fn service(image: &Image) -> Arc<FakeService> {
    Arc::new(FakeService::with(image))
}

fn error(finish: &Finish) -> String {
    match &finish.result {
        FinishResult::Failed { error, .. } => error.clone(),
        other => panic!("not failed: {other:?}"),
    }
}

fn is_complete(content: &[u8], image: &Image) -> bool {
    let layout = layout(image);
    let node = layout.ours.unwrap().node.offset as usize;
    let backup = layout.backup_table_offset as usize;
    content[..CHUNK_BYTES] == layout.first_chunk[..]
        && content[CHUNK_BYTES..5 * CHUNK_BYTES] == image.bytes[CHUNK_BYTES..5 * CHUNK_BYTES]
        && content[backup..] == layout.backup_table[..]
        && matches!(decode_newest(&content[node..node + RECORD_BYTES]), NodeRecord::Value { .. })
}

/// An installed disk whose second and fourth chunk have drifted, with data behind all partitions.
fn drifted(image: &Image) -> Vec<u8> {
    let layout = layout(image);
    let mut content = noise(99, DISK_BYTES);
    content[..5 * CHUNK_BYTES].copy_from_slice(&image.bytes[..5 * CHUNK_BYTES]);
    content[..CHUNK_BYTES].copy_from_slice(&layout.first_chunk);
    content[layout.backup_table_offset as usize..].copy_from_slice(&layout.backup_table);
    content[CHUNK_BYTES + 5] ^= 1;
    content[3 * CHUNK_BYTES..4 * CHUNK_BYTES].fill(3);
    content
}

#[test]
fn a_blank_disk_becomes_the_image_and_a_second_run_writes_only_the_record() {
    let image = image();
    let blank = device(vec![0; DISK_BYTES], Faults::default());
    let first = service(&image);
    let finish = run(&blank, &first, vec![write_step(&blank, &image)]);
    assert_eq!(finish.result, FinishResult::Done);
    let content = blank.content();
    assert!(is_complete(&content, &image));
    // The zero chunk was there already; two equal chunks and the first are fetched once each.
    assert_eq!(first.chunks_fetched(), 3);
    let counted = &finish.steps[0];
    assert_eq!(counted.bytes_fetched, first.bytes_fetched());
    assert_eq!(counted.bytes_written, blank.writes().iter().map(|write| write.length_bytes).sum::<u64>());
    assert_eq!(counted.bytes_read, blank.bytes_read());
    assert_eq!(first.calls()[..3], ["manifest", "chunk", "begin 0"]);

    let again = device(content.clone(), Faults::default());
    let second = service(&image);
    assert_eq!(run(&again, &second, vec![write_step(&again, &image)]).result, FinishResult::Done);
    assert_eq!(again.writes().len(), 1);
    let node = layout(&image).ours.unwrap().node.offset as usize;
    let found = decode_newest(&again.content()[node..node + RECORD_BYTES]);
    let expected = serde_json::to_vec(&identity(image.manifest.id().unwrap())).unwrap();
    assert_eq!(found, NodeRecord::Value { sequence: 2, payload: expected });
    assert_eq!(again.content()[..node], content[..node]);
}

#[test]
fn only_what_differs_is_written_and_nothing_beside_it() {
    let image = image();
    let before = drifted(&image);
    let disk = device(before.clone(), Faults::default());
    let service = service(&image);
    assert_eq!(run(&disk, &service, vec![write_step(&disk, &image)]).result, FinishResult::Done);
    let after = disk.content();
    assert!(is_complete(&after, &image));
    let layout = layout(&image);
    let guard =
        (layout.ours.unwrap().node.offset as usize + RECORD_BYTES)..layout.backup_table_offset as usize;
    assert_eq!(after[guard.clone()], before[guard]);
    // The first chunk, always; and one of the two that drifted: the other's content is on the disk.
    assert_eq!(service.chunks_fetched(), 2);
    // The seed partition is made blank: its start, its eight MiB, its start again.
    // Tables go and come with their headers apart: five writes take them away, three put them there.
    assert_eq!(disk.writes().len(), 5 + 2 + 10 + 1 + 3);
}

/// Whether any firmware or kernel could find partitions. Careful: the mere beginning of a table counts.
fn may_have_partitions(content: &[u8]) -> bool {
    content[512..520] == *b"EFI PART"
        || content[510..512] == [0x55, 0xaa]
        || content[content.len() - 512..][..8] == *b"EFI PART"
}

#[test]
fn a_power_cut_at_any_write_leaves_the_old_disk_or_no_disk_or_the_new_disk() {
    let image = image();
    let before = drifted(&image);
    let probe = device(before.clone(), Faults::default());
    run(&probe, &service(&image), vec![write_step(&probe, &image)]);
    let writes = probe.writes().len();
    assert!(writes >= 7);
    for cut in 0..writes {
        let faults = Faults { power_cut_at_write: Some(cut), ..Faults::default() };
        let disk = device(before.clone(), faults);
        error(&run(&disk, &service(&image), vec![write_step(&disk, &image)]));
        let survivors: [fn(usize) -> bool; 4] =
            [|_| true, |_| false, |index| index % 2 == 0, |index| index % 2 == 1];
        for (which, kept) in survivors.into_iter().enumerate() {
            let content = disk.after_power_cut(kept);
            let chunks = |bytes: &[u8]| bytes[CHUNK_BYTES..5 * CHUNK_BYTES].to_vec();
            let untouched = chunks(&content) == chunks(&before);
            let whole = chunks(&content) == chunks(&image.bytes);
            assert!(!may_have_partitions(&content) || untouched || whole, "write {cut}, survivors {which}");
            let first_is_new = content[..CHUNK_BYTES] == layout(&image).first_chunk[..];
            assert!(
                !first_is_new || untouched || is_complete(&content, &image),
                "write {cut}, survivors {which}"
            );
            if which == 0 {
                resume(content, &image);
            }
        }
    }
}

fn resume(content: Vec<u8>, image: &Image) {
    let disk = device(content, Faults::default());
    let service = service(image);
    assert_eq!(run(&disk, &service, vec![write_step(&disk, image)]).result, FinishResult::Done);
    assert!(is_complete(&disk.content(), image));
    assert!(service.chunks_fetched() <= 3);
}

#[test]
fn a_run_after_a_power_cut_fetches_less() {
    let image = image();
    // Five writes take the tables away; of the four chunks two are then there, in whatever order they came.
    let faults = Faults { power_cut_at_write: Some(7), ..Faults::default() };
    let disk = device(noise(5, DISK_BYTES), faults);
    error(&run(&disk, &service(&image), vec![write_step(&disk, &image)]));
    let disk = device(disk.content(), Faults::default());
    let second = service(&image);
    assert_eq!(run(&disk, &second, vec![write_step(&disk, &image)]).result, FinishResult::Done);
    assert!(is_complete(&disk.content(), &image));
    assert!(second.chunks_fetched() < 3, "{}", second.chunks_fetched());
}

#[test]
fn a_disk_that_lies_about_any_write_is_found_out() {
    let image = image();
    let before = drifted(&image);
    let mut harmless = Vec::new();
    for lie in 0..10 {
        for faults in [
            Faults { dropped_writes: [lie].into(), ..Faults::default() },
            Faults { flipped_write: Some(lie), ..Faults::default() },
            Faults { write_blocked_from: Some(lie), ..Faults::default() },
        ] {
            let disk = device(before.clone(), faults.clone());
            let finish = run(&disk, &service(&image), vec![write_step(&disk, &image)]);
            let content = disk.content();
            if finish.result == FinishResult::Done {
                // What was lost on the way to zeros was made zeros once more, and that was read back.
                assert!(is_complete(&content, &image), "{faults:?}");
                harmless.push((lie, faults.flipped_write.is_some()));
                continue;
            }
            assert!(error(&finish).contains("replace the disk"), "{faults:?}: {}", error(&finish));
            let untouched = content[CHUNK_BYTES..5 * CHUNK_BYTES] == before[CHUNK_BYTES..5 * CHUNK_BYTES];
            let primary = content[510..512] == [0x55, 0xaa] || content[512..520] == *b"EFI PART";
            assert!(untouched || !primary || faults.write_blocked_from.is_some(), "{faults:?}");
        }
    }
    // What takes the tables away is written twice: first their headers, then all of them.
    let expected = [(0, false), (0, true), (1, false), (1, true), (2, false), (2, true), (4, false)];
    assert_eq!(harmless, expected);
}

#[test]
fn a_chunk_that_was_tampered_with_cut_or_lost_is_never_booted() {
    let image = image();
    let second = digest_of(&image.bytes[CHUNK_BYTES..2 * CHUNK_BYTES]);
    let changes: [fn(&mut Vec<u8>); 4] = [
        |stored| stored[1000] ^= 1,
        |stored| stored.truncate(stored.len() / 2),
        |stored| stored.clear(),
        |stored| *stored = imaging::chunk::compress(&[1; CHUNK_BYTES]).unwrap(),
    ];
    for change in changes {
        let service = service(&image);
        service.tamper(second, change);
        let disk = device(drifted(&image), Faults::default());
        let finish = run(&disk, &service, vec![write_step(&disk, &image)]);
        assert!(error(&finish).contains("damaged"), "{}", error(&finish));
        assert!(!may_have_partitions(&disk.content()));
    }
}

#[test]
fn what_can_be_known_to_fail_before_writing_writes_nothing() {
    let image = image();
    let before = drifted(&image);
    let erase = |disk: &FakeDevice| erase_step(disk, EraseMethod::Overwrite);
    let mut refusing = FakeService::with(&image);
    refusing.refuses_begin = true;
    let no_first_chunk = FakeService::with(&image);
    no_first_chunk.tamper(digest_of(&image.bytes[..CHUNK_BYTES]), Vec::clear);
    for service in [refusing, no_first_chunk, FakeService::without_images()] {
        let service = Arc::new(service);
        let disk = device(before.clone(), Faults::default());
        let finish = run(&disk, &service, vec![erase(&disk), write_step(&disk, &image)]);
        assert!(error(&finish).contains("nothing"), "{}", error(&finish));
        assert!(disk.writes().is_empty());
        assert!(disk.content() == before);
        assert!(service.refuses_begin || !service.calls().contains(&"begin 0".to_owned()));
    }
}

fn erase_step(disk: &FakeDevice, method: EraseMethod) -> Step {
    Step::Erase {
        disk: target(disk),
        method,
        level: if method == EraseMethod::NvmeSanitizeCryptoBlock {
            SanitizeLevel::Purge
        } else {
            SanitizeLevel::Clear
        },
        verify_seed: Digest::of(b"seed"),
        verify_samples: 200,
        verify_depth: VerifyDepth::Sampling,
    }
}

#[test]
fn a_wipe_leaves_nothing_of_the_old_disk_and_proves_it() {
    let image = image();
    let methods = [
        EraseMethod::Overwrite,
        EraseMethod::NvmeFormatUserData,
        EraseMethod::NvmeSanitizeCryptoBlock,
        EraseMethod::ScsiSanitizeOverwrite,
        EraseMethod::AtaSecurityErase,
    ];
    for method in methods {
        let disk = device(drifted(&image), Faults::default());
        let finish = run(&disk, &service(&image), vec![erase_step(&disk, method), write_step(&disk, &image)]);
        assert_eq!(finish.result, FinishResult::Done);
        let content = disk.content();
        assert!(is_complete(&content, &image));
        let layout = layout(&image);
        let guard =
            (layout.ours.unwrap().node.offset as usize + RECORD_BYTES)..layout.backup_table_offset as usize;
        assert!(
            content[guard]
                == vec![
                    0;
                    layout.backup_table_offset as usize
                        - layout.ours.unwrap().node.offset as usize
                        - RECORD_BYTES
                ]
        );
        let record: erasure::EraseRecord =
            serde_json::from_str(finish.steps[0].erase_record.as_deref().unwrap()).unwrap();
        assert_eq!((record.method, record.samples), (method, 200));
        assert_eq!(disk.commands(), commands(method));
        assert_eq!(record.commands.len(), commands(method).len());
        assert_eq!(disk.timer().now_millis() > 0, commands(method).iter().any(|c| c.outlives_a_reset()));
        assert_eq!(finish.steps[1].erase_record, None);
    }
}

#[test]
fn an_erase_that_did_not_happen_is_not_erased_and_no_image_follows() {
    let image = image();
    let before = drifted(&image);
    let format = EraseMethod::NvmeFormatUserData;
    let sanitize = EraseMethod::NvmeSanitizeCryptoBlock;
    let cases = [
        (format, Faults { erase_does_nothing: true, ..Faults::default() }),
        (format, Faults { erase_refused: true, ..Faults::default() }),
        (sanitize, Faults { erase_does_nothing: true, ..Faults::default() }),
        (sanitize, Faults { erase_refused: true, ..Faults::default() }),
        (sanitize, Faults { sanitize_fails: true, ..Faults::default() }),
        (sanitize, Faults { sanitize_stands_still: true, ..Faults::default() }),
        (EraseMethod::AtaSecurityErase, Faults { foreign_password: true, ..Faults::default() }),
        (EraseMethod::Overwrite, Faults { write_blocked_from: Some(0), ..Faults::default() }),
        (EraseMethod::Overwrite, Faults { write_blocked_from: Some(512), ..Faults::default() }),
        (EraseMethod::Overwrite, Faults { dropped_writes: [515].into(), ..Faults::default() }),
        (EraseMethod::Overwrite, Faults { power_cut_at_write: Some(514), ..Faults::default() }),
        (EraseMethod::Overwrite, Faults { unreadable: Some(0..1), ..Faults::default() }),
    ];
    for (method, faults) in cases {
        let disk = device(before.clone(), faults.clone());
        let service = service(&image);
        let finish = run(&disk, &service, vec![erase_step(&disk, method), write_step(&disk, &image)]);
        assert!(error(&finish).contains("disk"), "{faults:?}: {}", error(&finish));
        assert!(finish.steps.is_empty());
        assert!(!service.calls().contains(&"begin 1".to_owned()));
    }
}

#[test]
fn a_partition_is_repaired_and_its_neighbour_in_the_same_chunk_is_not_touched() {
    let image = image();
    let mut before = drifted(&image);
    let neighbour = FIRST_PARTITION_END as usize..5 * CHUNK_BYTES;
    before[FIRST_PARTITION_END as usize..FIRST_PARTITION_END as usize + 4096].fill(9);
    let repair = |disk: &FakeDevice, partitions: Vec<u32>| Step::RepairPartitions {
        disk: target(disk),
        image: image.manifest.id().unwrap(),
        partitions,
    };
    let disk = device(before.clone(), Faults::default());
    let finish = run(&disk, &service(&image), vec![repair(&disk, vec![1])]);
    assert_eq!(finish.result, FinishResult::Done);
    let after = disk.content();
    let first = CHUNK_BYTES..FIRST_PARTITION_END as usize;
    assert_eq!(after[first.clone()], image.bytes[first.clone()]);
    assert_eq!(after[neighbour.clone()], before[neighbour]);
    assert_eq!(after[..CHUNK_BYTES], before[..CHUNK_BYTES]);
    assert_eq!(finish.steps[0].bytes_written, first.len() as u64);

    let lying = device(before.clone(), Faults { dropped_writes: [0].into(), ..Faults::default() });
    error(&run(&lying, &service(&image), vec![repair(&lying, vec![1])]));
    for partitions in [vec![2], vec![9]] {
        let disk = device(before.clone(), Faults::default());
        error(&run(&disk, &service(&image), vec![repair(&disk, partitions)]));
        assert!(disk.writes().is_empty());
    }
    let no_table = device(vec![0; DISK_BYTES], Faults::default());
    error(&run(&no_table, &service(&image), vec![repair(&no_table, vec![1])]));
    assert!(no_table.writes().is_empty());
    assert_eq!(no_table.size_bytes(), DISK_BYTES as u64);
}
