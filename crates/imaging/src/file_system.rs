//! What the readers of the different file systems have in common.

use crate::attributes::ExtendedAttribute;
use crate::btrfs::BtrfsError;
use crate::ext4::Ext4Error;
use crate::xfs::XfsError;

/// What kind of thing an inode is (`i_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InodeKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A device, pipe or socket.
    Special,
}

impl InodeKind {
    /// The kind that a mode says; none for one that does not exist.
    #[must_use]
    pub fn of_mode(mode: u32) -> Option<Self> {
        match mode & 0xf000 {
            0x4000 => Some(Self::Directory),
            0x8000 => Some(Self::File),
            0xa000 => Some(Self::Symlink),
            0x1000 | 0x2000 | 0x6000 | 0xc000 => Some(Self::Special),
            _ => None,
        }
    }
}

/// What every inode says, whatever the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Its number.
    pub number: u64,
    /// What it is.
    pub kind: InodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size of its content in bytes.
    pub size_bytes: u64,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name, as bytes; no `/`, no NUL, neither empty nor `.` nor `..`.
    pub name: Vec<u8>,
    /// The inode that it names.
    pub inode: u64,
}

/// Where a piece of a file's content lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRun {
    /// Where it starts in the file, in bytes.
    pub file_offset: u64,
    /// Where it lies, in bytes from the start of the file system.
    pub offset: u64,
    /// Its length in bytes.
    pub length_bytes: u64,
}

/// Why a file system could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileSystemError {
    /// ext4.
    #[error(transparent)]
    Ext4(#[from] Ext4Error),
    /// XFS.
    #[error(transparent)]
    Xfs(#[from] XfsError),
    /// btrfs.
    #[error(transparent)]
    Btrfs(#[from] BtrfsError),
}

impl FileSystemError {
    /// Whether this says only that its files cannot be listed here, and nothing against the image: it
    /// is another file system, has something that is not known, or still has to be put in order.
    #[must_use]
    pub fn is_about_listing(&self) -> bool {
        matches!(
            self,
            Self::Ext4(Ext4Error::NotExt4)
                | Self::Xfs(XfsError::NotXfs | XfsError::Unsupported { .. } | XfsError::NeedsRecovery)
                | Self::Btrfs(
                    BtrfsError::NotBtrfs | BtrfsError::Unsupported { .. } | BtrfsError::NeedsRecovery
                )
        )
    }
}

/// A file system whose files can be listed. What it says has been checked against the size of the
/// medium; nothing else about it is trusted.
pub(crate) trait FileSystem {
    /// An inode with what its reader needs to know of it.
    type Inode;
    /// Why something could not be read.
    type Error: Into<FileSystemError>;

    /// Its name, as `mount -t` takes it.
    const KIND: &'static str;

    /// The inode of the root directory.
    fn root_inode(&self) -> u64;

    /// The inode with this number.
    fn inode(&self, number: u64) -> Result<Self::Inode, Self::Error>;

    /// What this inode says.
    fn facts(inode: &Self::Inode) -> Facts;

    /// The names in a directory, without `.` and `..`.
    fn names(&self, inode: &Self::Inode) -> Result<Vec<Name>, Self::Error>;

    /// The target of a symbolic link, as bytes.
    fn target(&self, inode: &Self::Inode) -> Result<Vec<u8>, Self::Error>;

    /// The subvolume that is the root, if it is not the default one.
    fn subvolume(&self) -> Option<String> {
        None
    }

    /// Where the content of a file lies, ordered by its place in the file; what is not covered is
    /// zeros. None if it does not lie on the medium as it is read.
    fn runs(&self, inode: &Self::Inode) -> Result<Option<Vec<ByteRun>>, Self::Error>;

    /// Hands over the content of a file that does not lie on the medium as it is read, from its first
    /// byte to its last. Elsewhere there is nothing to hand over.
    fn content(
        &self,
        _inode: &Self::Inode,
        _take: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The extended attributes that belong to the image, ordered by name, as `getxattr(2)` gives them.
    fn attributes_of(&self, inode: &Self::Inode) -> Result<Vec<ExtendedAttribute>, Self::Error>;
}
