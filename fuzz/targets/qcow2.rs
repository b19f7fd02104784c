//! qcow2 files (QEMU documentation, "qcow2").
#![no_main]

use imaging::qcow2::{MAGIC, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    if file.len() >= MAGIC.len() {
        file[..MAGIC.len()].copy_from_slice(MAGIC);
    }
    let _ = check(&file);
});
