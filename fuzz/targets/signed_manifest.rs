//! Packed and sealed manifests, as they come from a service that is not believed.
#![no_main]

use contract::id::{Digest, ImageId};
use ed25519_dalek::SigningKey;
use imaging::signed::{open, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    assert!(open(data, &key, ImageId(Digest::of(b"another"))).is_err());
    let _ = unpack(data);
});
