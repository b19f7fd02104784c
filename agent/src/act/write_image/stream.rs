//! The stream of chunks onto a disk: fetch, decompress, compare with the digest, write, flush, read back.
//!
//! Several chunks are under way at a time, each in another stage, so that network, processors and disk
//! are busy at once; memory is bounded by their number. What was written is flushed and read back a
//! batch at a time while the next batch is written.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, bail};
use contract::id::ChunkDigest;
use imaging::chunk::{CHUNK_BYTES, decompress_verified_into, digest_of, is_all_zeros};
use imaging::delta::{Copy, Placement, WritePlan};
use imaging::layout::DiskLayout;
use imaging::manifest::Manifest;
use tokio::task::JoinSet;

use super::look::{chunk_range, digest_of_found};
use crate::act::work::Work;

/// How many chunks are under way at a time on all disks; each takes up to two chunks of memory.
const UNDER_WAY_MAX: usize = 16;
/// How many chunks are moved about on the disk at a time; each takes two chunks of memory.
const COPIES_AT_A_TIME: usize = 16;
/// So many of the first chunks, of the last and of all between are read once more at the end.
const LAST_LOOK_CHUNKS: usize = 16;
/// So much of a run of zeros is read before the rest of its first chunk, in bytes.
const GLANCE_BYTES: u64 = 64 << 10;
/// So many chunks are flushed and read back at a time: a flush costs the same for few and for many, and
/// nothing is left to do beside the last batch.
const PROOF_CHUNKS_MIN: usize = 32;
const PROOF_CHUNKS_MAX: usize = 256;
/// A whole writing is proven in about so many batches.
const PROOFS: usize = 64;
/// So many batches are proven at a time: one is read while the next is flushed.
const PROOFS_AT_A_TIME: usize = 2;

/// How the chunks that were made right became so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Their content was fetched.
    pub fetched: u64,
    /// Their content was elsewhere on the disk.
    pub copied: u64,
    /// They were made zeros.
    pub zeroed: u64,
    /// They were read and were zeros already.
    pub zero_already: u64,
}

/// What one task has done.
enum Done {
    /// These chunks were written and have to be proven.
    Fetched(Vec<u64>),
    /// The first were zeros already, the others were made zeros and have to be proven.
    Zeros { already: u64, made: Vec<u64> },
    /// A batch was read back.
    Proven,
}

/// Something that one task does.
enum Piece {
    Content(Placement),
    Zeros(Range<u64>),
}

impl Piece {
    fn first(&self) -> Option<u64> {
        match self {
            Self::Content(placement) => placement.to.first().copied(),
            Self::Zeros(run) => Some(run.start),
        }
    }

    fn chunks(&self) -> usize {
        match self {
            Self::Content(placement) => placement.to.len(),
            Self::Zeros(run) => usize::try_from(run.end - run.start).unwrap_or(usize::MAX),
        }
    }
}

/// One writing of an image. Cheap to clone.
#[derive(Clone)]
pub(super) struct Stream {
    work: Work,
    manifest: Arc<Manifest>,
    layout: Arc<DiskLayout>,
    /// Whether places that are to be zeros are looked at first.
    zeros_unseen: bool,
}

impl Stream {
    /// Prepares to write. `zeros_unseen` says that nobody has looked at what is to become zeros.
    pub fn new(work: &Work, manifest: Arc<Manifest>, layout: Arc<DiskLayout>, zeros_unseen: bool) -> Self {
        Self { work: work.clone(), manifest, layout, zeros_unseen }
    }

    /// Writes what the plan says and proves it. When something fails what is under way is waited for,
    /// so that nothing is written any more after this has returned.
    pub async fn write(&self, plan: WritePlan) -> anyhow::Result<Written> {
        let placed: u64 = plan.fetches.iter().map(|placement| self.bytes_of(&placement.to)).sum();
        let copied: u64 = plan.copies.iter().map(|copy| self.bytes_of(&copy.placement.to)).sum();
        let zeros: u64 = plan.zero_runs.iter().map(|run| run_bytes(&self.manifest, run)).sum();
        // Everything is written once and read back once.
        self.work.meter.begin("writing", 2 * (placed + copied + zeros));
        let mut written = Written::default();
        let mut unproven = Vec::new();
        let mut pieces: Vec<Piece> = plan.fetches.into_iter().map(Piece::Content).collect();
        for batch in plan.copies.chunks(self.work.share_of(COPIES_AT_A_TIME)) {
            let (copied, lost) = self.copy(batch).await?;
            written.copied += copied.len() as u64;
            unproven.extend(copied);
            pieces.extend(lost.into_iter().map(Piece::Content));
        }
        pieces.extend(plan.zero_runs.into_iter().map(Piece::Zeros));
        pieces.sort_by_key(Piece::first);
        let chunks = unproven.len() + pieces.iter().map(Piece::chunks).sum::<usize>();
        let batch_chunks = (chunks / PROOFS).clamp(PROOF_CHUNKS_MIN, PROOF_CHUNKS_MAX);
        self.run(pieces.into(), unproven, batch_chunks, &mut written).await?;
        Ok(written)
    }

