//! What a block that was read back looks like.

use contract::plan::EraseMethod;
use serde::{Deserialize, Serialize};

/// What a block looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Every byte is 00h: overwritten, or deallocated.
    Zeros,
    /// Every byte is FFh: erased flash.
    Ones,
    /// Every byte value about equally often: what decrypting with a destroyed key gives.
    Noise,
    /// Anything else. Data, as long as nobody proves otherwise.
    Other,
}

/// Whether a block may look like this after a method, given that the tool asks for zeros wherever it can
/// choose a pattern and lets sanitized blocks be deallocated. A read that fails is never expected then.
///
/// | method | leaves |
/// |---|---|
/// | overwrite by the tool, WRITE SAME, and sanitize by overwrite (the pattern is zeros) | zeros |
/// | block erase, ATA SECURITY ERASE UNIT normal (ACS: zeros; flash: also FFh) | zeros or ones |
/// | cryptographic erase, alone or before a block erase | zeros, ones or noise |
/// | NVMe Format user data erase (the controller may do it by a cryptographic erase) | zeros, ones or noise |
/// | found clean: nothing is erased now, and nobody saw how it was | zeros or ones |
/// | ATA SECURITY ERASE UNIT enhanced (ACS: patterns of the vendor) | zeros, ones or noise |
#[must_use]
pub fn may_leave(method: EraseMethod, content: Content) -> bool {
    match (method, content) {
        (_, Content::Zeros) => true,
        (_, Content::Other) => false,
        // Nobody saw this erase, and noise may be the last tenant's, encrypted.
        (EraseMethod::NvmeFoundClean, Content::Ones) => true,
        (EraseMethod::NvmeFoundClean, Content::Noise) => false,
        (
            EraseMethod::Overwrite
            | EraseMethod::ScsiWriteSame
            | EraseMethod::NvmeSanitizeOverwrite
            | EraseMethod::AtaSanitizeOverwrite
            | EraseMethod::ScsiSanitizeOverwrite,
            Content::Ones | Content::Noise,
        ) => false,
        (
            EraseMethod::NvmeSanitizeBlock
            | EraseMethod::AtaSanitizeBlock
            | EraseMethod::ScsiSanitizeBlock
            | EraseMethod::AtaSecurityErase,
            Content::Ones,
        ) => true,
        (
            EraseMethod::NvmeSanitizeBlock
            | EraseMethod::AtaSanitizeBlock
            | EraseMethod::ScsiSanitizeBlock
            | EraseMethod::AtaSecurityErase,
            Content::Noise,
        ) => false,
        (
            EraseMethod::NvmeFormatUserData
            | EraseMethod::NvmeFormatCrypto
            | EraseMethod::NvmeSanitizeCrypto
            | EraseMethod::NvmeSanitizeCryptoBlock
            | EraseMethod::AtaSanitizeCrypto
            | EraseMethod::AtaSanitizeCryptoBlock
            | EraseMethod::AtaSecurityEraseEnhanced
            | EraseMethod::ScsiSanitizeCrypto
            | EraseMethod::ScsiSanitizeCryptoBlock,
            Content::Ones | Content::Noise,
        ) => true,
    }
}

/// So many bytes are compared before it is asked whether one differs.
const PIECE_BYTES: usize = 256;
/// The least length at which the count of byte values says anything, in bytes.
const NOISE_BYTES_MIN: usize = 512;

/// Looks at a block.
///
/// Noise is judged by the chi-square statistic of the byte values: 255 degrees of freedom give 255 on
/// average with a deviation of 22.6; 400 is more than six deviations away, which chance exceeds less
/// than once in ten million blocks. Compressed or encrypted data look the same, so noise alone
/// proves nothing.
#[must_use]
pub fn look(bytes: &[u8]) -> Content {
    if is_filled(bytes, 0) {
        return Content::Zeros;
    }
    if is_filled(bytes, 0xff) {
        return Content::Ones;
    }
    if bytes.len() < NOISE_BYTES_MIN {
        return Content::Other;
    }
    let mut counts = [0_u64; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    // With n bytes the statistic is the sum of (c - n/256)^2 / (n/256) = 256/n * sum(c^2) - n; n is a
    // buffer's length, so n^2 * 256 stays far below 2^128.
    let length = bytes.len() as u128;
    let squares: u128 = counts.iter().map(|count| u128::from(*count) * u128::from(*count)).sum();
    if squares * 256 < length * (length + 400) { Content::Noise } else { Content::Other }
}

/// Whether every byte is this one. There is no way out within a piece, so that the processor compares many
/// bytes at a time: a whole disk is looked at here.
fn is_filled(bytes: &[u8], value: u8) -> bool {
    let piece_is = |piece: &[u8]| piece.iter().fold(0, |differs, byte| differs | (byte ^ value)) == 0;
    bytes.chunks(PIECE_BYTES).all(piece_is)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::markers::marker;
    use contract::id::Digest;

    #[test]
    fn blocks_are_told_apart() {
        let text: Vec<u8> = b"The quick brown fox. ".iter().copied().cycle().take(4096).collect();
        let mut one_bit = vec![0; 4096];
        one_bit[4095] = 1;
        let cases = [
            (vec![0; 4096], Content::Zeros),
            (vec![0xff; 4096], Content::Ones),
            (marker(Digest::of(b"noise"), 0), Content::Noise),
            (text, Content::Other),
            (one_bit, Content::Other),
            (vec![0x55; 4096], Content::Other),
            (marker(Digest::of(b"noise"), 0)[..512].to_vec(), Content::Noise),
            (marker(Digest::of(b"noise"), 0)[..256].to_vec(), Content::Other),
        ];
        for (bytes, expected) in cases {
            assert_eq!(look(&bytes), expected, "{:?}", &bytes[..8]);
        }
    }

    /// One bit that differs shows wherever it is, also in a last piece that is not whole.
    #[test]
    fn no_bit_is_overlooked() {
        for filled in [0, 0xff_u8] {
            let whole = vec![filled; 3 * PIECE_BYTES + 7];
            assert!(is_filled(&whole, filled) && !is_filled(&whole, !filled) && is_filled(&[], filled));
            for at in 0..whole.len() * 8 {
                let mut changed = whole.clone();
                changed[at / 8] ^= 1 << (at % 8);
                assert!(!is_filled(&changed, filled), "bit {at}");
            }
        }
    }

    #[test]
    fn random_blocks_pass_for_noise() {
        let seed = Digest::of(b"many");
        assert!((0..2000).all(|at| look(&marker(seed, at * 4096)) == Content::Noise));
    }
}
