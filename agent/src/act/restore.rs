//! Putting one file, symbolic link or folder back on a file system that nobody trusts.
//!
//! New content is written beside the old under a name of ours, made durable, and renamed over it, so
//! that a power cut leaves the old or the new and never a half.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use imaging::attributes::ExtendedAttribute;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::libc;
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, symlinkat, unlinkat};
use rustix::fs::{RenameFlags, renameat_with};

use super::attributes::{Place, put_back};
use super::rooted::{Root, means_absent};

/// Folders nested deeper than this are not removed; no sane system has them.
const DEPTH_MAX: usize = 256;

/// The name under which new content is written until it is whole.
pub const TEMPORARY_NAME: &str = ".reprieve-restoring";

/// Who owns a file and who may do what with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// Permission bits with set-user-id, set-group-id and sticky, as in `st_mode & 0o7777`.
    pub mode: u32,
    /// User id.
    pub user_id: u32,
    /// Group id.
    pub group_id: u32,
    /// The image's extended attributes; none if nobody recorded them.
    pub attributes: Option<Vec<ExtendedAttribute>>,
}

impl Ownership {
    /// Gives all of it to an opened file or folder.
    fn give(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        // The owner first: changing it takes set-user-id and capabilities away.
        fchown(file, Some(Uid::from_raw(self.user_id)), Some(Gid::from_raw(self.group_id)))?;
        fchmod(file, Mode::from_bits_truncate(self.mode))?;
        match &self.attributes {
            Some(attributes) => put_back(Place::Opened(file), attributes),
            None => Ok(()),
        }
    }
}

mod ioctl {
    //! Requests of `linux/fs.h`.
    #![allow(missing_docs)] // the macros make functions that carry no documentation
    nix::ioctl_read!(get_attributes, b'f', 1, nix::libc::c_long);
    nix::ioctl_write_ptr!(set_attributes, b'f', 2, nix::libc::c_long);
}

/// `FS_IMMUTABLE_FL` and `FS_APPEND_FL` of `linux/fs.h`: with them set even root cannot change a file.
const LOCKING_ATTRIBUTES: libc::c_long = 0x10 | 0x20;

/// Takes the immutable and append-only attributes off what this descriptor is, if it has them.
fn unlock(file: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes: libc::c_long = 0;
    // SAFETY: the descriptor is open and the pointers are to a `long`, which the request names.
    // (The kernel reads and writes only an `int` of it.)
    unsafe {
        match ioctl::get_attributes(file.as_raw_fd(), &raw mut attributes) {
            // A file system without such attributes has none that lock.
            Err(Errno::ENOTTY | Errno::EOPNOTSUPP) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) if attributes & LOCKING_ATTRIBUTES == 0 => return Ok(()),
            Ok(_) => {}
        }
        attributes &= !LOCKING_ATTRIBUTES;
        ioctl::set_attributes(file.as_raw_fd(), &raw const attributes)?;
    }
    Ok(())
}

/// Unlocks the regular file or folder with this name, if there is one.
fn unlock_name(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    match kind_of(folder, name)? {
        Some(kind) if kind == SFlag::S_IFREG || kind == SFlag::S_IFDIR => {
            unlock(openat(folder, name, flags, Mode::empty())?.as_fd())
        }
        _ => Ok(()),
    }
}

fn kind_of(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<SFlag>> {
    match fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits()))),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A regular file that is being put back. Dropped before [`PendingFile::commit`], it leaves nothing.
pub struct PendingFile {
    folder: OwnedFd,
    name: OsString,
    file: File,
    committed: bool,
}

