//! What a machine shows of its boot: the firmware's event log, a TPM's answers, a quote, keys, a signature, a
//! certificate.
#![no_main]

use attest::certificate::{Roots, check, in_memory};
use attest::command::{created, quoted};
use attest::endorsement::EndorsementKey;
use attest::enrolment::{index, index_part, opened, password_known, session};
use attest::event_log::replay;
use attest::key::{AttestationKey, signature};
use attest::quote::Quote;
use contract::id::UnixMillis;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = (index(data), index_part(data), opened(data), password_known(data), session(data));
    let _ = (replay(data), Quote::parse(data), AttestationKey::parse(data), signature(data));
    if let Ok(created) = created(data) {
        let _ = AttestationKey::parse(&created.public);
        // An answer with a key, and a certificate behind it.
        if let (Ok(key), Some(rest)) = (EndorsementKey::parse(&created.public), data.get(data.len() / 2..)) {
            let _ = check(rest, &key, &Roots::default(), &[], UnixMillis(0));
        }
    }
    if let Some(certificate) = in_memory(data) {
        let _ = Roots::new([certificate]);
    }
    if let Ok(quoted) = quoted(data) {
        let _ = (Quote::parse(&quoted.attested), signature(&quoted.signature));
    }
});
