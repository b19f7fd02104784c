//! Manifests, and in them the index of chunks. What is taken must be written as it was read.
#![no_main]

use imaging::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(manifest) = Manifest::from_bytes(data) else { return };
    let Ok(bytes) = manifest.to_bytes() else { return };
    assert_eq!(Manifest::from_bytes(&bytes).ok().as_ref(), Some(&manifest));
    for index in [0, 1, manifest.chunk_count().saturating_sub(1), manifest.chunk_count(), u64::MAX] {
        let _ = (manifest.chunk(index), manifest.chunk_length(index), manifest.chunk_digest(index));
    }
    for partition in &manifest.partitions {
        let _ = manifest.pieces(partition.first_byte, partition.length_bytes.min(1 << 30));
    }
});
