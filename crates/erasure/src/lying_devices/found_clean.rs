//! Devices that say that they are clean already, which nobody saw being erased: the word alone proves
//! nothing, and nothing is written to find out.

use contract::id::{Digest, UnixMillis};
use contract::plan::{EraseMethod, VerifyDepth};
use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use super::device::{AfterCut, BLOCK, Device};
use super::fills::tenant_text;
use super::lie::Lie;
use super::{BLOCKS, drive, task};
use crate::markers::marker;
use crate::run::{EraseRun, Erased, Next, NotErased, SaidClean};

const METHOD: EraseMethod = EraseMethod::NvmeFoundClean;

fn found(device: &mut Device, depth: VerifyDepth) -> Result<Erased, NotErased> {
    let mut task = task(device, METHOD, Digest::of(b"seed"), 200);
    task.depth = depth;
    drive(device, task)
}

/// Clean but for these blocks, which hold what a tenant wrote.
fn dirty_in(blocks: std::ops::Range<usize>) -> Device {
    Device::sanitized_before(BLOCKS, Lie::None).with_content(move |number| {
        if blocks.contains(&number) { tenant_text(number) } else { vec![0xff; BLOCK] }
    })
}

#[test]
fn a_clean_disk_is_found_clean_and_nothing_is_written_to_it() {
    for byte in [0xff, 0] {
        let device = Device::sanitized_before(BLOCKS, Lie::None);
        let mut device = device.with_content(|_| vec![byte; BLOCK]);
        let erased = found(&mut device, VerifyDepth::Sampling).unwrap();
        assert!(!device.was_touched());
        let record = erased.record();
        assert_eq!((record.method, record.samples, record.markers_gone), (METHOD, 200, 0));
        assert_eq!(record.found_with_95_percent_ppm, 14_868);
        assert_eq!(record.device_status, "SSTAT 0x0101");
        assert!(record.commands.is_empty());
        assert!(record.exclusions.iter().any(|text| text.contains("was not erased now")));
    }
}

#[test]
fn a_disk_that_says_that_it_is_clean_and_is_not_is_never_called_erased() {
    let before = |lie| Device::sanitized_before(BLOCKS, lie);
    let encrypted = Device::sanitized_before(BLOCKS, Lie::None)
        .with_content(|number| marker(Digest::of(b"disk key of tenant a"), number as u64));
    let left = "may be old data";
    let table = [
        ("all of it", Device::dirty(BLOCKS, Lie::ClaimsErased), left),
        ("encrypted data", encrypted, left),
        ("the first block", dirty_in(0..1), left),
        ("the last block", dirty_in(BLOCKS - 1..BLOCKS), left),
        ("a region", dirty_in(400..500), left),
        ("a pattern", before(Lie::None).with_content(|_| vec![0x5a; BLOCK]), left),
        ("no word", before(Lie::SaysNotClean), "does not say"),
        ("its word taken back", before(Lie::TakesItsWordBack), "no longer says"),
        ("by a format", before(Lie::CleanByLess), "does not deliver what is demanded"),
        ("by itself", before(Lie::CleanByItself), "does not deliver what is demanded"),
        ("a read error", before(Lie::ReadErrorAt(0)), "could not be read back"),
        ("a short read", before(Lie::ShortReadAt(0)), "bytes were read at byte"),
        ("smaller", before(Lie::Shrinks), "changed its size"),
        ("another", before(Lie::ChangesIdentity), "changed its identity"),
        ("gone", before(Lie::Disappears), "no disk has this identity"),
    ];
    for (name, mut device, expected) in table {
        let words = found(&mut device, VerifyDepth::Sampling).expect_err(name).to_string();
        assert!(words.contains(expected), "{name}: {words}");
        assert!(!device.was_touched(), "{name}");
    }
}

#[test]
fn reading_everything_finds_a_single_block_that_was_written_since() {
    for depth in [VerifyDepth::TenPercent, VerifyDepth::Full] {
        assert!(found(&mut dirty_in(700..701), depth).is_err(), "{depth:?}");
    }
}

#[test]
fn a_power_cut_anywhere_proves_nothing() {
    let mut device = Device::sanitized_before(BLOCKS, Lie::None);
    assert!(found(&mut device, VerifyDepth::Sampling).is_ok());
    for operations in 1..=device.operations {
        let mut device = Device::sanitized_before(BLOCKS, Lie::None);
        device.lose_power_after(operations, AfterCut::GoesOn);
        assert!(found(&mut device, VerifyDepth::Sampling).is_err(), "after {operations}");
    }
}

/// Whatever such a run is told, it asks for nothing that changes the disk.
#[test]
fn nothing_that_changes_the_disk_is_ever_asked_for() {
    let said = || Ok(SaidClean { sanitized_by: EraseMethod::NvmeSanitizeBlock, status: String::new() });
    let device = Device::sanitized_before(BLOCKS, Lie::None);
    let start = || EraseRun::new(task(&device, METHOD, Digest::of(b"seed"), 200)).unwrap();
    let mut early = start();
    early.said_clean(said());
    assert!(matches!(early.finish(UnixMillis(1), UnixMillis(2)), Err(NotErased::OutOfOrder(_))));
    let harmless = |run: &EraseRun| {
        !matches!(run.next(), Next::WriteMarkers { .. } | Next::Command(_) | Next::Overwrite)
    };
    type Step = fn(&mut EraseRun);
    let wrong: [Step; 3] = [
        |run| run.markers_written(Ok(())),
        |run| run.command_given(1, Ok(())),
        |run| run.said_clean(Err("no".to_owned())),
    ];
    for step in wrong {
        let mut run = start();
        step(&mut run);
        assert!(harmless(&run));
        assert!(run.finish(UnixMillis(1), UnixMillis(2)).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// As for an erase: more than ten times the share that the certificate names is always found.
    #[test]
    fn data_above_the_claim_are_found(random: [u8; 32], first in 0..BLOCKS, count in 160..600_usize) {
        let mut device = dirty_in(first..(first + count).min(BLOCKS));
        let task = task(&device, METHOD, Digest(random), 200);
        prop_assert!(BLOCKS - first < 160 || drive(&mut device, task).is_err(), "from {}", first);
    }
}
