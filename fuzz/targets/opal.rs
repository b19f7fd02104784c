//! What a self-encrypting disk says of its locks (TCG Storage, Level 0 Discovery).
#![no_main]

use erasure::opal::locking;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = locking(data);
});
