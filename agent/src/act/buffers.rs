//! Memory for direct I/O that is used again and again, several chunks of it in one piece.
//!
//! New memory costs a fault for each page, and a device is told of each page of what it reads or writes.
//! Pieces large enough for huge pages need neither; what the kernel does not do on a hint costs time and
//! nothing else.

use std::sync::{Mutex, PoisonError};

use imaging::chunk::CHUNK_BYTES;

use super::device::AlignedBuffer;

/// So many chunks of memory are made at a time.
const MADE_AT_A_TIME: usize = 8;

/// Buffers of one chunk each. As many are kept as were ever in use at a time.
#[derive(Default)]
pub struct Buffers {
    idle: Mutex<Vec<AlignedBuffer>>,
}

impl Buffers {
    /// Lends a buffer. What is in it is whatever was left there.
    pub fn with<T>(&self, use_it: impl FnOnce(&mut AlignedBuffer) -> T) -> T {
        let mut buffer = self.take();
        let result = use_it(&mut buffer);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        result
    }

    fn take(&self) -> AlignedBuffer {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.is_empty() {
            idle.extend(AlignedBuffer::several(MADE_AT_A_TIME, CHUNK_BYTES));
        }
        idle.pop().unwrap_or_else(|| AlignedBuffer::zeroed(CHUNK_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::device::is_aligned;

    #[test]
    fn buffers_are_whole_aligned_apart_and_used_again() {
        let buffers = Buffers::default();
        buffers.with(|outer| {
            assert!(outer.bytes().len() == CHUNK_BYTES && is_aligned(outer.bytes()));
            outer.bytes_mut().fill(1);
            for _ in 0..20 {
                buffers.with(|inner| {
                    assert!(inner.bytes().len() == CHUNK_BYTES && is_aligned(inner.bytes()));
                    inner.bytes_mut().fill(2);
                });
            }
            assert!(outer.bytes().iter().all(|byte| *byte == 1));
        });
        assert_eq!(buffers.idle.lock().unwrap().len(), MADE_AT_A_TIME);
    }
}
