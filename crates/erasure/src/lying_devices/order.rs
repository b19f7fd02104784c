//! Runs that are driven out of order, and tasks that prove nothing.

use contract::decision::SanitizeLevel;
use contract::id::{Digest, UnixMillis};
use contract::plan::{DiskTarget, EraseMethod};
use contract::reading::Outcome;
use proptest::prelude::{ProptestConfig, prop_assert, proptest};

use super::device::{BLOCK, Device};
use super::lie::Lie;
use super::task;
use crate::command::CommandProgress;
use crate::run::{DiskSeen, EraseRun, EraseTask, Next, NotErased, Overwritten, Prepared, SameWritten};

fn prepared() -> Prepared {
    Prepared { estimates_seconds: Vec::new(), health: Outcome::Absent }
}

fn some_task(method: EraseMethod) -> EraseTask {
    task(&Device::dirty(16, Lie::None), method, Digest::of(b"seed"), 200)
}

fn run(method: EraseMethod) -> EraseRun {
    EraseRun::new(some_task(method)).unwrap()
}

fn finish(run: EraseRun) -> NotErased {
    run.finish(UnixMillis(1), UnixMillis(2)).unwrap_err()
}

fn seen() -> DiskSeen {
    let disk = some_task(EraseMethod::Overwrite).disk;
    DiskSeen { id: disk.id, size_bytes: disk.size_bytes, logical_sector_bytes: 512, health: Outcome::Absent }
}

#[test]
fn a_run_that_is_driven_out_of_order_is_not_erased() {
    let written = Overwritten { bytes_written: seen().size_bytes, status: "ok".to_owned() };
    let done = || Ok(CommandProgress::Done { status: "ok".to_owned() });
    let same = |bytes| Ok(SameWritten::Written { bytes, status: "ok".to_owned() });
    let steps: [&dyn Fn(&mut EraseRun); 8] = [
        &|run| run.same_written(1, same(seen().size_bytes)),
        &|run| run.overwritten(Ok(written.clone())),
        &|run| run.looked_again(Ok(seen())),
        &|run| run.polled(1, done()),
        &|run| run.command_given(1, Ok(())),
        &|run| run.observed(1, Ok(&[0; BLOCK])),
        &|run| run.observed(0, Ok(&[0; BLOCK])),
        &|run| run.markers_written(Ok(())),
    ];
    for step in steps {
        let mut early = run(EraseMethod::NvmeFormatCrypto);
        step(&mut early);
        assert!(matches!(finish(early), NotErased::OutOfOrder(_)));
    }
    let mut twice = run(EraseMethod::Overwrite);
    twice.prepared(0, Ok(prepared()));
    twice.prepared(0, Ok(prepared()));
    assert!(matches!(finish(twice), NotErased::OutOfOrder(_)));

    // A failure stays: nothing that comes later makes the run good again.
    let mut failed = run(EraseMethod::Overwrite);
    failed.prepared(0, Ok(prepared()));
    failed.markers_written(Err("EIO".to_owned()));
    failed.markers_written(Ok(()));
    failed.overwritten(Ok(written));
    assert_eq!(failed.next(), Next::Finished);
    assert_eq!(finish(failed), NotErased::MarkersNotWritten("EIO".to_owned()));
}

#[test]
fn a_task_that_proves_nothing_is_refused() {
    let good = some_task(EraseMethod::Overwrite);
    let small = DiskTarget { size_bytes: 512, ..good.disk.clone() };
    let purge = |method| EraseTask { level: SanitizeLevel::Purge, method, ..good.clone() };
    let bad = [
        EraseTask { samples: 0, ..good.clone() },
        EraseTask { disk: small, ..good.clone() },
        purge(EraseMethod::Overwrite),
        purge(EraseMethod::ScsiWriteSame),
        purge(EraseMethod::NvmeFormatUserData),
        purge(EraseMethod::AtaSecurityErase),
    ];
    for task in bad {
        assert!(matches!(EraseRun::new(task), Err(NotErased::Task { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is handed in, nothing panics and nothing but a whole run is called erased.
    #[test]
    fn arbitrary_answers_never_prove_anything(
        answers in proptest::collection::vec((0..11_u8, proptest::num::u64::ANY, proptest::collection::vec(proptest::num::u8::ANY, 0..64)), 0..60),
        which in 0..3_usize,
    ) {
        let method = [EraseMethod::NvmeSanitizeCryptoBlock, EraseMethod::NvmeFormatUserData, EraseMethod::ScsiWriteSame][which];
        let mut run = run(method);
        for (kind, number, bytes) in answers {
            match kind {
                0 => run.markers_written(Ok(())),
                1 => run.observed(number, Ok(&bytes)),
                2 => run.prepared(number, Ok(prepared())),
                3 => run.command_given(number, Ok(())),
                4 => run.polled(number, Ok(CommandProgress::Running { progress_65536: Some(bytes.len() as u16) })),
                5 => run.polled(number, Ok(CommandProgress::Done { status: String::new() })),
                6 => run.polled(number, Err("no".to_owned())),
                7 => run.looked_again(Ok(seen())),
                8 => run.same_written(number, Ok(SameWritten::Written { bytes: number, status: String::new() })),
                9 => run.same_written(number, Ok(SameWritten::Refused { status: String::new() })),
                _ => run.overwritten(Ok(Overwritten { bytes_written: number, status: String::new() })),
            }
        }
        prop_assert!(run.finish(UnixMillis(1), UnixMillis(2)).is_err());
    }
}
