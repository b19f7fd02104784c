//! What stands in immutable folders and is not of the image.
//!
//! Everything below a foreign folder is named too, so that whoever takes it away takes away exactly
//! what was seen: files first, and a folder only when it is empty.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use imaging::manifest::RootManifest;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

use super::compare::device_of;
use super::folders::Folder;
use crate::act::restore::{TEMPORARY_NAME, each_name_in};
use crate::act::rooted::{Root, means_absent};

/// After this many nobody counts further: a repair names at most a thousand.
const FOREIGN_MAX: usize = 10_000;

/// Foreign folders nested deeper than this are not looked into.
const DEPTH_MAX: usize = 64;

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    /// Absolute paths. A name that is not UTF-8 shows replacement characters and can't be taken away.
    pub(super) paths: Vec<String>,
    /// Folders that could not be listed, and why.
    pub(super) unlisted: Vec<String>,
    /// How often the device answered with an unrecoverable error.
    pub(super) device_errors: u64,
}

impl Foreign {
    /// Looks for names in a folder of the image that the image does not have there.
    pub(super) fn look_in(&mut self, manifest: &RootManifest, folder: &Folder<'_>, opened: &OwnedFd) {
        let mut names = Vec::new();
        let listed = each_name_in(opened, |name| {
            // What an interrupted repair of ours left makes its folder altered instead.
            if !folder.has(name) && name != TEMPORARY_NAME.as_bytes() {
                names.push(name.to_vec());
            }
        });
        if let Err(error) = listed {
            self.not_listed(folder.path, &error);
        }
        for name in names {
            let path = join(folder.path, &name);
            if manifest.covers(&path) {
                self.add(manifest, opened, &name, path, 0);
            }
        }
    }

    /// An immutable path that the image does not have at all must not be there either.
    pub(super) fn look_for_roots(&mut self, root: &Root, manifest: &RootManifest) {
        for path in manifest.immutable_paths.iter().filter(|path| manifest.entry(path).is_none()) {
            if !manifest.covers(path) {
                continue;
            }
            match root.open_parent(Path::new(path)) {
                Ok((above, name)) => match fstatat(&above, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                    Ok(_) => {
                        self.add(manifest, &above, name.as_encoded_bytes(), path.clone(), 0);
                    }
                    Err(nix::errno::Errno::ENOENT) => {}
                    Err(error) => self.not_listed(path, &error.into()),
                },
                Err(error) if means_absent(&error) => {}
                Err(error) => self.not_listed(path, &error),
            }
        }
    }

    /// Names one foreign thing, and what is below it. Says whether nothing below has to stay.
    fn add(
        &mut self,
        manifest: &RootManifest,
        above: &OwnedFd,
        name: &[u8],
        path: String,
        depth: usize,
    ) -> bool {
        if self.paths.len() >= FOREIGN_MAX {
            return false;
        }
        let goes = match self.below(manifest, above, name, &path, depth) {
            Ok(goes) => goes,
            Err(error) => {
                self.not_listed(&path, &error);
                true
            }
        };
        if goes {
            self.paths.push(path);
        }
        goes
    }

    /// Names what is below a foreign folder. A folder stays if something in it may be there.
    fn below(
        &mut self,
        manifest: &RootManifest,
        above: &OwnedFd,
        name: &[u8],
        path: &str,
        depth: usize,
    ) -> io::Result<bool> {
        let status: FileStat = fstatat(above, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let is_folder = status.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
        // What is mounted here is another file system's.
        if !is_folder || depth >= DEPTH_MAX || status.st_dev != device_of(above.as_fd())? {
            return Ok(true);
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let opened = openat(above, name, flags, Mode::empty())?;
        let mut names = Vec::new();
        each_name_in(&opened, |name| names.push(name.to_vec()))?;
        let mut goes = true;
        for name in names {
            let path = join(path, &name);
            goes &= manifest.covers(&path) && self.add(manifest, &opened, &name, path, depth + 1);
        }
        Ok(goes)
    }

    fn not_listed(&mut self, path: &str, error: &io::Error) {
        self.device_errors += u64::from(error.raw_os_error() == Some(nix::libc::EIO));
        self.unlisted.push(format!("could not list {path}: {error}"));
    }
}

/// A path for people and for the manifest's table; what is not UTF-8 is in no manifest.
fn join(folder: &str, name: &[u8]) -> String {
    format!("{}/{}", folder.trim_end_matches('/'), String::from_utf8_lossy(name))
}
