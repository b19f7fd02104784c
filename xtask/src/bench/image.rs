//! The image that is written: real programs and, for three fifths, zeros.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::device::MEBIBYTE;
use crate::command::{located, output};
use crate::paths;

/// In each run of this many mebibytes …
const PATTERN_MEBIBYTES: u64 = 10;
/// … so many have content.
const CONTENT_MEBIBYTES: u64 = 4;
/// Files below this length have no say in what an image costs, in bytes.
const FILE_BYTES_MIN: u64 = 64 * 1024;

/// Makes a raw disk image with one partition over all of it but its ends, unless it is there. The
/// content is the compiler's own programs and libraries, read on and on; no mebibyte repeats, because
/// each is marked with its number.
pub fn make(file: &Path, size_mebibytes: u64) -> Result<()> {
    if fs::metadata(file).is_ok_and(|found| found.len() == size_mebibytes * MEBIBYTE) {
        return Ok(());
    }
    println!("  making an image of {size_mebibytes} MiB");
    let mut content = Programs::find()?;
    let partial = file.with_extension("partial");
    let target = File::create(&partial).with_context(|| format!("making {}", partial.display()))?;
    let mut target = BufWriter::with_capacity(MEBIBYTE as usize, target);
    let mut bytes = vec![0; MEBIBYTE as usize];
    for index in 0..size_mebibytes {
        if index % PATTERN_MEBIBYTES < CONTENT_MEBIBYTES {
            content.fill(&mut bytes)?;
            bytes[..8].copy_from_slice(&index.to_le_bytes());
        } else {
            bytes.fill(0);
        }
        target.write_all(&bytes).with_context(|| format!("writing {}", partial.display()))?;
    }
    target.flush().with_context(|| format!("writing {}", partial.display()))?;
    drop(target);
    let mut sgdisk = Command::new(located("sgdisk"));
    sgdisk.args(["--clear", "--new=1:2048:-2048", "--typecode=1:8300"]).arg(&partial);
    output("putting a partition table into the image", &mut sgdisk)?;
    fs::rename(&partial, file).with_context(|| format!("renaming {} into place", partial.display()))
}

/// Changes these mebibytes of a copy of an image; its other bytes stay.
pub fn changed_copy(image: &Path, copy: &Path, mebibytes: impl Iterator<Item = u64>) -> Result<()> {
    use std::os::unix::fs::FileExt;
    fs::copy(image, copy).with_context(|| format!("copying {}", image.display()))?;
    let file =
        File::options().write(true).open(copy).with_context(|| format!("opening {}", copy.display()))?;
    for index in mebibytes {
        file.write_all_at(b"changed", index * MEBIBYTE + 4096)
            .with_context(|| format!("writing {}", copy.display()))?;
    }
    Ok(())
}

/// The compiler's files, read one after the other without end.
struct Programs {
    files: Vec<PathBuf>,
    next: usize,
    open: Option<File>,
}

impl Programs {
    fn find() -> Result<Self> {
        let root =
            output("asking where the compiler is", Command::new("rustc").args(["--print", "sysroot"]))?;
        let mut files = Vec::new();
        let mut folders = vec![PathBuf::from(root.trim()).join("lib")];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
            for entry in entries {
                let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
                let found = entry.metadata().with_context(|| format!("looking at {:?}", entry.path()))?;
                if found.is_dir() {
                    folders.push(entry.path());
                } else if found.is_file() && found.len() >= FILE_BYTES_MIN {
                    files.push(entry.path());
                }
            }
        }
        files.sort();
        if files.is_empty() {
            bail!("the compiler's folder {} has no files to make an image of", root.trim());
        }
        Ok(Self { files, next: 0, open: None })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            let Some(open) = &mut self.open else {
                let path = &self.files[self.next % self.files.len()];
                self.next += 1;
                self.open = Some(File::open(path).with_context(|| format!("opening {}", path.display()))?);
                continue;
            };
            match open.read(&mut bytes[filled..]).context("reading the compiler's files")? {
                0 => self.open = None,
                read => filled += read,
            }
        }
        Ok(())
    }
}

/// Where the parts of one measurement lie.
#[derive(Debug)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
}

impl Folder {
    /// Makes the folder.
    pub fn new(path: PathBuf) -> Result<Self> {
        paths::ensure_directory(&path)?;
        Ok(Self { path })
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
