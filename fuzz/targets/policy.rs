//! Policies, which a person wrote, with holds and rules in CEL: any text gets a policy or an error, never a
//! crash; and what agents are given means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verdict::policy::{Policy, described};

fuzz_target!(|text: &str| {
    let layers = [("site", text), ("pool", text)];
    if let Ok(policy) = Policy::layered(&layers) {
        let again = Policy::parse(policy.canonical_text());
        assert!(again.is_ok_and(|again| again.digest() == policy.digest()), "the canonical text is another");
        let told = described(&layers).map(|told| Policy::parse(&told).map(|again| again.digest()));
        assert!(told.is_ok_and(|told| told == Ok(policy.digest())), "the described policy is another");
    }
});
