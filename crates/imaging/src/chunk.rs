//! Chunks: the pieces of fixed size that images are made of, named by the digest of their bytes.

use std::cell::RefCell;
use std::io::{self, Read};

use contract::id::{ChunkDigest, Digest};

/// Size of a chunk in bytes; only the last chunk of an image may be shorter. One MiB is also the
/// alignment of partitions, so that a partition's first chunk starts where the partition does.
pub const CHUNK_BYTES: usize = 1 << 20;

/// How hard chunks are compressed; decoding costs the same at every level.
const COMPRESSION_LEVEL: i32 = 2;

/// A compressed chunk is never larger than this, in bytes: zstd adds at most 1/128 and a header to
/// what it cannot compress. Larger ones are refused unread.
pub const STORED_BYTES_MAX: usize = CHUNK_BYTES + CHUNK_BYTES / 64 + 1024;

/// Why stored bytes are not the chunk that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// Compression failed.
    #[error("could not compress a chunk of {bytes} bytes")]
    Compress {
        /// Size of the chunk in bytes.
        bytes: usize,
        /// What zstd said.
        #[source]
        source: std::io::Error,
    },
    /// The stored form is larger than any chunk's can be.
    #[error(
        "chunk {digest} is {bytes} bytes long as stored, more than any chunk can be; import the image again"
    )]
    StoredTooLarge {
        /// Which chunk.
        digest: ChunkDigest,
        /// Its stored size in bytes.
        bytes: usize,
    },
    /// The stored form is not zstd, or is cut off.
    #[error("chunk {digest} cannot be decompressed: it is damaged or cut off; import the image again")]
    Decompress {
        /// Which chunk.
        digest: ChunkDigest,
        /// What zstd said.
        #[source]
        source: std::io::Error,
    },
    /// It decompresses to another size.
    #[error(
        "chunk {digest} does not have the {expected_bytes} bytes that the manifest says; import the image again"
    )]
    Length {
        /// Which chunk.
        digest: ChunkDigest,
        /// The size that was expected, in bytes.
        expected_bytes: usize,
    },
    /// It decompresses to other bytes.
    #[error("chunk {expected} has other bytes: they have the digest {found}; import the image again")]
    Digest {
        /// What was asked for.
        expected: ChunkDigest,
        /// What came.
        found: ChunkDigest,
    },
}

/// The name of a chunk with these bytes.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> ChunkDigest {
    ChunkDigest(Digest::of(bytes))
}

/// Whether there is nothing but zeros. Word by word and without a branch for each, because what is asked
/// about is as large as a disk, and because static C libraries compare memory byte by byte.
#[must_use]
pub fn is_all_zeros(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let is_zero = |block: &[[u8; 8]]| block.iter().fold(0, |all, word| all | u64::from_ne_bytes(*word)) == 0;
    words.chunks(512).all(is_zero) && rest.iter().all(|byte| *byte == 0)
}

thread_local! {
    // The tables of either are larger than many chunks are as stored; made anew for each chunk they
    // cost a fifth of the time that compressing takes.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The stored form of a chunk.
///
/// # Errors
/// [`ChunkError::Compress`] if zstd fails, which means that memory ran out.
pub fn compress(bytes: &[u8]) -> Result<Vec<u8>, ChunkError> {
    let compressed = COMPRESSOR.with_borrow_mut(|kept| {
        let mut compressor = match kept.take() {
            Some(compressor) => compressor,
            None => zstd::bulk::Compressor::new(COMPRESSION_LEVEL)?,
        };
        let compressed = compressor.compress(bytes)?;
        // One that failed is not kept.
        *kept = Some(compressor);
        Ok(compressed)
    });
    compressed.map_err(|source| ChunkError::Compress { bytes: bytes.len(), source })
}

/// Decompresses into this memory and gives how much came; nothing is compared with anything.
///
/// # Errors
/// If `stored` is not zstd, is cut off, or is more than there is memory for.
pub fn decompress_into(stored: &[u8], target: &mut [u8]) -> io::Result<usize> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let mut decompressor = match kept.take() {
            Some(decompressor) => decompressor,
            None => zstd::bulk::Decompressor::new()?,
        };
        let length = decompressor.decompress_to_buffer(stored, target)?;
        *kept = Some(decompressor);
        Ok(length)
    })
}

/// The chunk from its stored form; it has the length and the digest that were asked for. Never makes
/// more than [`CHUNK_BYTES`] and one byte out of what it is given.
///
/// # Errors
/// Each way in which `stored` is not that chunk is a [`ChunkError`].
pub fn decompress_verified(
    stored: &[u8],
    digest: ChunkDigest,
    length_bytes: usize,
) -> Result<Vec<u8>, ChunkError> {
    if stored.len() > STORED_BYTES_MAX {
        return Err(ChunkError::StoredTooLarge { digest, bytes: stored.len() });
    }
    let wrong_length = ChunkError::Length { digest, expected_bytes: length_bytes };
    if length_bytes > CHUNK_BYTES {
        return Err(wrong_length);
    }
    let bytes = decompress_bounded(stored, length_bytes)
        .map_err(|source| ChunkError::Decompress { digest, source })?;
    if bytes.len() != length_bytes {
        return Err(wrong_length);
    }
    let found = digest_of(&bytes);
    if found != digest {
        return Err(ChunkError::Digest { expected: digest, found });
    }
    Ok(bytes)
}

