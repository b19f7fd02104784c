//! The digest of a file that lies in the image.

use contract::id::Digest;

use crate::chunk::CHUNK_BYTES;
use crate::manifest::Extent;
use crate::source::ReadAt;

/// The digest of a file's content, read from where it lies in the image; gaps are zeros.
///
/// # Errors
/// What the medium says, with the place in the image in bytes.
pub fn digest_file<S: ReadAt + ?Sized>(
    image: &S,
    size_bytes: u64,
    extents: &[Extent],
) -> Result<Digest, (u64, std::io::Error)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = Vec::new();
    let mut done = 0;
    for extent in extents {
        hash_zeros(&mut hasher, extent.file_offset.saturating_sub(done));
        let mut at = 0;
        while at < extent.length_bytes {
            let length = (extent.length_bytes - at).min(CHUNK_BYTES as u64);
            buffer.resize(usize::try_from(length).unwrap_or(CHUNK_BYTES), 0);
            let offset = extent.image_offset.saturating_add(at);
            image.read_at(offset, &mut buffer).map_err(|error| (offset, error))?;
            hasher.update(&buffer);
            at += length;
        }
        done = extent.file_offset.saturating_add(extent.length_bytes);
    }
    hash_zeros(&mut hasher, size_bytes.saturating_sub(done));
    Ok(Digest(*hasher.finalize().as_bytes()))
}

fn hash_zeros(hasher: &mut blake3::Hasher, mut count: u64) {
    let zeros = [0; 4096];
    while count > 0 {
        let length = count.min(zeros.len() as u64);
        hasher.update(&zeros[..usize::try_from(length).unwrap_or(zeros.len())]);
        count -= length;
    }
}
