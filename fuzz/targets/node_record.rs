//! What a node keeps of itself on its disk.
#![no_main]

use imaging::node_record::decode_newest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = decode_newest(data);
});
