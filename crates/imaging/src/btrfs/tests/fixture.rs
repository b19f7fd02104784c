//! Real btrfs file systems, made by `mkfs.btrfs` and filled through the kernel's own driver. They need
//! root and a kernel with btrfs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::source::ReadAt;
use crate::xfs::tests::fixture::{Mounted, fill, must};

/// Size of the file systems, in bytes.
pub const FILE_SYSTEM_BYTES: u64 = 128 << 20;

/// Where the root of the system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the top.
    Top,
    /// In the subvolume `root`, which its own table names.
    Named,
    /// In a subvolume that is the default one.
    Default,
}

/// A file system with everything that the reader must know, mounted with these options meanwhile.
pub fn filled(folder: &Path, make: &[&str], options: &str, place: Place) -> PathBuf {
    let file = folder.join("btrfs");
    File::create(&file).unwrap().set_len(FILE_SYSTEM_BYTES).unwrap();
    must(Command::new("mkfs.btrfs").args(["-q", "-f", "-K"]).args(make).arg(&file));
    let mounted = Mounted::with(&file, "btrfs", options);
    let root = match place {
        Place::Top => mounted.0.clone(),
        Place::Named | Place::Default => {
            for name in ["root", "home"] {
                must(Command::new("btrfs").args(["subvolume", "create"]).arg(mounted.0.join(name)));
            }
            fs::create_dir_all(mounted.0.join("home/etc")).unwrap();
            fs::write(mounted.0.join("home/etc/fstab"), "UUID=1 / btrfs subvol=root 0 0\n").unwrap();
            mounted.0.join("root")
        }
    };
    fill(&root, &[("user.long", 3000), ("user.longest", 3500)]);
    fs::write(root.join("etc/fstab"), "UUID=1 / btrfs subvol=root,compress=zstd:1 0 0\n").unwrap();
    fs::write(root.join("usr/lib/text"), "the same again and again\n".repeat(40_000)).unwrap();
    fs::write(root.join("usr/lib/small-text"), "the same\n".repeat(100)).unwrap();
    if place == Place::Default {
        must(Command::new("btrfs").args(["subvolume", "set-default"]).arg(&root));
    }
    drop(mounted);
    file
}

/// A medium of which some bytes have been changed, and whose end may be missing.
pub struct Changed<'a> {
    /// What was there before.
    pub bytes: &'a [u8],
    /// Where another byte stands now.
    pub changes: Vec<(usize, u8)>,
    /// Its size.
    pub length: usize,
}

impl ReadAt for Changed<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.bytes[..self.length].read_at(offset, buffer)?;
        for (at, to) in &self.changes {
            if let Some(within) = at.checked_sub(offset as usize)
                && let Some(byte) = buffer.get_mut(within)
            {
                *byte = *to;
            }
        }
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        self.length as u64
    }
}

/// A file as a medium.
pub struct Medium(pub File);

impl ReadAt for Medium {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn size_bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }
}
