//! What gives a certificate, what does not, and that nobody can change one.

use std::sync::LazyLock;

use contract::id::{Digest, UnixMillis};
use contract::inventory::{SanitizeCapabilities, SanitizeState, Transport};
use contract::plan::{EraseMethod, Step, VerifyDepth};
use contract::reading::Outcome;
use ed25519_dalek::SigningKey;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};
use serde_json::json;

use super::Certificate;
use super::clean_tests::said_clean;
use super::fields::{ABSENT, sections, utc};
use super::html::page;
use super::issue::NotCertified;
use super::signed::{CertificateError, SignedCertificate};
use super::testing::{Known, key, record_of_this_version};
use crate::lying_devices::honest;
use crate::method::{Medium, TABLE};
use crate::record::EraseRecord;

static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| Known::good().signed().to_bytes().unwrap());

#[test]
fn a_certificate_is_signed_read_back_and_verified() {
    let signed = Known::good().signed();
    let bytes = signed.to_bytes().unwrap();
    let read = SignedCertificate::from_bytes(&bytes).unwrap();
    let certificate = read.verify(&key().verifying_key()).unwrap();
    assert_eq!(certificate, Known::good().certify().unwrap());
    assert_eq!(read.digest().unwrap(), Digest::of(&bytes), "the digest is that of the file");
}

/// The form, as a file: certificates are read for years, so a field that goes or changes its meaning
/// must show in review.
#[test]
fn the_form_is_as_it_was() {
    let certificate = serde_json::to_value(Known::good().certify().unwrap()).unwrap();
    let form: serde_json::Value = serde_json::from_str(include_str!("form.json")).unwrap();
    assert_eq!(certificate, form, "{}", serde_json::to_string_pretty(&certificate).unwrap());
    serde_json::from_value::<Certificate>(form).unwrap();
}

/// The record that this version's agent makes is enough for a certificate.
#[test]
fn the_record_of_this_version_is_accepted() {
    let known = Known::good();
    let record = serde_json::to_value(record_of_this_version(&known)).unwrap();
    Known { record, ..known }.certify().unwrap();
}

/// From the run to the certificate: what is proven is certified, by every row of the table and at every
/// depth, for the level of the row and not for another medium's.
#[test]
fn what_a_run_proves_is_certified() {
    for depth in [VerifyDepth::Sampling, VerifyDepth::TenPercent, VerifyDepth::Full] {
        for row in TABLE {
            let (task, record) = honest(row.method, depth);
            let mut known = Known::good();
            known.step = Step::Erase {
                disk: task.disk.clone(),
                method: task.method,
                level: row.level,
                verify_seed: task.seed,
                verify_samples: task.samples,
                verify_depth: depth,
            };
            known.record = serde_json::to_value(EraseRecord { level: row.level, ..record }).unwrap();
            let Outcome::Value(disks) = &mut known.evidence.inventory.disks else { panic!() };
            disks[0].id = task.disk.id;
            disks[0].size_bytes = task.disk.size_bytes;
            disks[0].sanitize = said_clean(true);
            (disks[0].transport, disks[0].rotational) = match row.medium {
                Medium::Nvme => (Transport::Nvme, Outcome::Value(false)),
                Medium::AtaFlash => (Transport::Ata, Outcome::Absent),
                Medium::AtaMagnetic => (Transport::Ata, Outcome::Value(true)),
                Medium::ScsiFlash => (Transport::Scsi, Outcome::Absent),
                Medium::ScsiMagnetic => (Transport::Scsi, Outcome::Value(true)),
                Medium::Virtual => (Transport::Virtio, Outcome::Absent),
            };
            let certificate = known.certify().unwrap_or_else(|why| panic!("{row:?} {depth:?}: {why}"));
            assert_eq!(certificate.sanitization.method, row.level);
            assert_eq!(certificate.verification.depth, depth);
            let Outcome::Value(disks) = &mut known.evidence.inventory.disks else { panic!() };
            disks[0].transport = Transport::Usb;
            assert!(matches!(known.certify(), Err(NotCertified::DoesNotDeliver { .. })), "{row:?}");
        }
    }
}

