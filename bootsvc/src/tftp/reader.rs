//! One transfer's bytes, and what can be told about it from outside async-tftp.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use futures_util::io::AsyncRead;

use super::transfers::Place;
use super::{RETRY_TIMEOUT, SEND_RETRIES_MAX};
use crate::counters::Counters;

/// Reads from memory and counts how the transfer ends.
#[derive(Debug)]
pub struct TransferReader {
    rest: Bytes,
    /// The server has been told that there is no more: the last block is on its way.
    at_end: bool,
    last_read: Option<Instant>,
    counters: Arc<Counters>,
    _place: Place,
}

impl TransferReader {
    /// Begins a transfer.
    pub fn begin(content: Bytes, place: Place, counters: Arc<Counters>) -> Self {
        counters.add("tftp.started");
        if place.ghost_before {
            counters.add("tftp.ghost-transfers");
        }
        Self { rest: content, at_end: false, last_read: None, counters, _place: place }
    }

    /// After the last read the server keeps the reader until the last block is acknowledged or all
    /// retries are used up; how long that took tells which.
    fn acknowledged(&self) -> bool {
        let given_up_after = RETRY_TIMEOUT * SEND_RETRIES_MAX;
        self.at_end && self.waited() < given_up_after
    }

    fn waited(&self) -> Duration {
        self.last_read.map(|last| last.elapsed()).unwrap_or_default()
    }
}

impl AsyncRead for TransferReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        // Reading goes on only when blocks were acknowledged.
        if self.waited() >= RETRY_TIMEOUT {
            self.counters.add("tftp.stalls");
        }
        self.last_read = Some(Instant::now());
        let length = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..length]);
        self.at_end = length < buffer.len();
        Poll::Ready(Ok(length))
    }
}

impl Drop for TransferReader {
    fn drop(&mut self) {
        self.counters.add(if self.acknowledged() { "tftp.finished" } else { "tftp.aborted" });
    }
}