/// Fills `target` with the chunk from its stored form; on an error what is in it means nothing. The
/// chunk has the digest that was asked for, and its length is that of `target`.
///
/// # Errors
/// As [`decompress_verified`].
pub fn decompress_verified_into(
    stored: &[u8],
    digest: ChunkDigest,
    target: &mut [u8],
) -> Result<(), ChunkError> {
    if stored.len() > STORED_BYTES_MAX {
        return Err(ChunkError::StoredTooLarge { digest, bytes: stored.len() });
    }
    let expected_bytes = target.len();
    let length =
        decompress_into(stored, target).map_err(|source| ChunkError::Decompress { digest, source })?;
    if length != expected_bytes {
        return Err(ChunkError::Length { digest, expected_bytes });
    }
    let found = digest_of(target);
    if found != digest {
        return Err(ChunkError::Digest { expected: digest, found });
    }
    Ok(())
}

/// At most `limit_bytes` + 1 bytes of what `stored` decompresses to. The one byte more shows the
/// caller that there was more than allowed.
pub(crate) fn decompress_bounded(stored: &[u8], limit_bytes: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(limit_bytes.min(CHUNK_BYTES) + 1);
    let decoder = zstd::stream::read::Decoder::with_buffer(stored)?;
    decoder.take(limit_bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{
        CHUNK_BYTES, ChunkError, STORED_BYTES_MAX, compress, decompress_verified, decompress_verified_into,
        digest_of, is_all_zeros,
    };

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let step = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..length).map(step).collect()
    }

    #[test]
    fn a_chunk_reads_back_and_even_noise_fits_the_stored_limit() {
        for bytes in [noise(CHUNK_BYTES), vec![0; CHUNK_BYTES], noise(513), vec![7]] {
            let stored = compress(&bytes).unwrap();
            assert!(stored.len() <= STORED_BYTES_MAX);
            assert_eq!(decompress_verified(&stored, digest_of(&bytes), bytes.len()).unwrap(), bytes);
        }
    }

    #[test]
    fn a_cut_swollen_or_swapped_chunk_is_refused() {
        let bytes = noise(CHUNK_BYTES);
        let (stored, digest) = (compress(&bytes).unwrap(), digest_of(&bytes));
        let cut = decompress_verified(&stored[..stored.len() - 9], digest, CHUNK_BYTES);
        assert!(matches!(cut, Err(ChunkError::Decompress { .. })));
        let other = compress(&noise(1000)).unwrap();
        let swapped = decompress_verified(&other, digest, 1000);
        assert!(matches!(swapped, Err(ChunkError::Digest { .. })));
        let short = decompress_verified(&stored, digest, CHUNK_BYTES - 1);
        assert!(matches!(short, Err(ChunkError::Length { .. })));
        let bomb = compress(&vec![0; 64 * CHUNK_BYTES]).unwrap();
        let swollen = decompress_verified(&bomb, digest, CHUNK_BYTES);
        assert!(matches!(swollen, Err(ChunkError::Length { .. })));
        let huge = decompress_verified(&vec![0; STORED_BYTES_MAX + 1], digest, CHUNK_BYTES);
        assert!(matches!(huge, Err(ChunkError::StoredTooLarge { .. })));
    }

    #[test]
    fn into_given_memory_goes_the_chunk_and_nothing_else() {
        for bytes in [noise(CHUNK_BYTES), noise(513)] {
            let (stored, digest) = (compress(&bytes).unwrap(), digest_of(&bytes));
            let mut target = vec![1; bytes.len()];
            decompress_verified_into(&stored, digest, &mut target).unwrap();
            assert!(target == bytes);
            let mut longer = vec![1; bytes.len() + 1];
            let wrong = decompress_verified_into(&stored, digest, &mut longer);
            assert!(matches!(wrong, Err(ChunkError::Length { .. })));
            let mut shorter = vec![1; bytes.len() - 1];
            let wrong = decompress_verified_into(&stored, digest, &mut shorter);
            assert!(matches!(wrong, Err(ChunkError::Decompress { .. })));
            let cut = decompress_verified_into(&stored[..stored.len() - 3], digest, &mut target);
            assert!(matches!(cut, Err(ChunkError::Decompress { .. })));
            let wrong = decompress_verified_into(&stored, digest_of(b"x"), &mut target);
            assert!(matches!(wrong, Err(ChunkError::Digest { .. })));
        }
    }

    #[test]
    fn one_byte_that_is_not_zero_is_seen_wherever_it_is() {
        for length in [0, 1, 7, 8, 513, 4096, 4103, 9000] {
            let mut bytes = vec![0; length];
            assert!(is_all_zeros(&bytes), "{length}");
            for at in (0..length).step_by(length.div_ceil(50).max(1)).chain(length.checked_sub(1)) {
                bytes[at] = 1;
                assert!(!is_all_zeros(&bytes), "{at} of {length}");
                bytes[at] = 0;
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_never_a_chunk(stored in proptest::collection::vec(any::<u8>(), 0..400)) {
            assert!(decompress_verified(&stored, digest_of(b"x"), 1000).is_err());
            assert!(decompress_verified_into(&stored, digest_of(b"x"), &mut [0; 1000]).is_err());
        }
    }
}
