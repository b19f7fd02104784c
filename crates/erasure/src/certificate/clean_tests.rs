//! What is certified of a disk that was found clean and not erased.

use contract::decision::SanitizeLevel;
use contract::inventory::{SanitizeCapabilities, SanitizeState};
use contract::plan::{EraseMethod, Step, VerifyDepth};
use contract::reading::Outcome;

use super::fields::sections;
use super::issue::NotCertified;
use super::testing::Known;
use crate::lying_devices::honest;

/// What a disk says of itself, whether it says that it is clean or not.
pub(super) fn said_clean(erased_since: bool) -> Outcome<SanitizeCapabilities> {
    Outcome::Value(SanitizeCapabilities {
        block: true,
        crypto: false,
        overwrite: false,
        block_estimate_seconds: None,
        crypto_estimate_seconds: None,
        overwrite_estimate_seconds: None,
        state: SanitizeState::Done { erased_since },
        obstacles: Vec::new(),
        sanitized_by: Some(EraseMethod::NvmeSanitizeBlock),
    })
}

fn found_clean(sanitize: Outcome<SanitizeCapabilities>) -> Known {
    let (task, record) = honest(EraseMethod::NvmeFoundClean, VerifyDepth::Sampling);
    let mut known = Known::good();
    known.step = Step::Erase {
        disk: task.disk.clone(),
        method: task.method,
        level: SanitizeLevel::Purge,
        verify_seed: task.seed,
        verify_samples: task.samples,
        verify_depth: task.depth,
    };
    known.record = serde_json::to_value(record).unwrap();
    let Outcome::Value(disks) = &mut known.evidence.inventory.disks else { panic!() };
    disks[0].id = task.disk.id;
    disks[0].size_bytes = task.disk.size_bytes;
    disks[0].sanitize = sanitize;
    known
}

#[test]
fn it_says_plainly_that_nothing_was_erased_now() {
    let certificate = found_clean(said_clean(true)).certify().unwrap();
    assert!(certificate.statement.contains("was not erased now"), "{}", certificate.statement);
    assert!(!certificate.statement.contains("was sanitized. "), "{}", certificate.statement);
    assert_eq!(certificate.sanitization.said_clean_before, Outcome::Value(true));
    assert_eq!(certificate.verification.markers_gone, None);
    assert!(certificate.verification.method.contains("No markers were written"));
    assert!(certificate.exclusions.iter().any(|text| text.contains("was not erased now")));
    let rows: Vec<_> = sections(&certificate, None).into_iter().flat_map(|section| section.rows).collect();
    let value = |name: &str| &rows.iter().find(|(of, _)| of == name).unwrap().1;
    assert!(value("technique").starts_with("none now"), "{}", value("technique"));
    assert!(value("said to be clean before").contains("not erased now for that reason"));
}

#[test]
fn a_disk_that_never_said_so_is_not_certified() {
    for sanitize in [said_clean(false), Outcome::Absent, Outcome::Unreadable("EIO".to_owned())] {
        let refused = found_clean(sanitize).certify();
        assert!(matches!(refused, Err(NotCertified::NotSaidClean)), "{refused:?}");
    }
}

/// An erase that was ordered is not made up for by a disk that says that it is clean.
#[test]
fn an_order_to_erase_is_not_met_by_finding_clean() {
    let mut known = found_clean(said_clean(true));
    let Step::Erase { method, .. } = &mut known.step else { panic!() };
    *method = EraseMethod::NvmeSanitizeBlock;
    assert!(matches!(known.certify(), Err(NotCertified::Disagrees { .. })));
}
