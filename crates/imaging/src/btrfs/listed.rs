//! btrfs as one of the file systems whose files are listed.

use super::inode::Inode;
use super::{Btrfs, BtrfsError};
use crate::attributes::ExtendedAttribute;
use crate::file_system::{ByteRun, Facts, FileSystem, Name};
use crate::source::ReadAt;

impl<S: ReadAt> FileSystem for Btrfs<S> {
    type Inode = Inode;
    type Error = BtrfsError;

    const KIND: &'static str = "btrfs";

    fn subvolume(&self) -> Option<String> {
        self.subvolume_path.clone()
    }

    fn root_inode(&self) -> u64 {
        self.root_inode
    }

    fn inode(&self, number: u64) -> Result<Inode, BtrfsError> {
        self.inode(number)
    }

    fn facts(inode: &Inode) -> Facts {
        inode.facts
    }

    fn names(&self, inode: &Inode) -> Result<Vec<Name>, BtrfsError> {
        self.directory(inode)
    }

    fn target(&self, inode: &Inode) -> Result<Vec<u8>, BtrfsError> {
        self.symlink_target(inode)
    }

    fn runs(&self, inode: &Inode) -> Result<Option<Vec<ByteRun>>, BtrfsError> {
        self.byte_runs(inode)
    }

    fn content(
        &self,
        inode: &Inode,
        take: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), BtrfsError> {
        self.read_content(inode, take)
    }

    fn attributes_of(&self, inode: &Inode) -> Result<Vec<ExtendedAttribute>, BtrfsError> {
        self.attributes(inode)
    }
}
