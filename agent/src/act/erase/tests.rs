use std::sync::Arc;

use contract::agent_api::FinishResult;
use contract::decision::SanitizeLevel;
use contract::id::Digest;
use contract::plan::{EraseMethod, Step, VerifyDepth};
use erasure::EraseRecord;
use erasure::command::DeviceCommand;
use erasure::record::CommandPurpose;

use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, Image, noise, of_bytes, partition, run, target, write_step};
use imaging::manifest::PartitionRole;

const DISK_BYTES: usize = 64 << 20;

fn image() -> Image {
    of_bytes(noise(11, 4 << 20), vec![partition(1, 1 << 20, 3 << 20, PartitionRole::Other)])
}

fn find_clean(disk: &FakeDevice) -> Step {
    Step::Erase {
        disk: target(disk),
        method: EraseMethod::NvmeFoundClean,
        level: SanitizeLevel::Purge,
        verify_seed: Digest::of(b"seed"),
        verify_samples: 200,
        verify_depth: VerifyDepth::Sampling,
    }
}

/// How a clear by WRITE SAME of a disk full of data ends, and what the record says.
fn write_same(faults: Faults) -> (FinishResult, Option<EraseRecord>, Arc<FakeDevice>) {
    let disk = Arc::new(FakeDevice::new(vec![0x5a; DISK_BYTES], faults));
    let Step::Erase { disk: target, verify_seed, verify_samples, verify_depth, .. } = find_clean(&disk)
    else {
        panic!()
    };
    let step = Step::Erase {
        disk: target,
        method: EraseMethod::ScsiWriteSame,
        level: SanitizeLevel::Clear,
        verify_seed,
        verify_samples,
        verify_depth,
    };
    let finish = run(&disk, &Arc::new(FakeService::with(&image())), vec![step]);
    let record = finish.steps.first().and_then(|step| step.erase_record.clone());
    (finish.result, record.map(|record| serde_json::from_str(&record).unwrap()), disk)
}

#[test]
fn a_disk_writes_zeros_over_itself_or_is_overwritten_where_it_refuses() {
    for (refused, method) in [(false, EraseMethod::ScsiWriteSame), (true, EraseMethod::Overwrite)] {
        let (result, record, disk) = write_same(Faults { same_refused: refused, ..Faults::default() });
        assert_eq!(result, FinishResult::Done);
        assert!(disk.content() == vec![0; DISK_BYTES], "{method:?}");
        assert_eq!(disk.commands(), [DeviceCommand::ScsiWriteSame]);
        let record = record.unwrap();
        assert_eq!(record.method, method);
        let purpose = if refused { CommandPurpose::Refused } else { CommandPurpose::Erase };
        assert_eq!(record.commands.iter().map(|one| one.purpose).collect::<Vec<_>>(), [purpose]);
    }
}

#[test]
fn a_disk_that_did_not_write_all_zeros_is_not_erased() {
    // The markers are the first writes, 512 of them; then come the pieces.
    let stops = Faults { write_blocked_from: Some(520), ..Faults::default() };
    let cut = Faults { power_cut_at_write: Some(515), ..Faults::default() };
    for (faults, expected) in [(stops, "as it was before"), (cut, "power is off")] {
        let (result, record, disk) = write_same(faults);
        let FinishResult::Failed { step: 0, error } = &result else { panic!("{result:?}") };
        assert!(error.contains("is not erased") && error.contains(expected), "{error}");
        assert!(record.is_none() && disk.content() != vec![0; DISK_BYTES]);
    }
}

/// A wipe that finds the disk clean and then writes an image.
fn wipe(content: Vec<u8>, faults: Faults) -> (FinishResult, String, Arc<FakeDevice>) {
    let (disk, image) = (Arc::new(FakeDevice::new(content, faults)), image());
    let steps = vec![find_clean(&disk), write_step(&disk, &image)];
    let finish = run(&disk, &Arc::new(FakeService::with(&image)), steps);
    let proof = finish.steps.first().map(|step| step.proof.clone()).unwrap_or_default();
    (finish.result, proof, disk)
}

#[test]
fn a_clean_disk_is_read_back_and_told_nothing_before_its_image_is_written() {
    let says_clean = || Faults { says_clean: true, ..Faults::default() };
    for byte in [0, 0xff] {
        let (result, proof, disk) = wipe(vec![byte; DISK_BYTES], says_clean());
        assert_eq!(result, FinishResult::Done);
        assert!(proof.starts_with("not erased now") && proof.contains("SSTAT 0x0101"), "{proof}");
        assert!(disk.commands().is_empty() && disk.bytes_read() > 2 << 20);
    }
}

#[test]
fn a_disk_that_is_not_clean_gets_no_image_and_is_not_touched() {
    let says_clean = || Faults { says_clean: true, ..Faults::default() };
    let mut first_sector = vec![0; DISK_BYTES];
    first_sector[511] = 0xaa;
    let mut last_sector = vec![0xff; DISK_BYTES];
    last_sector[DISK_BYTES - 1] = 0;
    let unreadable = Faults { unreadable: Some(0..512), ..says_clean() };
    let table = [
        ("no word", vec![0; DISK_BYTES], Faults::default(), "does not say"),
        (
            "data",
            b"secret of tenant a. ".repeat(DISK_BYTES / 20 + 1)[..DISK_BYTES].to_vec(),
            says_clean(),
            "may be old data",
        ),
        ("noise", noise(3, DISK_BYTES), says_clean(), "may be old data"),
        ("the first sector", first_sector, says_clean(), "may be old data"),
        ("the last sector", last_sector, says_clean(), "may be old data"),
        ("a read error", vec![0; DISK_BYTES], unreadable, "could not be read back"),
    ];
    for (name, content, faults, expected) in table {
        let (result, _, disk) = wipe(content, faults);
        let FinishResult::Failed { step: 0, error } = &result else { panic!("{name}: {result:?}") };
        assert!(error.contains("is not erased") && error.contains(expected), "{name}: {error}");
        assert!(disk.writes().is_empty() && disk.commands().is_empty(), "{name}");
    }
}
