//! One immutable entry against what stands at its path.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use contract::id::Digest;
use imaging::manifest::{EntryKind, ImmutableEntry};
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::cache::FileCache;
use crate::act::rooted::{Root, means_absent};

/// How one entry compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is as the image has it.
    Same,
    /// It is there and differs.
    Altered,
    /// Nothing stands at its path.
    Missing,
    /// It could not be looked at. Not the same as altered, and not the same as fine.
    Unreadable {
        /// Operation and error.
        why: String,
        /// Whether the device answered with an unrecoverable read error.
        device_error: bool,
    },
}

impl Difference {
    fn unreadable(operation: &str, path: &str, error: &io::Error) -> Self {
        Self::Unreadable {
            why: format!("could not {operation} {path}: {error}"),
            device_error: error.raw_os_error() == Some(nix::libc::EIO),
        }
    }
}

/// Reads in pieces of this size, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Compares one entry; with a cache the content of a file that did not change is not read again.
#[must_use]
pub fn compare_entry(root: &Root, entry: &ImmutableEntry, cache: Option<&FileCache>) -> Difference {
    let path = Path::new(&entry.path);
    let status = match root.status(path) {
        Ok(status) => status,
        Err(error) if means_absent(&error) => return Difference::Missing,
        Err(error) => return Difference::unreadable("look at", &entry.path, &error),
    };
    let kind = match entry.kind {
        EntryKind::Directory => SFlag::S_IFDIR,
        EntryKind::Symlink { .. } => SFlag::S_IFLNK,
        EntryKind::File { .. } => SFlag::S_IFREG,
    };
    if status.st_mode & SFlag::S_IFMT.bits() != kind.bits() || !same_ownership(&status, entry) {
        return Difference::Altered;
    }
    match &entry.kind {
        EntryKind::Directory => Difference::Same,
        EntryKind::Symlink { target } => match root.link_target(path) {
            Ok(found) if found == target.as_bytes() => Difference::Same,
            Ok(_) => Difference::Altered,
            Err(error) => Difference::unreadable("read the link", &entry.path, &error),
        },
        EntryKind::File { size_bytes, digest, .. } => {
            if u64::try_from(status.st_size) != Ok(*size_bytes) {
                return Difference::Altered;
            }
            match content_digest(root, path, &status, cache) {
                Ok(found) if found == *digest => Difference::Same,
                Ok(_) => Difference::Altered,
                Err(error) => Difference::unreadable("read", &entry.path, &error),
            }
        }
    }
}

fn same_ownership(status: &FileStat, entry: &ImmutableEntry) -> bool {
    // The mode of a symbolic link means nothing and differs between file systems.
    let same_mode = matches!(entry.kind, EntryKind::Symlink { .. }) || status.st_mode & 0o7777 == entry.mode;
    same_mode && status.st_uid == entry.uid && status.st_gid == entry.gid
}

fn content_digest(
    root: &Root,
    path: &Path,
    status: &FileStat,
    cache: Option<&FileCache>,
) -> io::Result<Digest> {
    if let Some(known) = cache.and_then(|cache| cache.get(status)) {
        return Ok(known);
    }
    let mut file = root.open_file(path)?;
    let before = fstat(&file)?;
    if before.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Err(io::Error::other("it is no longer a regular file"));
    }
    let digest = digest_of_file(&mut file)?;
    if let Some(cache) = cache {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        cache.put(&before, &fstat(&file)?, now, digest);
    }
    Ok(digest)
}

/// The digest of all that can be read from a file.
///
/// # Errors
/// When it cannot be read to its end.
pub fn digest_of_file(file: &mut File) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Digest(*hasher.finalize().as_bytes())),
            Ok(count) => {
                hasher.update(&buffer[..count]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A name for people and for the manifest's table; what is not UTF-8 is in no manifest.
pub(super) fn join(folder: &str, name: &std::ffi::OsStr) -> String {
    format!("{}/{}", folder.trim_end_matches('/'), String::from_utf8_lossy(name.as_bytes()))
}
