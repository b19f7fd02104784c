//! The node's data in the seed partition: fetched before anything is written, compared with what was
//! ordered, written, and read back. Without data the partition is made blank, so that nobody finds what
//! was there before.

mod alone;

use std::ops::Range;

use anyhow::{Context, ensure};
use contract::id::Digest;
use imaging::chunk::is_all_zeros;
use imaging::layout::ByteRange;
use imaging::seed::{VOLUME_BYTES, digest, volume};

pub use self::alone::{place, write_alone};
use super::service::Service;
use super::work::Work;

/// How much is read and written at once, in bytes; the volume is one such piece.
const PIECE_BYTES: usize = VOLUME_BYTES;
/// Without its first bytes nobody takes the partition for a volume. No sector is longer.
const START_BYTES: usize = 4096;

/// What has to stand in the seed partition.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed {
    /// The volume, from the partition's start; zeros without data.
    first: Vec<u8>,
    digest: Option<Digest>,
}

// What is in it may be secret.
impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seed").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Seed {
    /// Fetches what was ordered, if anything was.
    ///
    /// # Errors
    /// If it does not come or is not what was ordered. Nothing was written then.
    pub async fn fetch(ordered: Option<Digest>, service: &dyn Service) -> anyhow::Result<Self> {
        let Some(ordered) = ordered else {
            return Ok(Self { first: vec![0; PIECE_BYTES], digest: None });
        };
        let files = service.node_data().await.context("could not get the node's data")?;
        let first = volume(&files).context("could not make the volume of the node's data")?;
        let found = digest(&first);
        ensure!(
            found == ordered,
            "the order names the node's data {ordered}, and those that came are {found}; report again"
        );
        Ok(Self { first, digest: Some(ordered) })
    }

    /// Makes the partition so; gives the proof in words. What is right already is read and not written.
    /// Cut short anywhere, it leaves no volume or the whole one.
    ///
    /// # Errors
    /// If anything was not written or not read back as written.
    pub fn write(&self, work: &Work, place: ByteRange) -> anyhow::Result<String> {
        let differing = self.differing(work, place);
        if differing.is_empty() {
            return Ok(format!("{} and read, and not written", self.in_words("stood there")));
        }
        self.take_start_away(work, place)?;
        for at in differing {
            let wanted = self.piece(place, at);
            let skipped = if at == 0 { START_BYTES } else { 0 };
            let (offset, bytes) = (at * PIECE_BYTES as u64 + skipped as u64, wanted.get(skipped..));
            work.write(place.offset + offset, bytes.unwrap_or_default())?;
        }
        work.flush()?;
        work.write(place.offset, self.first.get(..START_BYTES).unwrap_or_default())?;
        work.flush()?;
        work.drop_caches()?;
        ensure!(
            self.differing(work, place).is_empty(),
            "the node's data were written to disk {} and read back with other bytes; replace the disk",
            work.disk
        );
        Ok(format!("{} and read back", self.in_words("were written")))
    }

    /// What is cut short from here on is no volume.
    fn take_start_away(&self, work: &Work, place: ByteRange) -> anyhow::Result<()> {
        work.write(place.offset, &[0; START_BYTES])?;
        work.flush()?;
        work.drop_caches()?;
        ensure!(
            work.read(place.offset, START_BYTES)?.iter().all(|byte| *byte == 0),
            "disk {} says that it wrote zeros over the start of the seed partition, but it did not; replace the disk",
            work.disk
        );
        Ok(())
    }

    /// The pieces of the partition that are not as they should be. One that cannot be read is none that is
    /// right, and writing it may mend it; after that it has to be read.
    fn differing(&self, work: &Work, place: ByteRange) -> Vec<u64> {
        let end = place.offset + place.length_bytes;
        let starts = (place.offset..end).step_by(PIECE_BYTES);
        let ranges: Vec<Range<u64>> =
            starts.map(|start| start..end.min(start + PIECE_BYTES as u64)).collect();
        let right = work.scan(&ranges, |at, found| match at {
            0 => self.first.get(..found.len()) == Some(found),
            _ => is_all_zeros(found),
        });
        (0..).zip(right).filter(|(_, right)| !matches!(right, Ok(true))).map(|(at, _)| at).collect()
    }

    /// What a piece of the partition should be: the volume first, then zeros.
    fn piece(&self, place: ByteRange, at: u64) -> Vec<u8> {
        let rest = place.length_bytes.saturating_sub(at * PIECE_BYTES as u64);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(PIECE_BYTES);
        match at {
            0 => self.first.get(..length).unwrap_or_default().to_vec(),
            _ => vec![0; length],
        }
    }

    fn in_words(&self, what: &str) -> String {
        match self.digest {
            Some(digest) => {
                let digest = digest.to_string();
                format!("the node's data ({}) {what}", digest.get(..12).unwrap_or_default())
            }
            None => format!("the zeros of a seed partition without data {what}"),
        }
    }
}

#[cfg(test)]
mod tests;
