//! XFS as one of the file systems whose files are listed.

use super::inode::Inode;
use super::{Xfs, XfsError, damaged};
use crate::attributes::ExtendedAttribute;
use crate::file_system::{ByteRun, Facts, FileSystem, InodeKind, Name};
use crate::source::ReadAt;

impl<S: ReadAt> FileSystem for Xfs<S> {
    type Inode = Inode;
    type Error = XfsError;

    const KIND: &'static str = "xfs";

    fn root_inode(&self) -> u64 {
        self.superblock.root_inode
    }

    fn inode(&self, number: u64) -> Result<Inode, XfsError> {
        self.inode(number)
    }

    fn facts(inode: &Inode) -> Facts {
        inode.facts
    }

    fn names(&self, inode: &Inode) -> Result<Vec<Name>, XfsError> {
        self.directory(inode)
    }

    fn target(&self, inode: &Inode) -> Result<Vec<u8>, XfsError> {
        self.symlink_target(inode)
    }

    fn runs(&self, inode: &Inode) -> Result<Option<Vec<ByteRun>>, XfsError> {
        self.byte_runs(inode).map(Some)
    }

    fn attributes_of(&self, inode: &Inode) -> Result<Vec<ExtendedAttribute>, XfsError> {
        self.attributes(inode)
    }
}

impl<S: ReadAt> Xfs<S> {
    /// Where the content of a file lies, ordered; what is not covered is zeros.
    ///
    /// # Errors
    /// [`XfsError`] if the content lies on another device, or its list of extents is damaged.
    pub fn byte_runs(&self, inode: &Inode) -> Result<Vec<ByteRun>, XfsError> {
        let Facts { number, kind, size_bytes, .. } = inode.facts;
        if kind != InodeKind::File {
            return Err(damaged(format!("inode {number} is not a file")));
        }
        if inode.is_realtime {
            let what = format!("files on a realtime device (inode {number})");
            return Err(XfsError::Unsupported { what, hint: "exclude them or make the image without one" });
        }
        let block_bytes = self.superblock.block_bytes;
        let mut runs = Vec::new();
        for run in self.block_runs(number, &inode.data)? {
            // Blocks may be allocated behind the end of a file.
            let file_offset = run.logical.saturating_mul(block_bytes);
            let rest = size_bytes.saturating_sub(file_offset);
            let length_bytes = run.count.saturating_mul(block_bytes).min(rest);
            if length_bytes > 0 {
                runs.push(ByteRun { file_offset, offset: run.physical * block_bytes, length_bytes });
            }
        }
        Ok(runs)
    }
}
