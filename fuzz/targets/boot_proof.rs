//! What a machine shows of its boot: the firmware's event log, a TPM's answers, a quote, a key, a signature.
#![no_main]

use attest::command::{created, quoted};
use attest::event_log::replay;
use attest::key::{AttestationKey, signature};
use attest::quote::Quote;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = (replay(data), Quote::parse(data), AttestationKey::parse(data), signature(data));
    if let Ok(created) = created(data) {
        let _ = AttestationKey::parse(&created.public);
    }
    if let Ok(quoted) = quoted(data) {
        let _ = (Quote::parse(&quoted.attested), signature(&quoted.signature));
    }
});
