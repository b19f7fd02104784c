//! What is certified of a disk that was to write zeros over itself: that it did, or that it refused and was
//! overwritten.

use contract::decision::SanitizeLevel;
use contract::inventory::Transport;
use contract::plan::{EraseMethod, Step, VerifyDepth};
use contract::reading::Outcome;

use super::issue::NotCertified;
use super::signed::SignedCertificate;
use super::testing::{Known, key};
use crate::EraseRecord;
use crate::lying_devices::{honest, refused};
use crate::run::EraseTask;

fn known((task, record): (EraseTask, EraseRecord)) -> Known {
    let mut known = Known::good();
    known.step = Step::Erase {
        disk: task.disk.clone(),
        method: task.method,
        level: task.level,
        verify_seed: task.seed,
        verify_samples: task.samples,
        verify_depth: task.depth,
    };
    known.record = serde_json::to_value(record).unwrap();
    let Outcome::Value(disks) = &mut known.evidence.inventory.disks else { panic!() };
    (disks[0].id, disks[0].size_bytes) = (task.disk.id, task.disk.size_bytes);
    (disks[0].transport, disks[0].rotational) = (Transport::Scsi, Outcome::Value(true));
    known
}

#[test]
fn a_disk_that_wrote_zeros_over_itself_is_certified_as_cleared() {
    let known = known(honest(EraseMethod::ScsiWriteSame, VerifyDepth::Sampling));
    let bytes = known.signed().to_bytes().unwrap();
    let read = SignedCertificate::from_bytes(&bytes).unwrap();
    let certificate = read.verify(&key().verifying_key()).unwrap();
    assert_eq!(certificate.sanitization.technique, EraseMethod::ScsiWriteSame);
    assert_eq!(certificate.sanitization.method, SanitizeLevel::Clear);
    assert!(certificate.sanitization.technique_standard.contains("not independently assessed"));
    assert!(!certificate.sanitization.technique_standard.contains("sanitize command"));
    let words = &certificate.statement;
    assert!(words.contains("SCSI WRITE SAME of zeros") && words.contains("reported success"), "{words}");
    assert!(certificate.exclusions.iter().any(|text| text.contains("take the blocks out of use")));
}

/// The certificate names what was done, and that something else was ordered first.
#[test]
fn a_disk_that_refused_it_is_certified_as_overwritten() {
    let certificate = known(refused()).certify().unwrap();
    assert_eq!(certificate.sanitization.technique, EraseMethod::Overwrite);
    assert!(certificate.sanitization.technique_source.contains("3.1.1"));
    let words = &certificate.statement;
    assert!(
        words.contains("acknowledged every write") && words.contains("which the disk refused"),
        "{words}"
    );
    assert!(certificate.exclusions.iter().any(|text| text.contains("without programming them")));
}

/// Nothing but this one refusal makes something else of an order.
#[test]
fn an_overwrite_that_nobody_ordered_is_not_certified() {
    let mut unsaid = known(refused());
    unsaid.record["commands"][0]["purpose"] = "erase".into();
    let mut none = known(refused());
    none.record["commands"] = serde_json::json!([]);
    let mut another = known(refused());
    another.record["method"] = "scsi-sanitize-overwrite".into();
    let mut ordered = known(refused());
    let Step::Erase { method, .. } = &mut ordered.step else { panic!() };
    *method = EraseMethod::ScsiSanitizeOverwrite;
    for known in [unsaid, none, another, ordered] {
        let refused = known.certify().unwrap_err();
        assert!(matches!(refused, NotCertified::Disagrees { what: "the technique", .. }), "{refused}");
    }
    let mut purge = known(refused());
    let Step::Erase { level, .. } = &mut purge.step else { panic!() };
    *level = SanitizeLevel::Purge;
    purge.record["level"] = "purge".into();
    assert!(matches!(purge.certify(), Err(NotCertified::DoesNotDeliver { .. })));
}
