//! One immutable entry against what stands at its path.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use contract::id::Digest;
use imaging::attributes::{digest_with, same};
use imaging::manifest::{EntryKind, ImmutableEntry, RootManifest};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::cache::FileCache;
use crate::act::attributes::{Place, compared_of};
use crate::act::restore::is_leftover_in;
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
    pub(super) fn unreadable(operation: &str, path: &str, error: &io::Error) -> Self {
        Self::Unreadable {
            why: format!("could not {operation} {path}: {error}"),
            device_error: error.raw_os_error() == Some(nix::libc::EIO),
        }
    }

    fn of(same: bool) -> Self {
        if same { Self::Same } else { Self::Altered }
    }
}

/// Reads in pieces of this size, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Compares one entry, reading all of it.
#[must_use]
pub fn compare_entry(root: &Root, manifest: &RootManifest, entry: &ImmutableEntry) -> Difference {
    let comparison = Comparison { manifest, root_device: None, cache: None };
    match root.open_parent(Path::new(&entry.path)) {
        Ok((folder, _)) => comparison.entry_in(&folder, entry),
        Err(error) if means_absent(&error) => Difference::Missing,
        Err(error) => Difference::unreadable("look at", &entry.path, &error),
    }
}

/// How entries are compared.
#[derive(Clone, Copy)]
pub(super) struct Comparison<'a> {
    pub(super) manifest: &'a RootManifest,
    /// The device of the root file system, where other file systems may be mounted into it.
    pub(super) root_device: Option<u64>,
    /// With it the content of a file that did not change is not read again.
    pub(super) cache: Option<&'a FileCache>,
}

impl Comparison<'_> {
    /// Compares one entry by its name in the opened folder that holds it.
    pub(super) fn entry_in(&self, folder: &OwnedFd, entry: &ImmutableEntry) -> Difference {
        let name = last_name(&entry.path);
        let status = match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => status,
            Err(Errno::ENOENT) => return Difference::Missing,
            Err(error) => return Difference::unreadable("look at", &entry.path, &error.into()),
        };
        if kind_of(&status) != expected_kind(entry) {
            return Difference::Altered;
        }
        if matches!(entry.kind, EntryKind::Directory) && self.is_empty_mount_point(&status, entry) {
            return Difference::Same;
        }
        if !same_ownership(&status, entry) {
            return Difference::Altered;
        }
        let compared = match &entry.kind {
            EntryKind::Directory => self.directory(folder, name, entry),
            EntryKind::Symlink { target } => self.link(folder, name, entry, target),
            EntryKind::File { size_bytes, digest, .. }
                if u64::try_from(status.st_size) == Ok(*size_bytes) =>
            {
                self.file(folder, name, entry, (&status, digest))
            }
            EntryKind::File { .. } => Ok(false),
        };
        match compared {
            Ok(same) => Difference::of(same),
            Err(error) => Difference::unreadable("read", &entry.path, &error),
        }
    }

    /// Whether another file system is mounted here and hides nothing of the image: the EFI system
    /// partition on `/boot/efi` is as it should be. Where the image has files below, they are looked
    /// for in what is mounted, and are missing or altered there.
    pub(super) fn is_empty_mount_point(&self, status: &FileStat, entry: &ImmutableEntry) -> bool {
        self.root_device.is_some_and(|root| root != status.st_dev) && !self.manifest.has_below(&entry.path)
    }

    fn directory(&self, folder: &OwnedFd, name: &str, entry: &ImmutableEntry) -> io::Result<bool> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = openat(folder, name, flags, Mode::empty())?;
        // What an interrupted repair left is ours to take away, and until then the folder is not as
        // it should be.
        Ok(!is_leftover_in(&opened)? && self.same_attributes(Place::Opened(opened.as_fd()), entry)?)
    }

    fn link(&self, folder: &OwnedFd, name: &str, entry: &ImmutableEntry, target: &str) -> io::Result<bool> {
        if readlinkat(folder, name)?.as_encoded_bytes() != target.as_bytes() {
            return Ok(false);
        }
        // Nothing that grants rights can be on a link.
        Ok(entry.attributes.is_empty() || self.same_attributes(Place::Named(folder.as_fd(), name), entry)?)
    }

    fn file(
        &self,
        folder: &OwnedFd,
        name: &str,
        entry: &ImmutableEntry,
        (status, digest): (&FileStat, &Digest),
    ) -> io::Result<bool> {
        let expected = self.remembered(digest, entry);
        // A memory of something else may be one of another image: then the file is read.
        if self.cache.is_some_and(|cache| cache.get(status) == Some(expected)) {
            return Ok(true);
        }
        let mut file = open_file(folder, name)?;
        let before = fstat(&file)?;
        if kind_of(&before) != SFlag::S_IFREG {
            return Err(io::Error::other("it is no longer a regular file"));
        }
        let same = self.same_attributes(Place::Opened(file.as_fd()), entry)?
            && digest_of_file(&mut file)? == *digest;
        if let Some(cache) = self.cache.filter(|_| same) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
            cache.put(&before, &fstat(&file)?, now, expected);
        }
        Ok(same)
    }

    /// What is remembered of a file that is as the image has it. Changing an attribute changes
    /// `ctime`, so one memory serves for content and attributes.
    fn remembered(&self, content: &Digest, entry: &ImmutableEntry) -> Digest {
        if self.manifest.attributes_recorded { digest_with(content, &entry.attributes) } else { *content }
    }

    fn same_attributes(&self, place: Place<'_>, entry: &ImmutableEntry) -> io::Result<bool> {
        if !self.manifest.attributes_recorded {
            return Ok(true);
        }
        Ok(same(&entry.attributes, compared_of(place, &entry.attributes)?))
    }
}

fn last_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn kind_of(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits())
}

fn expected_kind(entry: &ImmutableEntry) -> SFlag {
    match entry.kind {
        EntryKind::Directory => SFlag::S_IFDIR,
        EntryKind::Symlink { .. } => SFlag::S_IFLNK,
        EntryKind::File { .. } => SFlag::S_IFREG,
    }
}

fn same_ownership(status: &FileStat, entry: &ImmutableEntry) -> bool {
    // The mode of a symbolic link means nothing and differs between file systems.
    let same_mode = matches!(entry.kind, EntryKind::Symlink { .. }) || status.st_mode & 0o7777 == entry.mode;
    same_mode && status.st_uid == entry.uid && status.st_gid == entry.gid
}

fn open_file(folder: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    // A look should leave no trace; the kernel allows that only to the owner and to root.
    match openat(folder, name, flags | OFlag::O_NOATIME, Mode::empty()) {
        Err(Errno::EPERM) => Ok(File::from(openat(folder, name, flags, Mode::empty())?)),
        other => Ok(File::from(other?)),
    }
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

/// The device of an opened folder.
pub(super) fn device_of(folder: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(fstat(folder)?.st_dev)
}
