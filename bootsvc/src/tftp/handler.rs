//! What async-tftp asks for each request.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_tftp::packet::Error;
use async_tftp::server::Handler;
use bytes::Bytes;
use futures_util::io::Sink;
use netboot::loader::{ServedFile, served};

use super::loaders::Loaders;
use super::reader::TransferReader;
use super::transfers::Transfers;
use crate::counters::Counters;

/// Serves loaders and the generated script; takes nothing.
#[derive(Debug)]
pub struct LoaderHandler {
    loaders: Arc<Loaders>,
    autoexec: Bytes,
    transfers: Arc<Transfers>,
    counters: Arc<Counters>,
}

impl LoaderHandler {
    /// Serves these.
    pub fn new(
        loaders: Arc<Loaders>,
        autoexec: String,
        transfers: Arc<Transfers>,
        counters: Arc<Counters>,
    ) -> Self {
        Self { loaders, autoexec: Bytes::from(autoexec), transfers, counters }
    }

    /// The name is looked up in a fixed list; no byte of it reaches the file system.
    fn content(&self, path: &Path) -> Option<(ServedFile, Bytes)> {
        let file = served(path.to_str()?)?;
        let content = if file.generated() { Some(self.autoexec.clone()) } else { self.loaders.get(file) };
        content.map(|content| (file, content))
    }

    fn open(&self, client: SocketAddr, path: &Path) -> Result<(TransferReader, u64), Error> {
        let Some((file, content)) = self.content(path) else {
            self.counters.add("tftp.refused-name");
            // Quoted and cut: the name is the client's.
            let name: String = path.to_string_lossy().chars().take(80).collect();
            tracing::info!(%client, ?name, "TFTP: not served");
            return Err(Error::FileNotFound);
        };
        let Some(place) = self.transfers.enter(client.ip(), file) else {
            self.counters.add("tftp.refused-busy");
            tracing::warn!(%client, file = file.name(), "TFTP: too many transfers");
            return Err(Error::Msg("too many transfers, try again".to_owned()));
        };
        tracing::debug!(%client, file = file.name(), "TFTP transfer");
        let size = u64::try_from(content.len()).map_err(|_| Error::UnknownError)?;
        Ok((TransferReader::begin(content, place, self.counters.clone()), size))
    }
}

impl Handler for LoaderHandler {
    type Reader = TransferReader;
    type Writer = Sink;

    async fn read_req_open(
        &mut self,
        client: &SocketAddr,
        path: &Path,
    ) -> Result<(Self::Reader, Option<u64>), Error> {
        self.open(*client, path).map(|(reader, size)| (reader, Some(size)))
    }

    async fn write_req_open(
        &mut self,
        client: &SocketAddr,
        _path: &Path,
        _size: Option<u64>,
    ) -> Result<Self::Writer, Error> {
        self.counters.add("tftp.refused-write");
        tracing::info!(%client, "TFTP: refuse to take a file");
        Err(Error::PermissionDenied)
    }
}