impl PendingFile {
    /// Begins to put a file back at this path; its folder must be there.
    ///
    /// # Errors
    /// When the folder cannot be reached without leaving the root, or cannot be written.
    pub fn create(root: &Root, path: &Path) -> io::Result<Self> {
        let (folder, name) = open_unlocked_parent(root, path)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&folder, TEMPORARY_NAME, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(Self { folder, name: name.to_owned(), file: File::from(file), committed: false })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When the file system does not take them.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Puts the file in place. Owner, mode and attributes are set, and all is durable, before it has its
    /// name.
    ///
    /// # Errors
    /// When any of that fails; the old file is then still there.
    pub fn commit(mut self, ownership: &Ownership) -> io::Result<()> {
        ownership.give(self.file.as_fd())?;
        self.file.sync_all()?;
        put_in_place(&self.folder, &self.name)?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if !self.committed {
            let _ = unlinkat(&self.folder, TEMPORARY_NAME, UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Puts a symbolic link back.
///
/// # Errors
/// When the folder cannot be reached without leaving the root, or cannot be written.
pub fn symbolic_link(root: &Root, path: &Path, target: &OsStr, ownership: &Ownership) -> io::Result<()> {
    let (folder, name) = open_unlocked_parent(root, path)?;
    symlinkat(target, &folder, TEMPORARY_NAME)?;
    let (user, group) = (Uid::from_raw(ownership.user_id), Gid::from_raw(ownership.group_id));
    fchownat(&folder, TEMPORARY_NAME, Some(user), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if let Some(attributes) = ownership.attributes.as_ref().filter(|attributes| !attributes.is_empty()) {
        put_back(Place::Named(folder.as_fd(), TEMPORARY_NAME), attributes)?;
    }
    put_in_place(&folder, name)
}

/// Puts a folder back, or gives it its owner, mode and attributes again. What is in it stays.
///
/// # Errors
/// When the folder above it cannot be reached without leaving the root, or cannot be written.
pub fn folder(root: &Root, path: &Path, ownership: &Ownership) -> io::Result<()> {
    let (parent, name) = open_unlocked_parent(root, path)?;
    let stands = kind_of(&parent, name)? == Some(SFlag::S_IFDIR);
    let given = if stands { name } else { OsStr::new(TEMPORARY_NAME) };
    if !stands {
        mkdirat(&parent, TEMPORARY_NAME, Mode::S_IRWXU)?;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = openat(&parent, given, flags, Mode::empty())?;
    unlock(made.as_fd())?;
    ownership.give(made.as_fd())?;
    nix::unistd::fsync(&made)?;
    if stands { Ok(()) } else { put_in_place(&parent, name) }
}

/// Takes away one thing that the image does not have: a file or link, or a folder that is empty by now.
/// That it is gone already is as good.
///
/// # Errors
/// When the folder above cannot be reached without leaving the root, the folder is not empty, or the
/// file system does not let it go.
pub fn remove_foreign(root: &Root, path: &Path) -> io::Result<()> {
    let (folder, name) = match root.open_parent(path) {
        Err(error) if means_absent(&error) => return Ok(()),
        opened => opened?,
    };
    let flag = match kind_of(&folder, name)? {
        None => return Ok(()),
        Some(SFlag::S_IFDIR) => UnlinkatFlags::RemoveDir,
        Some(_) => UnlinkatFlags::NoRemoveDir,
    };
    unlock(folder.as_fd())?;
    unlock_name(&folder, name)?;
    unlinkat(&folder, name, flag)?;
    Ok(nix::unistd::fsync(&folder)?)
}

/// Whether an interrupted repair left its unfinished work in this folder.
///
/// # Errors
/// When that cannot be looked at.
pub fn is_leftover_in(folder: &OwnedFd) -> io::Result<bool> {
    Ok(kind_of(folder, OsStr::new(TEMPORARY_NAME))?.is_some())
}

/// Takes away what an interrupted repair left in this folder, if it did.
///
/// # Errors
/// When the folder cannot be reached without leaving the root, or cannot be written.
pub fn remove_leftover(root: &Root, folder: &Path) -> io::Result<()> {
    let opened = root.open_folder(folder)?;
    if !is_leftover_in(&opened)? {
        return Ok(());
    }
    unlock(opened.as_fd())?;
    remove(&opened, OsStr::new(TEMPORARY_NAME), 0)?;
    Ok(nix::unistd::fsync(&opened)?)
}

fn open_unlocked_parent<'a>(root: &Root, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
    let (folder, name) = root.open_parent(path)?;
    unlock(folder.as_fd())?;
    // What an earlier, interrupted repair left.
    if is_leftover_in(&folder)? {
        remove(&folder, OsStr::new(TEMPORARY_NAME), 0)?;
    }
    Ok((folder, name))
}

/// Gives what is whole under the temporary name its own. A folder cannot be replaced by a file, nor a
/// file by a folder: the two change places, and the old one goes from under the temporary name.
fn put_in_place(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    unlock_name(folder, name)?;
    let new = kind_of(folder, OsStr::new(TEMPORARY_NAME))?;
    let old = kind_of(folder, name)?;
    let is_folder = |kind| kind == Some(SFlag::S_IFDIR);
    if old.is_some() && (is_folder(old) || is_folder(new)) {
        renameat_with(folder, TEMPORARY_NAME, folder, name, RenameFlags::EXCHANGE)?;
        nix::unistd::fsync(folder)?;
        remove(folder, OsStr::new(TEMPORARY_NAME), 0)?;
    } else {
        renameat(folder, TEMPORARY_NAME, folder, name)?;
    }
    nix::unistd::fsync(folder)?;
    Ok(())
}

/// Removes what has this name, and all below it, following no symbolic link.
fn remove(folder: &OwnedFd, name: &OsStr, depth: usize) -> io::Result<()> {
    unlock_name(folder, name)?;
    if kind_of(folder, name)? != Some(SFlag::S_IFDIR) {
        return Ok(unlinkat(folder, name, UnlinkatFlags::NoRemoveDir)?);
    }
    if depth >= DEPTH_MAX {
        return Err(io::Error::other(format!("folders are nested more than {DEPTH_MAX} deep")));
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let inner = openat(folder, name, flags, Mode::empty())?;
    for entry in names_in(&inner)? {
        remove(&inner, &entry, depth + 1)?;
    }
    Ok(unlinkat(folder, name, UnlinkatFlags::RemoveDir)?)
}

/// The names in a folder, without `.` and `..`.
///
/// # Errors
/// When the folder cannot be listed to its end.
pub fn names_in(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    each_name_in(folder, |name| names.push(OsStr::from_bytes(name).to_owned()))?;
    Ok(names)
}

/// Hands over every name in a folder, without `.` and `..`.
///
/// # Errors
/// When the folder cannot be listed to its end.
pub fn each_name_in(folder: &OwnedFd, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let again = openat(folder, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut listing = Dir::from_fd(again)?;
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            take(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn ownership(mode: u32) -> Ownership {
        let me = tempfile::tempdir().unwrap();
        let me = fs::metadata(me.path()).unwrap();
        Ownership { mode, user_id: me.uid(), group_id: me.gid(), attributes: Some(Vec::new()) }
    }

    fn restore(root: &Root, path: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let mut file = PendingFile::create(root, Path::new(path))?;
        file.append(content)?;
        file.commit(&ownership(mode))
    }

    #[test]
    fn a_file_replaces_whatever_stands_in_its_place() {
        let place = tempfile::tempdir().unwrap();
        let victim = tempfile::tempdir().unwrap();
        fs::write(victim.path().join("kept"), "kept").unwrap();
        fs::create_dir_all(place.path().join("usr/folder/deep")).unwrap();
        symlink(victim.path(), place.path().join("usr/folder/deep/link")).unwrap();
        symlink(victim.path().join("kept"), place.path().join("usr/link")).unwrap();
        fs::write(place.path().join("usr/file"), "altered").unwrap();
        // What an interrupted repair left must not be in the way, whatever it is.
        symlink(victim.path().join("kept"), place.path().join("usr").join(TEMPORARY_NAME)).unwrap();
        let root = Root::open(place.path()).unwrap();
        for name in ["usr/folder", "usr/link", "usr/file", "usr/missing"] {
            restore(&root, &format!("/{name}"), b"right", 0o4755).unwrap();
            let path = place.path().join(name);
            assert_eq!(fs::read(&path).unwrap(), b"right");
            assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode(), 0o104_755, "{name}");
        }
        assert_eq!(fs::read(victim.path().join("kept")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(place.path().join("usr")).unwrap().count(), 4);
    }

    #[test]
    fn a_folder_that_was_swapped_for_a_link_is_not_followed_but_replaced() {
        let place = tempfile::tempdir().unwrap();
        let victim = tempfile::tempdir().unwrap();
        symlink(victim.path(), place.path().join("usr")).unwrap();
        let root = Root::open(place.path()).unwrap();
        assert!(restore(&root, "/usr/file", b"x", 0o644).is_err());
        folder(&root, Path::new("/usr"), &ownership(0o755)).unwrap();
        restore(&root, "/usr/file", b"x", 0o644).unwrap();
        symbolic_link(&root, Path::new("/usr/link"), OsStr::new("/etc/passwd"), &ownership(0o777)).unwrap();
        symbolic_link(&root, Path::new("/usr/link"), OsStr::new("file"), &ownership(0o777)).unwrap();
        assert_eq!(fs::read_link(place.path().join("usr/link")).unwrap(), Path::new("file"));
        assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 0);
    }

    #[test]
    fn given_up_halfway_nothing_is_left() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("file"), "old").unwrap();
        let root = Root::open(place.path()).unwrap();
        let mut pending = PendingFile::create(&root, Path::new("/file")).unwrap();
        pending.append(b"half").unwrap();
        drop(pending);
        assert_eq!(fs::read(place.path().join("file")).unwrap(), b"old");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
