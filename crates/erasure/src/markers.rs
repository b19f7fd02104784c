//! Blocks that are written before the erase and must be gone afterwards.
//!
//! A device that says "done" and did nothing still has them. Two in each of 256 strata, as the design
//! has it; their content follows from the run's seed, so nothing else on the disk can be mistaken for
//! one, and nothing of a tenant is in them.

use contract::id::Digest;

use crate::sample::{BLOCK_BYTES, Random, positions};

/// How many markers a run writes, if the disk has room for them.
pub const MARKERS: u32 = 512;

/// Where the markers are written, in bytes from the start, ascending, each a block of 4 KiB.
#[must_use]
pub fn marker_positions(seed: Digest, size_bytes: u64) -> Vec<u64> {
    positions(purpose_seed(seed), size_bytes, MARKERS)
}

/// The content of the marker at `offset`.
#[must_use]
pub fn marker(seed: Digest, offset: u64) -> Vec<u8> {
    // BLOCK_BYTES is 4096 and fits every usize.
    let mut bytes = vec![0; usize::try_from(BLOCK_BYTES).unwrap_or(4096)];
    Random::new(purpose_seed(seed), &format!("marker at {offset}")).fill(&mut bytes);
    bytes
}

/// Another seed than the samples have, so that markers do not lie where samples are read: each finds
/// what the other misses.
fn purpose_seed(seed: Digest) -> Digest {
    Digest(*blake3::keyed_hash(&seed.0, b"markers").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_many_distinct_and_repeatable() {
        let seed = Digest::of(b"seed");
        let places = marker_positions(seed, 1 << 30);
        assert_eq!(places.len(), 512);
        assert_eq!(marker(seed, places[0]), marker(seed, places[0]));
        assert_ne!(marker(seed, places[0]), marker(seed, places[1]));
        assert_ne!(marker(seed, 0), marker(Digest::of(b"other"), 0));
        assert_ne!(places, positions(seed, 1 << 30, MARKERS));
    }

    #[test]
    fn a_small_disk_gets_a_marker_in_every_block() {
        assert_eq!(marker_positions(Digest::of(b"seed"), 40_960).len(), 10);
        assert!(marker_positions(Digest::of(b"seed"), 512).is_empty());
    }
}
