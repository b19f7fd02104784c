//! The rows of SCSI, and what takes the place of a command that a disk refuses.

use contract::decision::{Action, SanitizeLevel};
use contract::id::{Digest, EvidenceId, NodeId};
use contract::inventory::{DiskFacts, SanitizeState, Transport, WriteSameCapabilities};
use contract::plan::{BootMethod, DiskTarget, EraseMethod, Plan, Step, VerifyDepth};
use contract::reading::Outcome;
use uuid::Uuid;

use super::tests::{ata_disk, check, disk, in_state, with};
use super::{Row, TABLE, again, if_refused};

fn same(disk: DiskFacts) -> DiskFacts {
    DiskFacts { write_same: Outcome::Value(WriteSameCapabilities { blocks_max: None }), ..disk }
}

/// What takes the place of a refused command delivers whatever the command would have, wherever.
#[test]
fn what_is_done_instead_delivers_the_same() {
    for row in TABLE {
        let Some(instead) = if_refused(row.method) else { continue };
        assert_eq!(row.method, EraseMethod::ScsiWriteSame);
        assert_eq!(if_refused(instead), None);
        let delivers = |of: &Row| (of.medium, of.method) == (row.medium, instead) && of.level >= row.level;
        assert!(TABLE.iter().any(delivers), "{row:?}");
    }
}

/// A disk that failed at WRITE SAME, or lost its power in it, is overwritten at the next try, and at every
/// one after that until something is proven. Other disks and other methods are not touched by it.
#[test]
fn what_was_not_proven_is_done_otherwise_the_next_time() {
    let plan = |id: &str, method| Plan {
        node: NodeId(Uuid::nil()),
        evidence: EvidenceId(Uuid::nil()),
        action: Action::Wipe,
        steps: vec![Step::Erase {
            disk: DiskTarget { id: id.parse().unwrap(), size_bytes: 1 << 30, logical_sector_bytes: 512 },
            method,
            level: SanitizeLevel::Clear,
            verify_seed: Digest::of(b"seed"),
            verify_samples: 1,
            verify_depth: VerifyDepth::Sampling,
        }],
        boot: BootMethod::Reboot,
    };
    let disk = "disk-1".parse().unwrap();
    let (same, overwrite) = (EraseMethod::ScsiWriteSame, EraseMethod::Overwrite);
    let next = |method, unfinished: Option<Plan>| again(method, &disk, unfinished.as_ref());
    assert_eq!(next(same, None), same);
    assert_eq!(next(same, Some(plan("disk-1", same))), overwrite);
    assert_eq!(next(same, Some(plan("disk-1", overwrite))), overwrite);
    assert_eq!(next(same, Some(plan("disk-2", same))), same);
    assert_eq!(next(same, Some(plan("disk-1", EraseMethod::ScsiSanitizeOverwrite))), same);
    let sanitize = EraseMethod::ScsiSanitizeOverwrite;
    assert_eq!(next(sanitize, Some(plan("disk-1", sanitize))), sanitize);
}

#[test]
fn scsi() {
    let magnetic = || DiskFacts { rotational: Outcome::Value(true), ..disk(Transport::Scsi) };
    let unread = DiskFacts { sanitize: Outcome::Unreadable("EIO".to_owned()), ..magnetic() };
    let running = SanitizeState::Running { progress_65536: 0 };
    check(vec![
        (with(disk(Transport::Scsi), "bco"), "Overwrite", "ScsiSanitizeCryptoBlock"),
        (with(disk(Transport::Scsi), "b"), "Overwrite", "ScsiSanitizeBlock"),
        (with(disk(Transport::Scsi), "co"), "Overwrite", "ScsiSanitizeCrypto"),
        (with(disk(Transport::Scsi), "o"), "Overwrite", "only clears"),
        (with(magnetic(), "bco"), "Overwrite", "ScsiSanitizeOverwrite"),
        (with(magnetic(), "c"), "Overwrite", "ScsiSanitizeCrypto"),
        (magnetic(), "Overwrite", "only clears"),
        (unread, "Overwrite", "could not be read: EIO"),
        (in_state(magnetic(), "o", running, &[]), "ScsiSanitizeOverwrite", "ScsiSanitizeOverwrite"),
        (same(magnetic()), "ScsiWriteSame", "only clears"),
        (same(disk(Transport::Scsi)), "ScsiWriteSame", "only clears"),
        (same(with(magnetic(), "o")), "ScsiWriteSame", "ScsiSanitizeOverwrite"),
        (same(in_state(magnetic(), "o", running, &[])), "ScsiSanitizeOverwrite", "ScsiSanitizeOverwrite"),
        (same(in_state(magnetic(), "", SanitizeState::Failed, &[])), "sanitize failed", "only clears"),
        (
            DiskFacts { write_same: Outcome::Unreadable("EIO".to_owned()), ..magnetic() },
            "Overwrite",
            "only clears",
        ),
        // Nobody's word but a SCSI disk's own.
        (same(ata_disk(true, |_| {})), "Overwrite", "AtaSecurityEraseEnhanced"),
        (same(disk(Transport::Virtio)), "Overwrite", "only clears"),
    ]);
}
