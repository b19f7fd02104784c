//! Certificates on this machine: what is valid, what is not, and what people get to read.

use contract::id::{CertificateId, UnixMillis};
use contract::plan::EraseMethod;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use erasure::certificate::signed::SignedCertificate;
use erasure::certificate::{Certificate, Chain, Previous, wording};

use super::{check, pdf};
use crate::certificate::Verify;

/// A certificate with every field; the crate that knows the form holds it to this file.
const CERTIFICATE: &str = include_str!("../../../crates/erasure/src/certificate/form.json");

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn certificate() -> Certificate {
    serde_json::from_str(CERTIFICATE).unwrap()
}

/// A folder with a key, a certificate and the one after it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let pem = key().verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
        std::fs::write(folder.path("key.pem"), pem).unwrap();
        let first = SignedCertificate::sign(&certificate(), &key()).unwrap();
        let previous = Previous { id: certificate().id, digest: first.digest().unwrap() };
        let mut second = certificate();
        second.id = CertificateId(uuid::Uuid::from_u128(2));
        second.issued_at = UnixMillis(certificate().issued_at.0 + 1);
        // By another technique than the first.
        second.sanitization.technique = EraseMethod::ScsiWriteSame;
        second.sanitization.technique_name = wording::technique(EraseMethod::ScsiWriteSame).to_owned();
        second.chain = Chain { number: 2, previous: Some(previous) };
        let second = SignedCertificate::sign(&second, &key()).unwrap();
        std::fs::write(folder.path("first.json"), first.to_bytes().unwrap()).unwrap();
        std::fs::write(folder.path("second.json"), second.to_bytes().unwrap()).unwrap();
        folder
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn verify(&self, file: &str, previous: Option<&str>) -> Result<(), String> {
        let request = Verify {
            file: self.path(file),
            key: Some(self.path("key.pem")),
            previous: previous.map(|name| self.path(name)),
        };
        check::verify(&request, true).map(|_| ()).map_err(|error| format!("{error:#}"))
    }
}

#[test]
fn what_is_whole_is_valid_and_what_is_not_says_why() {
    let folder = Folder::new();
    folder.verify("first.json", None).unwrap();
    folder.verify("second.json", None).unwrap();
    folder.verify("second.json", Some("first.json")).unwrap();
    assert!(folder.verify("first.json", Some("second.json")).unwrap_err().contains("chain is broken"));
    assert!(folder.verify("second.json", Some("second.json")).unwrap_err().contains("chain is broken"));
    assert!(folder.verify("missing.json", None).unwrap_err().contains("could not read"));
    let text = std::fs::read_to_string(folder.path("first.json")).unwrap();
    let altered = [
        ("another serial", text.replace("S3R1AL", "S3R1AM"), "altered"),
        ("another indent", text.replace("  \"payload\"", " \"payload\""), "altered"),
        ("cut", text[..text.len() - 20].to_owned(), "cut off"),
        ("empty", String::new(), "not a signed certificate"),
    ];
    for (what, text, reason) in altered {
        std::fs::write(folder.path("altered.json"), text).unwrap();
        let refusal = folder.verify("altered.json", None).unwrap_err();
        assert!(refusal.contains(reason), "{what}: {refusal}");
    }
}

#[test]
fn another_sites_key_is_told_apart() {
    let folder = Folder::new();
    let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
    std::fs::write(folder.path("key.pem"), other.to_public_key_pem(LineEnding::LF).unwrap()).unwrap();
    assert!(folder.verify("first.json", None).unwrap_err().contains("not with the given key"));
    std::fs::write(folder.path("key.pem"), "no key").unwrap();
    assert!(folder.verify("first.json", None).unwrap_err().contains("not an Ed25519 public key"));
}

/// The texts of a PDF whose streams are not compressed, page by page in reading order.
fn texts(pdf: &[u8]) -> Vec<String> {
    let text: String = pdf.iter().map(|byte| char::from(*byte)).collect();
    text.split(" Tj").filter_map(shown).collect()
}

/// The string right before a `Tj`: literal or hexadecimal (ISO 32000-1 section 7.3.4).
fn shown(before: &str) -> Option<String> {
    if let Some(hex) = before.strip_suffix('>') {
        let hex = &hex[hex.rfind('<')? + 1..];
        let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        return Some(pairs.map(|pair| char::from(u8::from_str_radix(pair, 16).unwrap())).collect());
    }
    let literal = &before[before.rfind("Td\n(")? + 4..];
    let mut shown = String::new();
    let mut escaped = false;
    for c in literal.strip_suffix(')')?.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            shown.push(c);
            escaped = false;
        }
    }
    Some(shown)
}

#[test]
fn the_pdf_has_every_field_and_long_values_are_wrapped() {
    let mut certificate = certificate();
    certificate.authority.why = Some("RMA: Größe € 中 (100 %) \\".to_owned());
    let serial = "0123456789".repeat(20);
    certificate.device.serial = contract::reading::Outcome::Value(serial.clone());
    let document = pdf::document(&certificate, None);
    assert!(document.starts_with(b"%PDF-1."));
    let texts = texts(&document);
    let all = texts.join(" ");
    for section in erasure::certificate::fields::sections(&certificate, None) {
        assert!(all.contains(section.heading), "{}", section.heading);
        for (name, _) in section.rows {
            assert!(all.contains(&name), "{name}");
        }
    }
    // Latin-1 reads as itself; 80h is the euro sign of Windows-1252; what it lacks is spelled out.
    assert!(all.contains("RMA: Größe \u{80} \\u{4e2d} (100 %) \\"), "{all}");
    assert!(texts.concat().contains(&serial), "a long serial number is whole");
    let statement: Vec<&str> = certificate.statement.split(' ').take(8).collect();
    assert!(all.contains(&statement.join(" ")));
    let pages =
        texts.iter().filter(|text| text.starts_with("certificate ") && text.contains(", page ")).count();
    assert!((1..=3).contains(&pages), "{pages} pages");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]
    #[test]
    fn any_text_is_laid_out(why in proptest::prelude::any::<String>()) {
        let mut certificate = certificate();
        certificate.authority.why = Some(why);
        let _ = pdf::document(&certificate, None);
    }
}
