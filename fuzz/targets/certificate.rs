//! Certificates of erasure, as anybody may send one to be checked.
#![no_main]

use ed25519_dalek::SigningKey;
use erasure::certificate::html::page;
use erasure::certificate::signed::SignedCertificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(signed) = SignedCertificate::from_bytes(data) else { return };
    // The key of nobody who ever signed one.
    assert!(signed.verify(&SigningKey::from_bytes(&[9; 32]).verifying_key()).is_err());
    if let Ok(certificate) = signed.read_unchecked() {
        let _ = page(&certificate, signed.digest().ok());
    }
});
