//! Swap: what is in it belongs to the system that ran, and no image needs it.

use std::ops::Range;

use crate::chunk::CHUNK_BYTES;
use crate::manifest::{Manifest, ManifestPartition};
use crate::partitions::is_swap;

/// So much of a swap partition's start is needed to find its header, in bytes: the largest page.
pub const SWAP_HEADER_BYTES: usize = 64 << 10;

/// The signature of swap that can be used, at the end of its first page (`linux/swap.h`). Swap that
/// holds a sleeping system has another one there, and is not used but woken.
const SIGNATURE: &[u8; 10] = b"SWAPSPACE2";

/// Whether these bytes at the start of a swap partition have the header of swap that can be used, with
/// pages of 4 to 64 KiB.
#[must_use]
pub fn has_swap_header(start: &[u8]) -> bool {
    let pages = (12..=16).map(|power| 1_usize << power);
    pages.into_iter().any(|page| start.get(page - SIGNATURE.len()..page) == Some(SIGNATURE))
}

/// The swap partitions of an image, each with the chunks that hold nothing but what is swapped out: those
/// wholly inside of it, behind the one in which it begins. They need not be the image's while the header
/// on the disk is one. The chunk with the header is compared like any other, so that a system that went
/// to sleep before the image was written is never woken after it.
pub fn swap_contents(manifest: &Manifest) -> impl Iterator<Item = (&ManifestPartition, Range<u64>)> {
    let chunk = CHUNK_BYTES as u64;
    let swaps = manifest.partitions.iter().filter(|one| is_swap(one.type_guid) && one.immutable.is_none());
    swaps.map(move |one| (one, one.first_byte / chunk + 1..one.end_byte() / chunk))
}

#[cfg(test)]
mod tests {
    use contract::id::Digest;
    use proptest::prelude::{any, proptest};

    use super::{SWAP_HEADER_BYTES, has_swap_header, swap_contents};
    use crate::manifest::PartitionRole;
    use crate::manifest::tests::{partition, sample};
    use crate::partitions::SWAP;

    #[test]
    fn only_a_header_of_swap_that_can_be_used_is_one() {
        for page in [4096_usize, 8192, 16_384, 32_768, 65_536] {
            let mut start = vec![0; SWAP_HEADER_BYTES];
            start[page - 10..page].copy_from_slice(b"SWAPSPACE2");
            assert!(has_swap_header(&start), "{page}");
            assert!(!has_swap_header(&start[..page - 1]), "{page}");
            start[page - 10..page].copy_from_slice(b"S1SUSPEND\0");
            assert!(!has_swap_header(&start), "{page}");
        }
    }

    #[test]
    fn what_is_swapped_out_is_all_but_the_chunks_at_both_ends() {
        const MIB: u64 = 1 << 20;
        let mut manifest = sample();
        let swap = |number, first: u64, length: u64| {
            let mut swap = partition(number, PartitionRole::Other, first, length);
            swap.type_guid = SWAP;
            swap
        };
        manifest.partitions = vec![
            swap(1, MIB, 3 * MIB),
            swap(2, 4 * MIB + 512, 3 * MIB),
            swap(3, 8 * MIB, 512),
            partition(4, PartitionRole::Root, 9 * MIB, MIB),
        ];
        let found: Vec<(u32, Vec<u64>)> =
            swap_contents(&manifest).map(|(swap, chunks)| (swap.number, chunks.collect())).collect();
        assert_eq!(found, [(1, vec![2, 3]), (2, vec![5, 6]), (3, vec![])]);
        manifest.partitions[0].immutable = Some(Digest::of(b"swap"));
        assert_eq!(swap_contents(&manifest).count(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_header_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
            assert!(!has_swap_header(&bytes));
        }
    }
}