#[test]
fn what_does_not_agree_with_the_order_is_not_certified() {
    let other = Digest::of(b"other").to_string();
    let changes = [
        (
            json!({"disk": {"id": "nvme-eui.2", "size_bytes": 1_u64 << 30, "logical_sector_bytes": 512}}),
            "about disk",
        ),
        (json!({"disk": {"id": "nvme-eui.1", "size_bytes": 512, "logical_sector_bytes": 512}}), "a size of"),
        (
            json!({"disk": {"id": "nvme-eui.1", "size_bytes": 1_u64 << 30, "logical_sector_bytes": 4096}}),
            "sectors of",
        ),
        (json!({"level": "clear"}), "the level"),
        (json!({"method": "nvme-format-user-data"}), "the technique"),
        (json!({"seed": other}), "the seed"),
        (json!({"samples": 1999}), "1999 blocks"),
        (json!({"ended_at": 4999}), "ends before"),
        (json!({"samples": null}), "cannot be read"),
        (json!({"method": "wishing"}), "cannot be read"),
        (json!({"found_with_95_percent_ppm": "few"}), "cannot be read"),
    ];
    for (change, reason) in changes {
        let mut known = Known::good();
        for (key, value) in change.as_object().unwrap() {
            known.record[key] = value.clone();
        }
        let refusal = known.certify().unwrap_err().to_string();
        assert!(refusal.contains(reason), "{change}: {refusal}");
    }
}

#[test]
fn less_than_the_depth_that_was_ordered_is_not_certified() {
    let size = 1_u64 << 30;
    let table = [
        (VerifyDepth::Sampling, 0, false),
        (VerifyDepth::Sampling, 4096, true),
        (VerifyDepth::TenPercent, size / 20, false),
        (VerifyDepth::TenPercent, size / 10, true),
        (VerifyDepth::Full, size - 1, false),
        (VerifyDepth::Full, size, true),
    ];
    for (depth, bytes, certified) in table {
        let mut known = Known::good();
        if let Step::Erase { verify_depth, .. } = &mut known.step {
            *verify_depth = depth;
        }
        known.record["bytes_read_back"] = json!(bytes);
        assert_eq!(known.certify().is_ok(), certified, "{depth:?} {bytes}");
    }
}

/// A disk that was proven although another step failed, before it or after it: the certificate says so, and
/// only then.
#[test]
fn an_order_that_failed_is_named() {
    let named = |known: &Known| {
        let certificate = known.certify().unwrap();
        let found = sections(&certificate, None).into_iter().flat_map(|section| section.rows);
        let row = found.into_iter().find(|(name, _)| name == "the order failed, at step");
        (certificate.authority.order_failed_at_step, row.map(|(_, value)| value))
    };
    assert_eq!(named(&Known::good()), (None, None));
    let failed = Known { order_failed_at_step: Some(1), ..Known::good() };
    assert_eq!(named(&failed), (Some(1), Some("2".to_owned())));
}

/// A device that says that it is clean already is erased and proven like any other; its word is recorded.
#[test]
fn already_clean_is_recorded_and_counts_for_nothing() {
    let with = |sanitize: Outcome<SanitizeCapabilities>| {
        let mut known = Known::good();
        let Outcome::Value(disks) = &mut known.evidence.inventory.disks else { panic!() };
        disks[0].sanitize = sanitize;
        let certificate = known.certify().unwrap();
        let rows = sections(&certificate, None).into_iter().flat_map(|section| section.rows);
        let row = rows.into_iter().find(|(name, _)| name == "said to be clean before").unwrap().1;
        // Whatever it said, less than what was ordered is not enough.
        known.record["samples"] = json!(1);
        assert!(matches!(known.certify(), Err(NotCertified::TooFewReadBack { .. })));
        (certificate.sanitization.said_clean_before, row)
    };
    let state = |state| {
        Outcome::Value(SanitizeCapabilities {
            block: true,
            crypto: false,
            overwrite: false,
            block_estimate_seconds: None,
            crypto_estimate_seconds: None,
            overwrite_estimate_seconds: None,
            state,
            obstacles: vec![],
            sanitized_by: None,
        })
    };
    let (said, row) = with(state(SanitizeState::Done { erased_since: true }));
    assert_eq!(said, Outcome::Value(true));
    assert!(row.contains("recorded only"), "{row}");
    for other in [SanitizeState::Never, SanitizeState::Failed, SanitizeState::Done { erased_since: false }] {
        assert_eq!(with(state(other)), (Outcome::Value(false), "no".to_owned()));
    }
    assert_eq!(with(Outcome::Absent), (Outcome::Absent, ABSENT.to_owned()));
    let (said, row) = with(Outcome::Unreadable("EIO".to_owned()));
    assert_eq!((said, row.as_str()), (Outcome::Unreadable("EIO".to_owned()), "could not be read: EIO"));
}

