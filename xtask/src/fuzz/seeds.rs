//! Where a fuzzer begins: one honest input, from which it finds dishonest ones much sooner.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{located, run_logged};
use crate::paths;

/// Inputs that lie in the tree for something else.
const FROM_THE_TREE: &[(&str, &str)] = &[("policy", "crates/verdict/src/default_policy.toml")];
const BASE_BYTES: u64 = 32 << 20;
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
    let (program, options): (&str, &[&str]) = match target {
        "xfs_root" => ("mkfs.xfs", &["-q", "-f", "-p"]),
        "btrfs_root" => ("mkfs.btrfs", &["-q", "-f", "--mixed", "--nodesize", "4096", "--rootdir"]),
        _ => return Ok(None),
    };
    let content = fill_folder()?;
    let content = if target == "xfs_root" { describe_folder(folder, &content)? } else { content };
    let file = folder.join(format!("base-{target}"));
    make_empty(&file, BASE_BYTES)?;
    let mut make = Command::new(located(program));
    // Without these XFS is never made of less than 300 MB.
    make.envs(["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"].map(|name| (name, "1")));
    make.args(options).args([&content, &file]);
    run_logged("making a file system to change", &mut make, "fuzz-seeds")?;
    Ok(Some(file))
}

/// A folder, files and a link.
fn fill_folder() -> Result<PathBuf> {
    let content = paths::build("fuzz").join("content");
    paths::fresh_directory(&content)?;
    paths::ensure_directory(&content.join("usr"))?;
    paths::write_whole(&content.join("usr/file"), &[7; 5000])?;
    paths::write_whole(&content.join("usr/small"), b"inside")?;
    let link = content.join("usr/link");
    std::os::unix::fs::symlink("file", &link)
        .with_context(|| format!("making the link {}", link.display()))?;
    Ok(content)
}

/// The same in the words of mkfs.xfs(8).
fn describe_folder(folder: &Path, content: &Path) -> Result<PathBuf> {
    let description = folder.join("description");
    let content = content.display();
    let text = format!(
        "unused\n0 0\nd--755 0 0\nusr d--755 0 0\nfile ---644 0 0 {content}/usr/file\n\
         small ---644 0 0 {content}/usr/small\nlink l--777 0 0 file\n$\n$\n"
    );
    paths::write_whole(&description, text.as_bytes())?;
    Ok(description)
}

/// The smallest file system there is.
fn make_ext4(file: &Path) -> Result<()> {
    let content = fill_folder()?;
    make_empty(file, FILE_SYSTEM_BYTES)?;
    let mut make = Command::new(located("mkfs.ext4"));
    make.args(["-q", "-F", "-b", "1024", "-O", "^has_journal,^resize_inode", "-N", "32", "-d"])
        .args([&content, file]);
    run_logged("making a file system to begin with", &mut make, "fuzz-seeds")
}
