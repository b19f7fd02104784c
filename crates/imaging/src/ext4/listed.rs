//! ext4 as one of the file systems whose files are listed.

use super::{Ext4, Ext4Error, Inode, ROOT_INODE, damaged};
use crate::attributes::ExtendedAttribute;
use crate::file_system::{ByteRun, Facts, FileSystem, Name};
use crate::source::ReadAt;

impl<S: ReadAt> FileSystem for Ext4<S> {
    type Inode = Inode;
    type Error = Ext4Error;

    const KIND: &'static str = "ext4";

    fn root_inode(&self) -> u64 {
        ROOT_INODE.into()
    }

    fn inode(&self, number: u64) -> Result<Inode, Ext4Error> {
        let number = u32::try_from(number).map_err(|_| damaged(format!("there is no inode {number}")))?;
        self.inode(number)
    }

    fn facts(inode: &Inode) -> Facts {
        let Inode { number, kind, mode, uid, gid, size_bytes, .. } = *inode;
        Facts { number: number.into(), kind, mode, uid, gid, size_bytes }
    }

    fn names(&self, inode: &Inode) -> Result<Vec<Name>, Ext4Error> {
        let names = self.directory(inode)?.into_iter();
        Ok(names.map(|entry| Name { name: entry.name, inode: entry.inode.into() }).collect())
    }

    fn target(&self, inode: &Inode) -> Result<Vec<u8>, Ext4Error> {
        self.symlink_target(inode)
    }

    fn runs(&self, inode: &Inode) -> Result<Option<Vec<ByteRun>>, Ext4Error> {
        let runs = self.byte_runs(inode)?.into_iter();
        let run = |(file_offset, offset, length_bytes)| ByteRun { file_offset, offset, length_bytes };
        Ok(Some(runs.map(run).collect()))
    }

    fn attributes_of(&self, inode: &Inode) -> Result<Vec<ExtendedAttribute>, Ext4Error> {
        self.attributes(inode)
    }
}
