//! Which blocks are read back, and what that finds.
//!
//! The disk is cut into as many equal strata as there are samples; one block of each is read at a
//! place that follows from the seed, besides the whole first and last MiB. If a share f of the blocks
//! was not erased, n samples miss all of them with a probability of at most (1-f)^n: with one sample
//! per stratum it is the product of (1-f_i), which the inequality of the means bounds by that.

use contract::id::Digest;

/// The size of a sample, in bytes.
pub const BLOCK_BYTES: u64 = 4096;

/// How much of each end of the disk is read back, in bytes.
pub const EDGE_BYTES: u64 = 1024 * 1024;

/// The most samples of one run; the table of positions stays small.
pub const SAMPLES_MAX: u32 = 100_000;

/// A stretch of the disk to be read or written in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Where it starts, in bytes; a multiple of 4096.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
}

/// Where `count` blocks of 4 KiB are read, in bytes from the start, ascending, without repetition.
/// All blocks if the disk has no more than `count`, which is cut to [`SAMPLES_MAX`].
#[must_use]
pub fn positions(seed: Digest, size_bytes: u64, count: u32) -> Vec<u64> {
    let blocks = size_bytes / BLOCK_BYTES;
    let count = u64::from(count.min(SAMPLES_MAX));
    if blocks <= count {
        return (0..blocks).map(|block| block * BLOCK_BYTES).collect();
    }
    let mut random = Random::new(seed, "sample positions");
    let strata = (0..count).map(|stratum| {
        let first = at_share(blocks, stratum, count);
        let end = at_share(blocks, stratum + 1, count);
        (first + random.below(end - first)) * BLOCK_BYTES
    });
    strata.collect()
}

/// The first and the last MiB of the disk; the whole disk if it is no larger than both. The last one
/// starts on a multiple of 4096 and reaches to the last byte.
#[must_use]
pub fn edges(size_bytes: u64) -> Vec<Span> {
    if size_bytes <= 2 * EDGE_BYTES {
        return vec![Span { offset: 0, bytes: size_bytes }];
    }
    let last = (size_bytes - EDGE_BYTES) / BLOCK_BYTES * BLOCK_BYTES;
    vec![Span { offset: 0, bytes: EDGE_BYTES }, Span { offset: last, bytes: size_bytes - last }]
}

/// How many equal parts a disk is cut into when a tenth of it is read (NIST SP 800-88r1 section 4.7.3:
/// at least a thousand).
const PARTS: u64 = 1000;

/// The stretches that are read where a tenth of the disk has to be: two in each of a thousand equal
/// parts, one in either half of the part, each at least a twentieth of the part (NIST SP 800-88r1
/// section 4.7.3). The whole disk if it is too small for that.
#[must_use]
pub fn tenth(seed: Digest, size_bytes: u64) -> Vec<Span> {
    let blocks = size_bytes / BLOCK_BYTES;
    if blocks < PARTS * 20 {
        return whole(size_bytes);
    }
    let mut random = Random::new(seed, "stretches of a tenth");
    let mut spans = Vec::new();
    // A twentieth of the longest part; with at least 20 blocks in each part it fits into either half.
    let length = blocks.div_ceil(PARTS).div_ceil(20);
    for half in 0..2 * PARTS {
        let first = at_share(blocks, half, 2 * PARTS);
        let end = at_share(blocks, half + 1, 2 * PARTS);
        let start = first + random.below((end - first).saturating_sub(length) + 1);
        spans.push(Span { offset: start * BLOCK_BYTES, bytes: length * BLOCK_BYTES });
    }
    spans
}

/// The whole disk, to its last byte.
#[must_use]
pub fn whole(size_bytes: u64) -> Vec<Span> {
    vec![Span { offset: 0, bytes: size_bytes }]
}

/// The share of un-erased blocks, in parts per million and rounded up, that `count` samples find with
/// a probability of 95 %.
#[must_use]
pub fn found_with_95_percent_ppm(count: u64) -> u32 {
    if count == 0 {
        return 1_000_000;
    }
    // Counts are at most a few hundred thousand; f64 holds them exactly.
    #[allow(clippy::cast_precision_loss)]
    let share = 1.0 - 0.05_f64.powf(1.0 / count as f64);
    // The share is between 0 and 1.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let ppm = (share * 1_000_000.0).ceil() as u32;
    ppm
}

