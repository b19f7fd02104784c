//! Where a fuzzer begins: one honest input, from which it finds dishonest ones much sooner.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{located, run_logged};
use crate::paths;

/// Inputs that lie in the tree for something else.
const FROM_THE_TREE: &[(&str, &str)] = &[("policy", "crates/verdict/src/default_policy.toml")];
const BASE_BYTES: u64 = 32 << 20;
/// Targets whose inputs are lists of changes, and the UUID of what they change: always the same, so that
/// one that was made elsewhere differs as little as it can, and of each another, because `mkfs.btrfs` asks.
const BASES: [(&str, &str); 3] = [
    ("btrfs_root", "1f0a2e77-5d5c-4f0e-9a53-2f1b8f6f0c01"),
    ("ext4_root", "1f0a2e77-5d5c-4f0e-9a53-2f1b8f6f0c02"),
    ("xfs_root", "1f0a2e77-5d5c-4f0e-9a53-2f1b8f6f0c03"),
];
/// Changes with how bases are made, so that those that were made otherwise are not used.
const BASE_RECIPE: u32 = 3;

/// The longest input in bytes that is tried on a target: longer ones are slower and reach nothing more.
pub fn input_bytes_max(target: &str) -> u64 {
    match target {
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

/// Where the file lies that a target changes, if an input is a list of changes.
pub fn base_file(target: &str, folder: &Path) -> Option<PathBuf> {
    uuid_of_base(target).map(|_| folder.join(format!("base-{BASE_RECIPE}-{target}")))
}

fn uuid_of_base(target: &str) -> Option<&'static str> {
    BASES.iter().find(|(name, _)| *name == target).map(|(_, uuid)| *uuid)
}

/// What the target changes, where an input is a list of changes. It is made once: an input that was found
/// on it means nothing on another.
pub fn base(target: &str, folder: &Path) -> Result<Option<PathBuf>> {
    let (Some(file), Some(uuid)) = (base_file(target, folder), uuid_of_base(target)) else { return Ok(None) };
    if file.exists() {
        return Ok(Some(file));
    }
    let (content, unfinished) = (fill_folder()?, folder.join(format!("unfinished-{target}")));
    make_empty(&unfinished, BASE_BYTES)?;
    match target {
        "xfs_root" => {
            let (uuid, description) = (format!("uuid={uuid}"), describe_folder(folder, &content)?);
            make_base("mkfs.xfs", &["-q", "-f", "-m", &uuid, "-p"], &description, &unfinished)?;
        }
        "btrfs_root" => {
            let options = ["-q", "-f", "--mixed", "--nodesize", "4096", "--uuid", uuid, "--rootdir"];
            make_base("mkfs.btrfs", &options, &content, &unfinished)?;
        }
        _ => {
            let options = ["-q", "-F", "-b", "1024", "-N", "64", "-O", "^has_journal", "-U", uuid, "-d"];
            make_base("mkfs.ext4", &options, &content, &unfinished)?;
            give_attributes(folder, &unfinished)?;
        }
    }
    std::fs::rename(&unfinished, &file).with_context(|| format!("making {}", file.display()))?;
    Ok(Some(file))
}

fn make_base(program: &str, options: &[&str], content: &Path, file: &Path) -> Result<()> {
    let mut make = Command::new(located(program));
    // Without these XFS is never made of less than 300 MB.
    make.envs(["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"].map(|name| (name, "1")));
    make.args(options).args([content, file]);
    run_logged("making a file system to change", &mut make, "fuzz-seeds")
}

/// Attributes of a file: behind the fields of its inode, and in a block of their own.
fn give_attributes(folder: &Path, file: &Path) -> Result<()> {
    let value = folder.join("value");
    for (name, length) in [("user.short", 20), ("user.long", 700)] {
        paths::write_whole(&value, &vec![7; length])?;
        let mut set = Command::new(located("debugfs"));
        let request = format!("ea_set -f {} /usr/file {name}", value.display());
        set.args(["-w", "-R", &request]).arg(file);
        run_logged("giving a file attributes", &mut set, "fuzz-seeds")?;
    }
    Ok(())
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
