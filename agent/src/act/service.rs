//! What carrying out an order asks of the boot service.

use std::future::Future;
use std::pin::Pin;

use contract::agent_api::{Progress, ResidentIdentity};
use contract::id::{ChunkDigest, ImageId, OrderId};
use contract::node_data::SeedFiles;
use imaging::manifest::Manifest;

/// The service's answer, when it comes.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = anyhow::Result<T>> + Send + 'a>>;

/// The boot service as the acting code sees it. Implementations bound every call with a deadline and
/// a number of tries; an error here means that they are used up.
pub trait Service: Send + Sync {
    /// Records durably that a step is about to do what cannot be undone. Only `Ok` permits the
    /// first write.
    fn begin(&self, order: OrderId, step: u32) -> Answer<'_, ()>;

    /// Says how far the work is. Best effort: the work does not depend on it.
    fn progress(&self, progress: Progress) -> Answer<'_, ()>;

    /// A fresh credential for the resident agent of the system that is being installed.
    fn credential(&self) -> Answer<'_, ResidentIdentity>;

    /// The files of the node's data that the order names, not compared with it. Whoever asks compares.
    fn node_data(&self) -> Answer<'_, SeedFiles> {
        Box::pin(async { anyhow::bail!("there are no data for this node") })
    }

    /// The manifest of an image, its signature checked with the image key and its bytes with the id.
    fn manifest(&self, image: ImageId) -> Answer<'_, Manifest>;

    /// A chunk as it is stored: compressed and not verified. Whoever asks verifies.
    fn chunk(&self, digest: ChunkDigest) -> Answer<'_, Vec<u8>>;

    /// Gives the memory of a chunk back, to be used for another. The default lets go of it.
    fn take_back(&self, _stored: Vec<u8>) {}
}