/// `whole * part / parts` without overflow.
fn at_share(whole: u64, part: u64, parts: u64) -> u64 {
    let share = u128::from(whole) * u128::from(part) / u128::from(parts);
    // Not larger than `whole`, as `part` is not larger than `parts`.
    u64::try_from(share).unwrap_or(whole)
}

/// Bytes that follow from a seed and a purpose and look random (BLAKE3 in its extendable form).
pub(crate) struct Random(blake3::OutputReader);

impl Random {
    pub fn new(seed: Digest, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&seed.0);
        hasher.update(purpose.as_bytes());
        Self(hasher.finalize_xof())
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    /// A number below `limit`; 0 if `limit` is 0. The bias of the multiplication is below 2^-64 times
    /// the limit and does not matter here.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        let scaled = (u128::from(u64::from_le_bytes(bytes)) * u128::from(limit)) >> 64;
        u64::try_from(scaled).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    #[test]
    fn the_detection_power_is_what_the_formula_says() {
        // 1-0.05^(1/n): a percent needs 299 samples, the classic figure.
        assert_eq!(found_with_95_percent_ppm(299), 9_970);
        assert_eq!(found_with_95_percent_ppm(2000), 1_497);
        assert_eq!(found_with_95_percent_ppm(1), 950_000);
        assert_eq!(found_with_95_percent_ppm(0), 1_000_000);
    }

    #[test]
    fn edges_cover_both_ends_to_the_last_byte() {
        assert_eq!(edges(512), [Span { offset: 0, bytes: 512 }]);
        let odd = 10 * EDGE_BYTES + 512;
        let [first, last] = edges(odd)[..] else { panic!("two edges") };
        assert_eq!(first, Span { offset: 0, bytes: EDGE_BYTES });
        assert_eq!(last.offset % BLOCK_BYTES, 0);
        assert_eq!(last.offset + last.bytes, odd);
        assert!(last.bytes >= EDGE_BYTES);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_tenth_is_at_least_a_tenth_in_two_thousand_places(seed: [u8; 32], size in 1_u64 << 12..1 << 50) {
            let spans = tenth(Digest(seed), size);
            let read: u64 = spans.iter().map(|span| span.bytes).sum();
            // Of the last block, which may not be whole, nothing is promised here; the ends are read anyway.
            prop_assert!(read * 10 >= size / BLOCK_BYTES * BLOCK_BYTES);
            prop_assert!(spans.windows(2).all(|pair| pair[0].offset + pair[0].bytes <= pair[1].offset));
            prop_assert!(spans.iter().all(|span| span.offset % BLOCK_BYTES == 0 && span.offset + span.bytes <= size));
            if size >= 20_000 * BLOCK_BYTES {
                prop_assert!(spans.len() == 2000);
                prop_assert!(read <= size / 10 + 2200 * BLOCK_BYTES);
                for (at, span) in spans.iter().enumerate() {
                    let part = size / BLOCK_BYTES / 1000;
                    prop_assert!(span.bytes / BLOCK_BYTES * 20 >= part, "stretch {}", at);
                }
            } else {
                prop_assert!(read == size);
            }
        }

        #[test]
        fn one_position_in_each_stratum(seed: [u8; 32], size: u64, count in 1_u32..3000) {
            let found = positions(Digest(seed), size, count);
            let blocks = size / BLOCK_BYTES;
            prop_assert!(found.len() as u64 == blocks.min(u64::from(count)));
            prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(found.iter().all(|at| at % BLOCK_BYTES == 0 && at + BLOCK_BYTES <= size));
            if blocks > u64::from(count) {
                for (stratum, at) in (0..).zip(&found) {
                    let block = at / BLOCK_BYTES;
                    prop_assert!(at_share(blocks, stratum, u64::from(count)) <= block);
                    prop_assert!(block < at_share(blocks, stratum + 1, u64::from(count)));
                }
            }
            prop_assert!(found == positions(Digest(seed), size, count));
        }
    }
}
