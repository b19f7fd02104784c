//! Which chunks of a disk differ from what the disk should have. Only those are written.

use contract::id::ChunkDigest;

use crate::layout::DiskLayout;
use crate::manifest::Manifest;

/// What was found where a chunk should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisk {
    /// It was read and has this digest.
    Read(ChunkDigest),
    /// It could not be read, or was not looked at. It is written: unknown is never equal.
    Unknown,
}

/// The indexes of the chunks to write, ascending; the first chunk, if it is among them, must go last.
/// `found` says what stands on the disk, chunk by chunk from the first; what it leaves out is unknown.
#[must_use]
pub fn chunks_to_write(manifest: &Manifest, layout: &DiskLayout, found: &[OnDisk]) -> Vec<u64> {
    let differs = |index: &u64| {
        let on_disk = usize::try_from(*index).ok().and_then(|at| found.get(at)).copied();
        match (on_disk, layout.chunk_digest(manifest, *index)) {
            (Some(OnDisk::Read(digest)), Some(expected)) => digest != expected,
            _ => true,
        }
    };
    (0..layout.image_chunks).filter(differs).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{OnDisk, chunks_to_write};
    use crate::chunk::{CHUNK_BYTES, digest_of};
    use crate::layout::DiskLayout;
    use crate::manifest::tests::sample;

    #[test]
    fn only_what_differs_or_is_unknown_is_written() {
        let manifest = sample();
        let first = vec![9; CHUNK_BYTES];
        let guids = (Uuid::from_u128(1), Uuid::from_u128(2));
        let layout = DiskLayout::compute(&manifest, &first, 1 << 30, 512, guids.0, guids.1).unwrap();
        let expected = |index| OnDisk::Read(layout.chunk_digest(&manifest, index).unwrap());
        let all: Vec<OnDisk> = (0..layout.image_chunks).map(expected).collect();
        assert!(chunks_to_write(&manifest, &layout, &all).is_empty());

        let mut found = all.clone();
        found[0] = OnDisk::Read(digest_of(&first));
        found[2] = OnDisk::Unknown;
        found[3] = OnDisk::Read(digest_of(&vec![0; CHUNK_BYTES]));
        assert_eq!(chunks_to_write(&manifest, &layout, &found), [0, 2, 3]);
        assert_eq!(chunks_to_write(&manifest, &layout, &found[..4]), [0, 2, 3, 4]);
        assert_eq!(chunks_to_write(&manifest, &layout, &[]), [0, 1, 2, 3, 4]);
    }
}