    fn bytes_of(&self, indexes: &[u64]) -> u64 {
        indexes.iter().map(|index| self.manifest.chunk_length(*index) as u64).sum()
    }

    async fn run(
        &self,
        mut waiting: VecDeque<Piece>,
        mut unproven: Vec<u64>,
        batch_chunks: usize,
        written: &mut Written,
    ) -> anyhow::Result<()> {
        let mut running = JoinSet::new();
        let mut proving = JoinSet::new();
        let mut outcome = Ok(());
        loop {
            while outcome.is_ok() && running.len() < self.work.share_of(UNDER_WAY_MAX) {
                let Some(piece) = waiting.pop_front() else { break };
                let stream = self.clone();
                running.spawn(async move { stream.make(piece).await });
            }
            let is_last = running.is_empty();
            let batch_is_full = unproven.len() >= batch_chunks || (is_last && !unproven.is_empty());
            if outcome.is_ok() && proving.len() < PROOFS_AT_A_TIME && batch_is_full {
                let (stream, batch) = (self.clone(), std::mem::take(&mut unproven));
                proving.spawn(async move { stream.prove(batch).await });
            }
            let result = tokio::select! {
                Some(result) = running.join_next() => result,
                Some(result) = proving.join_next() => result,
                else => return outcome,
            };
            match result.context("a task that wrote to a disk ended early").and_then(|inner| inner) {
                Ok(Done::Fetched(indexes)) => {
                    written.fetched += indexes.len() as u64;
                    unproven.extend(indexes);
                }
                Ok(Done::Zeros { already, made }) => {
                    written.zero_already += already;
                    written.zeroed += made.len() as u64;
                    unproven.extend(made);
                }
                Ok(Done::Proven) => {}
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
    }

    async fn make(&self, piece: Piece) -> anyhow::Result<Done> {
        let stream = self.clone();
        match piece {
            Piece::Content(placement) => {
                let stored = self.fetch(placement.digest).await?;
                self.work
                    .blocking(move |work| {
                        let placed = stream.place(&stored, placement).map(Done::Fetched);
                        work.service.take_back(stored);
                        placed
                    })
                    .await
            }
            Piece::Zeros(run) => self.work.blocking(move |_| stream.make_zeros(run)).await,
        }
    }

    async fn fetch(&self, digest: ChunkDigest) -> anyhow::Result<Vec<u8>> {
        let stored = self.work.service.chunk(digest).await;
        let stored = stored.with_context(|| format!("could not fetch chunk {digest}"))?;
        self.work.meter.count_fetched(stored.len() as u64);
        Ok(stored)
    }

    /// Decompresses a chunk and writes it to all its places.
    fn place(&self, stored: &[u8], placement: Placement) -> anyhow::Result<Vec<u64>> {
        let Placement { digest, to } = placement;
        let length = to.first().map_or(0, |index| self.manifest.chunk_length(*index));
        self.work.buffers.with(|buffer| {
            let Some(bytes) = buffer.bytes_mut().get_mut(..length) else {
                bail!("chunk {digest} is longer than a chunk");
            };
            decompress_verified_into(stored, digest, bytes)
                .with_context(|| format!("chunk {digest} came damaged from the service"))?;
            self.write_everywhere(bytes, &to)
        })?;
        Ok(to)
    }

    fn write_everywhere(&self, bytes: &[u8], to: &[u64]) -> anyhow::Result<()> {
        for index in to {
            if self.manifest.chunk_length(*index) != bytes.len() {
                bail!("chunk {index} has another length than its place");
            }
            self.work.write(index * CHUNK_BYTES as u64, bytes)?;
            self.work.meter.advance(bytes.len() as u64);
        }
        Ok(())
    }

    /// Makes a run of chunks zeros.
    fn make_zeros(&self, run: Range<u64>) -> anyhow::Result<Done> {
        let already = if self.zeros_unseen { self.leading_zeros(&run) } else { 0 };
        let rest = run.start + already..run.end;
        let bytes = run_bytes(&self.manifest, &rest);
        self.work.meter.advance(2 * (run_bytes(&self.manifest, &run) - bytes));
        if bytes > 0 {
            self.work.write_zeroes(rest.start * CHUNK_BYTES as u64, bytes)?;
            self.work.meter.advance(bytes);
        }
        Ok(Done::Zeros { already, made: rest.collect() })
    }

    /// How many chunks at the start of a run are zeros on the disk already. It ends with the first that
    /// is not: on a disk with old content the rest is not worth a look, and neither is the rest of a
    /// chunk that begins with something else.
    fn leading_zeros(&self, run: &Range<u64>) -> u64 {
        let is_zero = |range: Range<u64>| {
            self.work.buffers.with(|buffer| {
                let Some(bytes) = buffer.bytes_mut().get_mut(..(range.end - range.start) as usize) else {
                    return false;
                };
                // What cannot be read is not known to be zeros.
                self.work.read_into(range.start, bytes).is_ok() && is_all_zeros(bytes)
            })
        };
        let first = chunk_range(&self.manifest, run.start);
        if !is_zero(first.start..first.end.min(first.start + GLANCE_BYTES)) {
            return 0;
        }
        run.clone().take_while(|index| is_zero(chunk_range(&self.manifest, *index))).count() as u64
    }

    /// Reads some of what was written once more, now that all of it is: a disk that is smaller than it
    /// says writes its later bytes over its first ones, which were right when they were read back. Whatever
    /// was written must have been flushed.
    pub async fn look_once_more(&self, written: &[u64]) -> anyhow::Result<()> {
        let (first, last) =
            (written.iter().take(LAST_LOOK_CHUNKS), written.iter().rev().take(LAST_LOOK_CHUNKS));
        let spread = written.iter().step_by(written.len().div_ceil(LAST_LOOK_CHUNKS).max(1));
        let mut again: Vec<u64> = first.chain(last).chain(spread).copied().collect();
        again.sort_unstable();
        again.dedup();
        let stream = self.clone();
        self.work.blocking(move |_| stream.read_back(&again)).await
    }

    /// Flushes what was written and reads it back from the medium.
    async fn prove(&self, indexes: Vec<u64>) -> anyhow::Result<Done> {
        let stream = self.clone();
        self.work
            .blocking(move |work| {
                work.flush()?;
                stream.read_back(&indexes)?;
                Ok(Done::Proven)
            })
            .await
    }

    /// Compares what is on the medium with the image.
    fn read_back(&self, indexes: &[u64]) -> anyhow::Result<()> {
        let Self { work, manifest, .. } = self;
        work.drop_caches()?;
        let ranges: Vec<Range<u64>> = indexes.iter().map(|index| chunk_range(manifest, *index)).collect();
        let found = work.scan(&ranges, |_, bytes| digest_of_found(bytes));
        for (index, found) in indexes.iter().zip(found) {
            let found = found.with_context(|| {
                format!("could not read back chunk {index} from disk {}; replace the disk", work.disk)
            })?;
            if self.layout.chunk_digest(manifest, *index) != Some(found) {
                bail!(
                    "chunk {index} was written to disk {} and reads back with other bytes; replace the disk",
                    work.disk
                );
            }
        }
        Ok(())
    }

    /// Moves content about on the disk. All of a batch is read before any of it is written. Gives the
    /// chunks that were written, and the placements whose source was not what it should be.
    async fn copy(&self, batch: &[Copy]) -> anyhow::Result<(Vec<u64>, Vec<Placement>)> {
        let (stream, batch) = (self.clone(), batch.to_vec());
        self.work
            .blocking(move |work| {
                let ranges: Vec<Range<u64>> =
                    batch.iter().map(|copy| chunk_range(&stream.manifest, copy.from)).collect();
                let read = work.scan(&ranges, |_, bytes| bytes.to_vec());
                let (mut copied, mut lost) = (Vec::new(), Vec::new());
                for (copy, bytes) in batch.into_iter().zip(read) {
                    match bytes {
                        Ok(bytes) if digest_of(&bytes) == copy.placement.digest => {
                            stream.write_everywhere(&bytes, &copy.placement.to)?;
                            copied.extend(copy.placement.to);
                        }
                        _ => lost.push(copy.placement),
                    }
                }
                Ok((copied, lost))
            })
            .await
    }
}

fn run_bytes(manifest: &Manifest, run: &Range<u64>) -> u64 {
    run.clone().map(|index| manifest.chunk_length(index) as u64).sum()
}
