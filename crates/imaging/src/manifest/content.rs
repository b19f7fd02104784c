//! The content of files beside the disk: its chunks are counted on from those of the disk, so that an
//! extent names either in the same way.

use super::{CHUNK_BYTES, Chunk, Manifest};

impl Manifest {
    /// Where the content beside the disk begins, in the bytes that extents count: with the first whole
    /// chunk behind the image.
    #[must_use]
    pub fn content_start(&self) -> u64 {
        self.chunk_count().saturating_mul(CHUNK_BYTES as u64)
    }

    /// Whether so many bytes from here on lie in the content beside the disk.
    #[must_use]
    pub fn is_content(&self, offset: u64, length_bytes: u64) -> bool {
        let length = (self.content.as_slice().len() as u64).saturating_mul(CHUNK_BYTES as u64);
        let within = offset.checked_sub(self.content_start());
        within.and_then(|within| within.checked_add(length_bytes)).is_some_and(|end| end <= length)
    }

    /// The chunk with this index, of the disk or of the content beside it. A disk is never written
    /// from the latter, so [`Manifest::chunk`] does not know it.
    #[must_use]
    pub fn chunk_or_content(&self, index: u64) -> Option<Chunk> {
        match index.checked_sub(self.chunk_count()) {
            None => self.chunk(index),
            Some(beside) => self.content.as_slice().get(usize::try_from(beside).ok()?).copied(),
        }
    }

    /// The length in bytes of the chunk with this index; chunks of content are whole. 0 past the end.
    #[must_use]
    pub fn chunk_or_content_length(&self, index: u64) -> usize {
        match self.chunk_or_content(index) {
            Some(_) if index >= self.chunk_count() => CHUNK_BYTES,
            _ => self.chunk_length(index),
        }
    }

    /// All chunks with their indexes, those of the disk first.
    pub fn chunks_and_content(&self) -> impl Iterator<Item = (u64, Chunk)> {
        (0..).zip(self.chunks.as_slice().iter().chain(self.content.as_slice()).copied())
    }
}

#[cfg(test)]
mod tests {
    use contract::id::{ChunkDigest, Digest};

    use crate::manifest::tests::sample;
    use crate::manifest::{Chunk, Chunks, EntryKind, Extent, ImmutableEntry, Manifest};

    const MIB: u64 = 1 << 20;

    /// Two chunks beside the disk of the sample, which has six, the last of them short.
    fn with_content() -> Manifest {
        let mut manifest = sample();
        let stored = Chunk::Stored(ChunkDigest(Digest::of(b"content")));
        manifest.content = Chunks::from(vec![stored, Chunk::Zero]);
        manifest
    }

    fn with_file(image_offset: u64, length_bytes: u64) -> Manifest {
        let mut manifest = with_content();
        let extents = vec![Extent { file_offset: 0, image_offset, length_bytes }];
        let kind = EntryKind::File { size_bytes: length_bytes, digest: Digest::of(b""), extents };
        let entries = &mut manifest.root.as_mut().unwrap().entries;
        let entry = ImmutableEntry { path: "/usr/z".to_owned(), kind, ..entries[0].clone() };
        entries.push(entry);
        manifest
    }

    #[test]
    fn content_is_counted_on_from_the_disk_and_never_taken_for_it() {
        let manifest = with_content();
        assert_eq!(manifest.content_start(), 6 * MIB);
        assert_eq!((manifest.chunk(6), manifest.chunk_length(6)), (None, 0));
        assert_eq!(manifest.chunk_or_content(6), Some(manifest.content.as_slice()[0]));
        assert_eq!(manifest.chunk_or_content(8), None);
        let lengths: Vec<usize> = (4..9).map(|index| manifest.chunk_or_content_length(index)).collect();
        assert_eq!(lengths, [1 << 20, 1024, 1 << 20, 1 << 20, 0]);
        assert_eq!(
            manifest.chunks_and_content().map(|(index, _)| index).collect::<Vec<_>>(),
            (0..8).collect::<Vec<_>>()
        );
        let pieces = manifest.pieces(7 * MIB - 10, 30);
        let pieces: Vec<_> = pieces.iter().map(|piece| (piece.index, piece.from, piece.until)).collect();
        assert_eq!(pieces, [(6, (1 << 20) - 10, 1 << 20), (7, 0, 20)]);
        for (offset, length) in [(6 * MIB - 1, 2), (8 * MIB - 1, 2), (5 * MIB, 2000), (u64::MAX, 1)] {
            assert_eq!(manifest.pieces(offset, length), [], "{length} bytes at {offset}");
        }
    }

    #[test]
    fn extents_lie_in_the_partition_or_in_the_content() {
        for (offset, length) in [(6 * MIB, 2 * MIB), (7 * MIB, 1), (3 * MIB, 100)] {
            let manifest = with_file(offset, length);
            assert_eq!(Manifest::from_bytes(&manifest.to_bytes().unwrap()).unwrap(), manifest);
        }
        for (offset, length) in [(6 * MIB - 1, 2), (7 * MIB, MIB + 1), (5 * MIB, 10), (u64::MAX - 1, 2)] {
            let refused = with_file(offset, length).to_bytes().unwrap_err().to_string();
            assert!(refused.contains("extents"), "{length} bytes at {offset}: {refused}");
        }
        let mut without_root = with_content();
        without_root.root = None;
        assert!(without_root.to_bytes().unwrap_err().to_string().contains("content"));
    }

    #[test]
    fn a_manifest_without_content_says_nothing_of_it() {
        let text = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
        assert!(!text.contains("content") && !text.contains("subvolume"));
        let mut named = sample();
        named.root.as_mut().unwrap().subvolume = Some("root".to_owned());
        assert!(named.to_bytes().unwrap_err().to_string().contains("subvolume"), "ext4 has none");
        named.root.as_mut().unwrap().file_system = "btrfs".to_owned();
        assert!(named.to_bytes().is_ok());
        for bad in ["", "a,ro", "a\0", "a\\054b"] {
            named.root.as_mut().unwrap().subvolume = Some(bad.to_owned());
            assert!(named.to_bytes().is_err(), "{bad:?}");
        }
    }
}
