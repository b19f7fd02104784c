//! A small disk image made here: a partition table, a root file system full of bytes that do not
//! compress, and nothing that could boot. For tests of writing, which need no operating system.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::run;

/// Size of the whole image in bytes.
pub const SIZE_BYTES: u64 = 64 << 20;
/// Where the root file system begins, in bytes.
const ROOT_OFFSET_BYTES: u64 = 4 << 20;
/// Size of the root file system in KiB.
const ROOT_SIZE_KIB: u64 = 56 << 10;

/// Makes an image at `path`; the same seed gives the same files.
///
/// # Errors
/// If `sgdisk` or `mkfs.ext4` is missing or refuses.
pub fn make(path: &Path, seed: u64) -> Result<()> {
    let root = path.with_extension("root");
    fill(&root, seed)?;
    make_table(path)?;
    run(Command::new("mkfs.ext4")
        .args(["-q", "-F", "-L", "root", "-E"])
        .arg(format!("offset={ROOT_OFFSET_BYTES},root_owner=0:0"))
        .arg("-d")
        .arg(&root)
        .arg(path)
        .arg(format!("{ROOT_SIZE_KIB}k")))?;
    std::fs::remove_dir_all(&root).with_context(|| format!("could not remove {}", root.display()))
}

/// Makes an image for a data disk at `path`: one ext4 partition without a system, 13 MiB in all; the same
/// seed gives the same file.
///
/// # Errors
/// If `sgdisk` or `mkfs.ext4` is missing or refuses.
pub fn make_data(path: &Path, seed: u64) -> Result<()> {
    let root = path.with_extension("content");
    std::fs::create_dir_all(&root).with_context(|| format!("could not make {}", root.display()))?;
    let mut bytes = vec![0; 4 << 20];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    std::fs::write(root.join("data"), bytes).context("could not write the data of a data image")?;
    let file = File::create(path).with_context(|| format!("could not make {}", path.display()))?;
    file.set_len(13 << 20).with_context(|| format!("could not size {}", path.display()))?;
    run(Command::new("sgdisk")
        .args(["--clear", "--new=1:2048:+10M", "--typecode=1:8300", "--change-name=1:scratch"])
        .arg(path))?;
    run(Command::new("mkfs.ext4")
        .args(["-q", "-F", "-L", "scratch", "-E", "offset=1048576,root_owner=0:0", "-d"])
        .arg(&root)
        .arg(path)
        .arg("10240k"))?;
    std::fs::remove_dir_all(&root).with_context(|| format!("could not remove {}", root.display()))
}

/// Roots other than ext4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherRoot {
    /// XFS.
    Xfs,
    /// btrfs, with small files in its tree.
    Btrfs,
}

/// Makes an image at `path` with another root; the same seed gives the same files.
///
/// # Errors
/// If `sgdisk`, `mkfs.xfs` or `mkfs.btrfs` is missing or refuses, or the host's kernel lacks one of them.
pub fn make_other(path: &Path, seed: u64, other: OtherRoot) -> Result<()> {
    let file_system = path.with_extension("made");
    let file =
        File::create(&file_system).with_context(|| format!("could not make {}", file_system.display()))?;
    file.set_len(ROOT_SIZE_KIB << 10).context("could not size the file system")?;
    let (kind, options) = match other {
        OtherRoot::Xfs => {
            // Without these mkfs.xfs makes none of less than 300 MB.
            let small = ["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"].map(|name| (name, "1"));
            run(Command::new("mkfs.xfs").envs(small).args(["-q", "-L", "root"]).arg(&file_system))?;
            ("xfs", "loop,nouuid")
        }
        OtherRoot::Btrfs => {
            // So small a one has no room for data and trees apart.
            run(Command::new("mkfs.btrfs")
                .args(["-q", "--mixed", "--nodesize", "4096", "-L", "root"])
                .arg(&file_system))?;
            ("btrfs", "loop,compress=zstd")
        }
    };
    let root = path.with_extension("root");
    std::fs::create_dir_all(&root).with_context(|| format!("could not make {}", root.display()))?;
    run(Command::new("mount").args(["-t", kind, "-o", options]).arg(&file_system).arg(&root))?;
    let filled = fill(&root, seed);
    run(Command::new("umount").arg(&root))?;
    filled?;
    make_table(path)?;
    let mut disk = File::options()
        .write(true)
        .open(path)
        .with_context(|| format!("could not open {}", path.display()))?;
    disk.seek(SeekFrom::Start(ROOT_OFFSET_BYTES)).context("could not find the root's place")?;
    let mut made = File::open(&file_system).context("could not open the file system")?;
    std::io::copy(&mut made, &mut disk).context("could not put the file system into the image")?;
    std::fs::remove_file(&file_system).context("could not remove the file system")
}

fn make_table(path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("could not make {}", path.display()))?;
    file.set_len(SIZE_BYTES).with_context(|| format!("could not size {}", path.display()))?;
    run(Command::new("sgdisk")
        .args(["--clear", "--new=1:2048:+1M", "--typecode=1:ef02", "--change-name=1:bios"])
        .args(["--new=2:8192:+56M", "--typecode=2:8304", "--change-name=2:root"])
        .arg(path))
}

/// A tree as small as an image's can be, with 32 files of 1 MiB under an immutable path.
fn fill(root: &Path, seed: u64) -> Result<()> {
    for folder in ["usr/share/data", "usr/bin", "etc", "var/lib", "boot"] {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    }
    let mut noise = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    for number in 0..32 {
        let mut bytes = vec![0; 1 << 20];
        noise.fill(&mut bytes);
        let file = root.join(format!("usr/share/data/{number:02}"));
        std::fs::write(&file, bytes).with_context(|| format!("could not write {}", file.display()))?;
    }
    // So many that a few of them that differ are damage and not another system.
    for number in 0..200 {
        let file = root.join(format!("usr/bin/tool-{number}"));
        std::fs::write(&file, format!("tool {number}\n"))
            .with_context(|| format!("could not write {}", file.display()))?;
    }
    std::fs::write(root.join("usr/bin/tool"), "a tool\n")
        .context("could not write a file of the small image")?;
    std::fs::write(root.join("etc/hostname"), "small\n").context("could not write a file of the small image")
}
