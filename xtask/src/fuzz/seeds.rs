//! Where a fuzzer begins: one honest input, from which it finds dishonest ones much sooner.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{located, run_logged};
use crate::paths;

/// Inputs that lie in the tree for something else.
const FROM_THE_TREE: &[(&str, &str)] = &[("policy", "crates/verdict/src/default_policy.toml")];
const XFS_BYTES: u64 = 32 << 20;
/// Folders, files and a link, in the form of mkfs.xfs(8); FILE is any that there is.
const XFS_CONTENT: &str = "unused\n0 0\nd--755 0 0\nusr d--755 0 0\nfile ---644 0 0 FILE\n\
    link l--777 0 0 usr/file\nempty ---644 0 0 /dev/null\n$\n$\n";
const FILE_SYSTEM_BYTES: u64 = 128 << 10;

/// The longest input in bytes that is tried on a target: longer ones are slower and reach nothing more.
pub fn input_bytes_max(target: &str) -> u64 {
    match target {
        "ext4_root" => FILE_SYSTEM_BYTES,
        "gpt" | "qcow2" => 64 << 10,
        _ => 16 << 10,
    }
}

/// Puts a target's first inputs into a folder: those of `fuzz/seeds`, of the tree, and made ones.
pub fn lay_out(target: &str, folder: &Path) -> Result<()> {
    let repository = paths::repository();
    let kept = repository.join("fuzz/seeds").join(target);
    if kept.is_dir() {
        for entry in kept.read_dir().with_context(|| format!("listing {}", kept.display()))? {
            let entry = entry?;
            copy(&entry.path(), &folder.join(entry.file_name()))?;
        }
    }
    for (_, file) in FROM_THE_TREE.iter().filter(|(name, _)| *name == target) {
        copy(&repository.join(file), &folder.join("from-the-tree"))?;
    }
    match target {
        "ext4_root" => make_ext4(&folder.join("made")),
        "gpt" => make_table(&folder.join("made")),
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map(drop).with_context(|| format!("copying {}", from.display()))
}

/// A disk of 128 sectors with two partitions.
fn make_table(file: &Path) -> Result<()> {
    make_empty(file, 128 * 512)?;
    let mut make = Command::new(located("sgdisk"));
    make.args(["--set-alignment=1", "--new=1:34:40", "--change-name=1:first", "--new=2:41:50"]).arg(file);
    run_logged("making a partition table to begin with", &mut make, "fuzz-seeds")
}

fn make_empty(file: &Path, size_bytes: u64) -> Result<()> {
    let empty = std::fs::File::create(file).with_context(|| format!("making {}", file.display()))?;
    empty.set_len(size_bytes).with_context(|| format!("making {}", file.display()))
}

/// What the target changes, where an input is a list of changes.
pub fn base(target: &str, folder: &Path) -> Result<Option<PathBuf>> {
    if target != "xfs_root" {
        return Ok(None);
    }
    let file = folder.join("base");
    make_empty(&file, XFS_BYTES)?;
    let description = folder.join("description");
    let some_file = paths::repository().join("Cargo.toml");
    let content = XFS_CONTENT.replace("FILE", &some_file.display().to_string());
    paths::write_whole(&description, content.as_bytes())?;
    let mut make = Command::new(located("mkfs.xfs"));
    // Without these it makes none of less than 300 MB.
    make.envs(["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"].map(|name| (name, "1")))
        .args(["-q", "-f", "-p"])
        .args([&description, &file]);
    run_logged("making a file system to change", &mut make, "fuzz-seeds")?;
    Ok(Some(file))
}

/// The smallest file system there is, with a folder, files and a link in it.
fn make_ext4(file: &Path) -> Result<()> {
    let content = paths::build("fuzz").join("content");
    paths::fresh_directory(&content)?;
    paths::ensure_directory(&content.join("folder"))?;
    paths::write_whole(&content.join("folder/file"), &[7; 5000])?;
    let link = content.join("link");
    std::os::unix::fs::symlink("folder/file", &link)
        .with_context(|| format!("making the link {}", link.display()))?;
    make_empty(file, FILE_SYSTEM_BYTES)?;
    let mut make = Command::new(located("mkfs.ext4"));
    make.args(["-q", "-F", "-b", "1024", "-O", "^has_journal,^resize_inode", "-N", "32", "-d"])
        .args([&content, file]);
    run_logged("making a file system to begin with", &mut make, "fuzz-seeds")
}
