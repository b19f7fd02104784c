//! A file system that nobody trusts, looked at and changed from its root without ever leaving it.
//!
//! Every lookup starts at the root's descriptor and uses `openat2(2)` with `RESOLVE_BENEATH` and
//! `RESOLVE_NO_SYMLINKS`, so that neither `..` nor a symbolic link on the disk leads elsewhere. One
//! lookup follows links, for reading only, and takes the root for the top of all of them.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, Mode, fstatat};

/// The root of such a file system.
pub struct Root {
    folder: OwnedFd,
}

/// An absolute path inside a root, split into the folder and the last name.
struct Split<'a> {
    folder: &'a Path,
    name: &'a OsStr,
}

fn invalid(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a plain absolute path", path.display()))
}

/// The path without its leading `/`; only plain names are allowed in it.
fn relative(path: &Path) -> io::Result<&Path> {
    let relative = path.strip_prefix("/").map_err(|_| invalid(path))?;
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || relative.as_os_str().as_bytes().contains(&0) {
        return Err(invalid(path));
    }
    Ok(relative)
}

fn split(path: &Path) -> io::Result<Split<'_>> {
    let relative = relative(path)?;
    let name = relative.file_name().ok_or_else(|| invalid(path))?;
    Ok(Split { folder: relative.parent().unwrap_or(Path::new("")), name })
}

impl Root {
    /// Takes this folder as the root.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let folder = nix::fcntl::open(path, flags, Mode::empty())?;
        Ok(Self { folder })
    }

    fn open_relative(&self, relative: &Path, flags: OFlag) -> io::Result<OwnedFd> {
        let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
        Ok(openat2(&self.folder, relative, how)?)
    }

    /// Opens a regular file for reading as the installed system itself would: symbolic links are
    /// followed, with this root as the top (`RESOLVE_IN_ROOT`), so that none leads outside of it. For
    /// reading what the installed system names by a link; nothing that is opened so is ever changed.
    ///
    /// # Errors
    /// When it is missing, is not a regular file, or lies on another file system.
    pub fn open_file_through_links(&self, path: &Path) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(
            ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV,
        );
        let file = File::from(openat2(&self.folder, relative(path)?, how)?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(invalid(path)) }
    }

    /// Opens a folder for listing and for changes by name.
    ///
    /// # Errors
    /// When it or a folder above it is missing, is not a folder, or is a symbolic link.
    pub fn open_folder(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open_relative(relative(path)?, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
    }

    /// Opens the folder that holds this path, and gives the path's last name.
    ///
    /// # Errors
    /// As [`Root::open_folder`].
    pub fn open_parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let split = split(path)?;
        Ok((self.open_relative(split.folder, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?, split.name))
    }

    /// Opens a regular file for reading. Whoever reads checks with `fstat` that it is one; opening
    /// never blocks on a pipe.
    ///
    /// # Errors
    /// When it or a folder above it is missing or is a symbolic link.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        // A look should leave no trace; the kernel allows that only to the owner and to root.
        match self.open_relative(relative(path)?, flags | OFlag::O_NOATIME) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EPERM) => {
                self.open_relative(relative(path)?, flags).map(File::from)
            }
            other => other.map(File::from),
        }
    }

    /// What stands at this path; a symbolic link is not followed.
    ///
    /// # Errors
    /// `NotFound` when nothing stands there, `NotADirectory` or `FilesystemLoop` when a folder above
    /// it is something else; anything else when it could not be looked at.
    pub fn status(&self, path: &Path) -> io::Result<FileStat> {
        if path == Path::new("/") {
            return Ok(nix::sys::stat::fstat(self.folder.as_fd())?);
        }
        let (folder, name) = self.open_parent(path)?;
        Ok(fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }
}

/// Whether this error says that nothing stands at the path: neither it nor a folder on the way is
/// there as a folder. Everything else is "could not look".
#[must_use]
pub fn means_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::ENOTDIR | nix::libc::ELOOP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_outside_the_root_can_be_reached() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "outside").unwrap();
        let inside = tempfile::tempdir().unwrap();
        symlink(outside.path(), inside.path().join("link")).unwrap();
        symlink("/", inside.path().join("absolute")).unwrap();
        std::fs::create_dir(inside.path().join("folder")).unwrap();
        std::fs::write(inside.path().join("folder/file"), "inside").unwrap();
        let root = Root::open(inside.path()).unwrap();
        assert!(root.open_file(Path::new("/folder/file")).is_ok());
        for path in ["/link/secret", "/absolute/etc/passwd", "/folder/../../x", "relative", "/", "/link"] {
            assert!(root.open_file(Path::new(path)).is_err() || path == "/", "{path}");
            assert!(root.open_parent(Path::new(path)).is_err() || path == "/link", "{path}");
        }
        assert!(means_absent(&root.status(Path::new("/link/secret")).unwrap_err()));
        assert!(means_absent(&root.status(Path::new("/nothing")).unwrap_err()));
        assert!(means_absent(&root.status(Path::new("/folder/file/deeper")).unwrap_err()));
    }

    #[test]
    fn links_are_followed_with_the_root_as_the_top() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "outside").unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::create_dir(inside.path().join("boot")).unwrap();
        std::fs::write(inside.path().join("boot/kernel-1"), "kernel").unwrap();
        symlink("boot/kernel-1", inside.path().join("relative")).unwrap();
        symlink("/boot/kernel-1", inside.path().join("absolute")).unwrap();
        symlink("../../../boot/kernel-1", inside.path().join("upwards")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("outside")).unwrap();
        symlink("loop", inside.path().join("loop")).unwrap();
        let root = Root::open(inside.path()).unwrap();
        for path in ["/boot/kernel-1", "/relative", "/absolute", "/upwards"] {
            let text = std::io::read_to_string(root.open_file_through_links(Path::new(path)).unwrap());
            assert_eq!(text.unwrap(), "kernel", "{path}");
        }
        for path in ["/outside", "/loop", "/boot", "/missing", "/../boot/kernel-1", "boot/kernel-1"] {
            assert!(root.open_file_through_links(Path::new(path)).is_err(), "{path}");
        }
    }
}