#[test]
fn a_disk_that_the_evidence_does_not_know_is_not_certified() {
    let mut known = Known::good();
    known.evidence.inventory.disks = Outcome::Unreadable("EIO".to_owned());
    assert!(matches!(known.certify(), Err(NotCertified::DeviceUnknown(_))));
}

#[test]
fn a_level_that_the_technique_cannot_deliver_is_not_certified() {
    let mut known = Known::good();
    if let Step::Erase { method, .. } = &mut known.step {
        *method = EraseMethod::Overwrite;
    }
    known.record["method"] = json!("overwrite");
    assert!(matches!(known.certify(), Err(NotCertified::DoesNotDeliver { .. })));
}

#[test]
fn the_words_claim_no_conformance() {
    let certificate = Known::good().certify().unwrap();
    assert_eq!(
        certificate.sanitization.technique_standard,
        "vendor sanitize command per IEEE 2883 as delegated by SP 800-88r2 §4.4; conformance not \
         independently assessed"
    );
    let page = page(&certificate, None).to_lowercase();
    for claim in ["nist certified", "2883 conformant", "compliant", "guarantee"] {
        assert!(!page.contains(claim), "{claim}");
    }
}

#[test]
fn exclusions_of_ours_stand_there_even_if_the_agent_names_none() {
    let mut known = Known::good();
    known.record["exclusions"] = json!([]);
    let certificate = known.certify().unwrap();
    assert!(certificate.exclusions.iter().any(|text| text.contains("retired")));
    let certificate = Known::good().certify().unwrap();
    assert!(certificate.exclusions.contains(&"something that the agent saw".to_owned()));
}

#[test]
fn another_key_and_another_form_are_refused() {
    let signed = Known::good().signed();
    let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
    assert!(matches!(signed.verify(&other), Err(CertificateError::OtherKey { .. })));
    let renamed = SignedCertificate { public_key: hex::encode(other.to_bytes()), ..signed };
    assert!(matches!(renamed.verify(&other), Err(CertificateError::BadSignature)));
    let mut certificate = Known::good().certify().unwrap();
    certificate.form = "reprieve-erase-certificate-9".to_owned();
    let signed = SignedCertificate::sign(&certificate, &key()).unwrap();
    assert!(matches!(signed.verify(&key().verifying_key()), Err(CertificateError::UnknownForm)));
}

/// Around the payload a change need not change the meaning: another case, another blank.
#[test]
fn no_other_spelling_is_accepted() {
    let payload_ends = FILE.windows(15).position(|bytes| bytes == b"\"public_key\": \"").unwrap();
    for at in (0..16).chain(payload_ends - 8..FILE.len()) {
        for change in [0x01, 0x20] {
            let mut bytes = FILE.clone();
            bytes[at] ^= change;
            let accepted = SignedCertificate::from_bytes(&bytes)
                .and_then(|signed| signed.verify(&key().verifying_key()));
            assert!(accepted.is_err(), "byte {at} changed by {change:#x}");
        }
    }
}

