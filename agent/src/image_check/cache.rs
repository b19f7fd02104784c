//! Digests of files that have not changed since they were last read.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use contract::id::Digest;
use nix::sys::stat::FileStat;
use serde::{Deserialize, Serialize};

/// What tells one state of one file from another. The kernel sets `ctime`; no ordinary program can
/// set it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Key {
    device: u64,
    inode: u64,
    size_bytes: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Key {
    fn of(status: &FileStat) -> Self {
        Self {
            device: status.st_dev,
            inode: status.st_ino,
            size_bytes: status.st_size,
            modified: (status.st_mtime, status.st_mtime_nsec),
            changed: (status.st_ctime, status.st_ctime_nsec),
        }
    }
}

/// A file that changed less than this ago might change again without getting a new time, in seconds.
const SETTLE_SECONDS: i64 = 2;

/// More files than any image has are not kept.
const FILES_MAX: usize = 1_000_000;

/// Digests by the state of the file they were computed from. It makes a repeated check in the running
/// system quick; the ramdisk never uses one.
#[derive(Debug)]
pub struct FileCache {
    known: HashMap<Key, Digest>,
    /// How long ago a file must have changed to be cached, in seconds.
    settle_seconds: i64,
    seen: Mutex<HashMap<Key, Digest>>,
}

impl Default for FileCache {
    fn default() -> Self {
        Self { known: HashMap::new(), settle_seconds: SETTLE_SECONDS, seen: Mutex::default() }
    }
}

impl FileCache {
    /// What an earlier run saved. A cache that is missing or cannot be understood is empty.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let entries: Vec<(Key, Digest)> = std::fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { known: entries.into_iter().take(FILES_MAX).collect(), ..Self::default() }
    }

    /// Saves what the last check saw, and nothing older.
    ///
    /// # Errors
    /// When the file cannot be written; the next check is then slow, not wrong.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let entries: Vec<(&Key, &Digest)> = self.known.iter().take(FILES_MAX).collect();
        let bytes = serde_json::to_vec(&entries).map_err(io::Error::other)?;
        let beside = path.with_extension("new");
        std::fs::write(&beside, bytes)?;
        std::fs::rename(&beside, path)
    }

    /// Makes what the last check saw what the next one knows.
    pub(super) fn turn_over(&mut self) {
        self.known = std::mem::take(self.seen.get_mut().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn get(&self, status: &FileStat) -> Option<Digest> {
        let key = Key::of(status);
        let digest = self.known.get(&key).copied()?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key, digest);
        Some(digest)
    }

    /// Keeps a digest if the file did not change while it was read, nor just before; `now` is the
    /// machine's time in seconds.
    pub(super) fn put(&self, before: &FileStat, after: &FileStat, now: i64, digest: Digest) {
        let key = Key::of(before);
        if key == Key::of(after) && after.st_ctime.saturating_add(self.settle_seconds) < now {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key, digest);
        }
    }

    #[cfg(test)]
    pub(super) fn accept_fresh_files(&mut self) {
        self.settle_seconds = -10;
    }

    #[cfg(test)]
    pub(super) fn files(&self) -> usize {
        self.known.len()
    }
}
