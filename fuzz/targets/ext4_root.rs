//! Root file systems in ext4: everything that an import reads of an image that anybody made.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../changed.rs"]
mod changed;

fuzz_target!(|data: &[u8]| changed::read_everything(data));
