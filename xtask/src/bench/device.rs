//! The device that everything is measured on: a loop device on a file.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::limit::Limit;
use super::scratch::Scratch;
use crate::command::{located, output, privileged};

/// One mebibyte.
pub const MEBIBYTE: u64 = 1 << 20;

/// A loop device with direct I/O where its file's file system has it; taken away when dropped.
#[derive(Debug)]
pub struct Device {
    path: PathBuf,
    file: PathBuf,
    size_bytes: u64,
    /// Goes last, after what lies in it.
    scratch: Option<Scratch>,
    /// Whether what is measured on it sees a device as slow as a disk.
    pub is_limited: bool,
}

impl Device {
    /// Makes a file in this folder and attaches it.
    pub fn new(folder: &Path, size_bytes: u64) -> Result<Self> {
        let scratch = Scratch::beside(folder, size_bytes)?;
        let file = &scratch.as_ref().map_or(folder, Scratch::folder).join("device.raw");
        File::create(file)
            .and_then(|made| made.set_len(size_bytes))
            .with_context(|| format!("making {}", file.display()))?;
        let mut command = privileged(located("losetup"))?;
        command.args(["--find", "--show", "--direct-io=on"]).arg(file);
        let shown = output("attaching a loop device", &mut command)?;
        let path = PathBuf::from(shown.trim());
        let device = Self { path, file: file.to_owned(), size_bytes, scratch, is_limited: false };
        device.fill_with_old_content()?;
        Ok(device)
    }

    /// Makes it as slow as a disk until what this gives is dropped, if it is to be so.
    pub fn limit(&self) -> Result<Option<Limit>> {
        self.is_limited.then(|| Limit::new(&self.path)).transpose()
    }

    /// Its device node.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the kernel reads and writes the file directly, or through its cache.
    pub fn is_direct(&self) -> bool {
        let name = self.path.file_name().unwrap_or_default();
        let file = Path::new("/sys/block").join(name).join("loop/dio");
        std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "1")
    }

    /// What its file lies on, for people.
    pub fn place(&self) -> String {
        let mut find = Command::new("findmnt");
        find.args(["--noheadings", "--output", "FSTYPE", "--target"]).arg(&self.file);
        let kind = output("asking for the file system", &mut find).unwrap_or_default();
        let scratch = if self.scratch.is_some() { " of its own, which passes no holes on" } else { "" };
        format!("a file on {}{scratch}", kind.trim())
    }

    /// Overwrites everything with bytes that are in no image, so that each measurement begins alike and
    /// no block of the file has yet to be found room for.
    pub fn fill_with_old_content(&self) -> Result<()> {
        self.overwrite((0..self.size_bytes / MEBIBYTE).collect::<Vec<u64>>().as_slice(), 0x5eed)
    }

    /// Overwrites these mebibytes with bytes that are in no image.
    pub fn overwrite(&self, mebibytes: &[u64], seed: u64) -> Result<()> {
        let disk = OpenOptions::new()
            .write(true)
            .open(&self.path)
            .with_context(|| format!("opening {}", self.path.display()))?;
        let mut bytes = vec![0_u8; MEBIBYTE as usize];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        for index in mebibytes {
            // One number makes it another chunk than its neighbours.
            bytes[..8].copy_from_slice(&index.to_le_bytes());
            disk.write_all_at(&bytes, index * MEBIBYTE)
                .with_context(|| format!("writing to {}", self.path.display()))?;
        }
        disk.sync_all().with_context(|| format!("flushing {}", self.path.display()))?;
        self.forget_cached()
    }

    /// Makes the first and the last mebibyte zeros, as on a disk that holds no table and no file system.
    pub fn make_ends_blank(&self) -> Result<()> {
        let disk = OpenOptions::new().write(true).open(&self.path);
        let disk = disk.with_context(|| format!("opening {}", self.path.display()))?;
        for at in [0, self.size_bytes - MEBIBYTE] {
            disk.write_all_at(&vec![0; MEBIBYTE as usize], at)
                .with_context(|| format!("writing to {}", self.path.display()))?;
        }
        disk.sync_all().with_context(|| format!("flushing {}", self.path.display()))?;
        self.forget_cached()
    }

    /// Makes all of it zeros, and of the file holes.
    pub fn make_blank(&self) -> Result<()> {
        let mut command = privileged(located("blkdiscard"))?;
        output("making the device blank", command.arg("--zeroout").arg(&self.path))?;
        self.forget_cached()
    }

    /// Lets the kernel forget what it has cached of the device.
    pub fn forget_cached(&self) -> Result<()> {
        let mut command = privileged(located("blockdev"))?;
        output("dropping the device's cache", command.arg("--flushbufs").arg(&self.path)).map(drop)
    }

    /// Whether the device begins with these bytes of a file, from `skip_bytes` on.
    pub fn holds(&self, file: &Path, skip_bytes: u64, until_bytes: u64) -> Result<bool> {
        self.forget_cached()?;
        let mut command = Command::new("cmp");
        command.args(["--silent", &format!("--ignore-initial={skip_bytes}"), "--bytes"]);
        command.arg((until_bytes - skip_bytes).to_string()).arg(file).arg(&self.path);
        let status = command.status().context("comparing the device: starting cmp")?;
        Ok(status.success())
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Ok(mut command) = privileged(located("losetup")) {
            // Nobody is left to tell if it fails; `losetup --all` shows it.
            let _ = command.arg("--detach").arg(&self.path).status();
        }
        let _ = std::fs::remove_file(&self.file);
    }
}
