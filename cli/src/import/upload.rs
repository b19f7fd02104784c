//! Sending an image to the service: only the chunks that it does not have, several at a time.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};

use anyhow::Context as _;
use contract::id::ChunkDigest;
use contract::operator_api::{ChunkList, ErrorKind, ImageView, ImportReply, ImportRequest};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use imaging::chunk::{compress, digest_of};
use imaging::manifest::{Chunk, Manifest};
use imaging::signed::pack;
use indicatif::ProgressBar;
use uuid::Uuid;

use super::content::WithContent;
use super::source::Source;
use crate::client::{Client, Refused};

/// How many chunks are asked after at once; the most that a [`ChunkList`] may hold.
const ASK_CHUNKS_MAX: usize = 10_000;

/// How many chunks are under way at once.
const UPLOADS_MAX: usize = 8;

thread_local! {
    // New memory for each chunk costs more than reading it.
    static CHUNK: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An import under way at the service.
pub struct Upload<'a> {
    client: &'a Client,
    import: Uuid,
    /// It goes on with one that was broken off.
    pub resumed: bool,
}

impl<'a> Upload<'a> {
    /// Begins an import, or goes on with one of the same name.
    ///
    /// # Errors
    /// What the service says.
    pub async fn begin(client: &'a Client, name: &str) -> anyhow::Result<Self> {
        let request = ImportRequest { name: name.to_owned() };
        let reply: ImportReply = client.post("/v1/imports", &request).await?;
        Ok(Self { client, import: reply.import, resumed: reply.resumed })
    }

    /// Sends what the service lacks; gives the number of chunks sent.
    ///
    /// # Errors
    /// What the service says, or if the image changed while it was read.
    pub async fn send(
        &self,
        source: &WithContent<Source>,
        manifest: &Manifest,
        bar: &ProgressBar,
    ) -> anyhow::Result<u64> {
        let missing = self.missing(manifest).await?;
        bar.set_length(missing.len() as u64);
        let sent = missing.len() as u64;
        let sends = missing.into_iter().map(|(digest, index)| self.send_chunk(source, digest, index, bar));
        stream::iter(sends).buffer_unordered(UPLOADS_MAX).try_collect::<Vec<()>>().await?;
        Ok(sent)
    }

    /// Which chunks the service lacks, and where each first stands in the image.
    async fn missing(&self, manifest: &Manifest) -> anyhow::Result<Vec<(ChunkDigest, u64)>> {
        let mut places = BTreeMap::new();
        for (index, chunk) in manifest.chunks_and_content() {
            if let Chunk::Stored(digest) = chunk {
                places.entry(digest).or_insert(index);
            }
        }
        let digests: Vec<ChunkDigest> = places.keys().copied().collect();
        let mut missing = HashSet::new();
        for asked in digests.chunks(ASK_CHUNKS_MAX) {
            let list = ChunkList { chunks: asked.to_vec() };
            let answer: ChunkList = self.client.post(&self.path("/missing"), &list).await?;
            missing.extend(answer.chunks);
        }
        let unknown = missing.iter().any(|digest| !places.contains_key(digest));
        anyhow::ensure!(!unknown, "the service asks for chunks that the image does not have");
        let mut missing: Vec<(ChunkDigest, u64)> =
            places.into_iter().filter(|(digest, _)| missing.contains(digest)).collect();
        // In the order of the image, so that a disk is read once through.
        missing.sort_by_key(|(_, index)| *index);
        Ok(missing)
    }

    async fn send_chunk(
        &self,
        source: &WithContent<Source>,
        digest: ChunkDigest,
        index: u64,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let reading = source.clone();
        let pack = tokio::task::spawn_blocking(move || -> anyhow::Result<Vec<u8>> {
            CHUNK.with_borrow_mut(|bytes| {
                reading.read_chunk(index, bytes)?;
                Ok(compress(bytes)?)
            })
        });
        let stored = pack.await.context("could not compress a chunk")??;
        if let Err(error) = self.client.put_bytes(&self.path(&format!("/chunks/{digest}")), stored).await {
            return Err(why_refused(error, source, digest, index));
        }
        bar.inc(1);
        Ok(())
    }

    /// Ends the import: the service checks that it has everything, signs and stores the manifest.
    ///
    /// # Errors
    /// What the service says, or if what it stored is not this manifest.
    pub async fn commit(&self, manifest: &Manifest) -> anyhow::Result<ImageView> {
        let bytes = manifest.to_bytes()?;
        let packed = pack(&bytes).context("could not compress the manifest")?;
        let image: ImageView = self.client.post_bytes(&self.path("/commit"), packed).await?;
        let expected = manifest.id()?;
        anyhow::ensure!(
            image.id == expected,
            "the service stored the image as {} where it is {expected}; use the same version of command and service",
            image.id
        );
        Ok(image)
    }

    /// Gives the import up; the service frees what only it had stored.
    ///
    /// # Errors
    /// What the service says.
    pub async fn abandon(&self) -> anyhow::Result<()> {
        self.client.delete(&self.path("")).await
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/imports/{}{rest}", self.import)
    }
}

/// The service compares each chunk with its name, so nobody does so here before. One that it refuses is
/// looked at again: the image may have changed.
fn why_refused(
    error: anyhow::Error,
    source: &WithContent<Source>,
    digest: ChunkDigest,
    index: u64,
) -> anyhow::Error {
    let is_corrupt =
        error.downcast_ref::<Refused>().is_some_and(|refused| refused.body.kind == ErrorKind::Corrupt);
    let mut bytes = Vec::new();
    if is_corrupt && source.read_chunk(index, &mut bytes).is_ok() && digest_of(&bytes) != digest {
        return anyhow::anyhow!(
            "the image changed while it was imported; import it again when nothing writes to it"
        );
    }
    error
}