#[test]
fn the_chain_holds_and_breaks() {
    let first_signed = Known::good().signed();
    let first = first_signed.read_unchecked().unwrap();
    let second_signed = Known::after(&first_signed).signed();
    let second = second_signed.read_unchecked().unwrap();
    second.check_follows(&first, &first_signed).unwrap();
    let broken = |result: Result<(), CertificateError>| result.unwrap_err().to_string();
    assert!(broken(first.check_follows(&second, &second_signed)).contains("first certificate"));
    let mut other_disk = first.clone();
    other_disk.device.id = "nvme-eui.2".parse().unwrap();
    assert!(broken(second.check_follows(&other_disk, &first_signed)).contains("another disk"));
    let mut altered = first.clone();
    altered.authority.why = None;
    let altered_signed = SignedCertificate::sign(&altered, &key()).unwrap();
    assert!(broken(second.check_follows(&altered, &altered_signed)).contains("another digest"));
    let third_signed = Known::after(&second_signed).signed();
    let third = third_signed.read_unchecked().unwrap();
    assert!(broken(third.check_follows(&first, &first_signed)).contains("another one as the previous"));
    let mut misnumbered = second.clone();
    misnumbered.chain.number = 3;
    assert!(broken(misnumbered.check_follows(&first, &first_signed)).contains("numbers"));
}

#[test]
fn every_field_is_shown_and_nothing_breaks_out_of_the_page() {
    let certificate = Known::good().certify().unwrap();
    let all = sections(&certificate, None);
    let absent = all.iter().flat_map(|section| &section.rows).filter(|(_, value)| value == ABSENT).count();
    assert!(absent >= 8, "what nobody knows is shown as absent");
    let page = page(&certificate, None);
    for shown in
        ["Fast &amp; Sons 3000", "could not be read: EIO", "found.zeros", "tenant acme", "Größe", "中"]
    {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(page.contains("RMA &lt;b&gt;&quot;Größe&quot;&lt;/b&gt;"));
    for outside in ["<b>", "http:", "https:", "src=", "<script", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn lists_are_shown_in_lines_and_bounded() {
    let mut certificate = Known::good().certify().unwrap();
    let readings: Vec<_> = (0..40).map(|n| json!({"name": format!("n{n}"), "value": "7"})).collect();
    certificate.erase_record = json!({"health": readings, "commands": [{"millis": 5, "status": "ok"}]});
    let all = sections(&certificate, None);
    let rows = &all.iter().find(|section| section.heading.starts_with("Erase record")).unwrap().rows;
    let row = |name: &str| rows.iter().find(|row| row.0 == name).map(|row| row.1.as_str());
    assert_eq!(row("health.1"), Some("n0: 7"));
    assert_eq!(row("health.more"), Some("24 more, in the JSON"));
    assert_eq!(row("commands.1"), Some("millis 5, status ok"));
    assert!(rows.len() < 20);
}

#[test]
fn times_are_in_utc() {
    assert_eq!(utc(UnixMillis(0)), "1970-01-01T00:00:00Z");
    assert_eq!(utc(UnixMillis(1_763_758_560_123)), "2025-11-21T20:56:00.123Z");
    assert!(utc(UnixMillis(u64::MAX)).contains("ms since 1970"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_changed_byte_is_refused(at: prop::sample::Index, change in 1_u8..) {
        let mut bytes = FILE.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        let accepted = SignedCertificate::from_bytes(&bytes)
            .and_then(|signed| signed.verify(&key().verifying_key()));
        prop_assert!(accepted.is_err(), "byte {} changed by {:#x}", at, change);
    }

    #[test]
    fn a_cut_or_lengthened_file_is_refused(at: prop::sample::Index, more in any::<u8>()) {
        let mut bytes = FILE.clone();
        prop_assert!(SignedCertificate::from_bytes(&bytes[..at.index(bytes.len())]).is_err());
        bytes.push(more);
        prop_assert!(SignedCertificate::from_bytes(&bytes).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = SignedCertificate::from_bytes(&bytes);
    }

    #[test]
    fn any_signed_text_is_read_or_refused(payload in ".{0,200}") {
        let signed = SignedCertificate { payload, public_key: String::new(), signature: String::new() };
        prop_assert!(signed.read_unchecked().is_err());
    }

    #[test]
    fn any_record_gives_a_certificate_or_a_reason(text in any::<String>()) {
        let record = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
        let made = Known { record, ..Known::good() }.certify();
        prop_assert!(made.is_err());
    }
}
