//! Content of a btrfs root that is packed with LZO.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// The most content of one extent, in bytes, and the usual sector.
const WHOLE_BYTES: usize = 128 << 10;
const SECTOR_BYTES: usize = 4096;

fuzz_target!(|data: &[u8]| {
    if let Some(whole) = imaging::btrfs::unpack_lzo(data, WHOLE_BYTES, SECTOR_BYTES) {
        assert!(whole.len() <= WHOLE_BYTES, "more than there is room for");
    }
});
