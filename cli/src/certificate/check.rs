//! Checking a certificate without the service: signature, form, chain.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey as _;
use erasure::certificate::Certificate;
use erasure::certificate::signed::{FILE_BYTES_MAX, SignedCertificate};
use erasure::certificate::wording;
use serde_json::json;

use crate::Ending;
use crate::certificate::{Export, Verify};
use crate::certificate::{key_name, write_export};
use crate::output::{clean, print, print_json};
use crate::settings;

/// The site's public key beside the configuration file.
const KEY_NAME: &str = "certificate-key.pem";

/// `reprieve certificate verify FILE`. An error is a certificate that proves nothing.
pub fn verify(request: &Verify, json: bool) -> anyhow::Result<Ending> {
    let key = read_key(request.key.as_deref())?;
    let (_, certificate) = read(&request.file, &key)?;
    let chain = match (&request.previous, &certificate.chain.previous) {
        (Some(path), _) => {
            let (previous_signed, previous) = read(path, &key)?;
            certificate
                .check_follows(&previous, &previous_signed)
                .with_context(|| format!("{} does not follow {}", request.file.display(), path.display()))?;
            "checked"
        }
        (None, None) => "first",
        (None, Some(_)) => "not-checked",
    };
    if json {
        print_json(&json!({
            "valid": true, "key": key_name(&key), "chain": chain, "certificate": certificate,
        }))?;
    } else {
        print(&valid_in_words(&certificate, &key, chain))?;
    }
    Ok(Ending::Good)
}

fn valid_in_words(certificate: &Certificate, key: &VerifyingKey, chain: &str) -> String {
    let number = certificate.chain.number;
    let chain = match (&certificate.chain.previous, chain) {
        (None, _) => "it is the first certificate of its disk".to_owned(),
        (Some(previous), "checked") => {
            format!("number {number} of its disk; it follows {}, which is valid too", previous.id)
        }
        (Some(previous), _) => format!(
            "number {number} of its disk; that it follows {} was not checked (--previous FILE)",
            previous.id
        ),
    };
    format!(
        "valid: certificate {}\nkey: {}\nchain: {chain}\n{}\nto read all of it: reprieve certificate export \
         FILE --format html",
        certificate.id,
        key_name(key),
        clean(&certificate.statement),
    )
}

/// `reprieve certificate export FILE`: only a certificate that is valid is made to look like one.
pub fn export_file(path: &Path, export: &Export) -> anyhow::Result<Ending> {
    let key = read_key(export.key.as_deref())?;
    let (signed, certificate) = read(path, &key)?;
    write_export(&signed, &certificate, export)
}

/// Reads and checks a certificate's file.
pub fn read(path: &Path, key: &VerifyingKey) -> anyhow::Result<(SignedCertificate, Certificate)> {
    let name = path.display();
    let bytes = read_bounded(path).with_context(|| format!("could not read the certificate {name}"))?;
    let signed = SignedCertificate::from_bytes(&bytes)
        .with_context(|| format!("{name} is not a valid certificate"))?;
    let certificate = signed.verify(key).with_context(|| format!("{name} is not a valid certificate"))?;
    anyhow::ensure!(
        certificate.sanitization.technique_name == wording::technique(certificate.sanitization.technique),
        "{name} is signed, but names its technique in two ways; ask the site"
    );
    Ok((signed, certificate))
}

/// At most one byte more than a certificate has, so that a longer file is seen to be one.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The site's public key: the file that was named, or the one beside the configuration file.
fn read_key(named: Option<&Path>) -> anyhow::Result<VerifyingKey> {
    let beside = settings::configuration_path().map(|path| path.with_file_name(KEY_NAME));
    let path: PathBuf = match (named, beside) {
        (Some(path), _) => path.to_owned(),
        (None, Some(path)) if path.exists() => path,
        (None, beside) => {
            let beside = beside.map(|path| format!(" or put it into {}", path.display())).unwrap_or_default();
            anyhow::bail!(
                "a certificate says nothing without the site's public key; get it once with \
                 `reprieve certificate key --output FILE`, compare it with the site's, then give --key FILE{beside}"
            );
        }
    };
    let text = read_bounded(&path).with_context(|| format!("could not read the key {}", path.display()))?;
    key_from_pem(&String::from_utf8_lossy(&text))
        .with_context(|| format!("{} is not an Ed25519 public key (PEM)", path.display()))
}

/// A public key as PEM (RFC 8410).
pub fn key_from_pem(text: &str) -> anyhow::Result<VerifyingKey> {
    VerifyingKey::from_public_key_pem(text).context("could not decode the key")
}
