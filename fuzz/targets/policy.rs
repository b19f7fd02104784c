//! Policies, which a person wrote: any text gets a policy or an error, never a crash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verdict::policy::Policy;

fuzz_target!(|text: &str| {
    if let Ok(policy) = Policy::parse(text) {
        let _ = policy.digest();
    }
});
