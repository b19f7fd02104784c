//! A device as slow as a real disk: on a loop device in memory the processor is the limit, and a program
//! that needs less of it looks better than it would beside a disk.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{output, privileged};
use crate::paths;

/// What a SATA SSD reads in a second: 6 Gb/s less what the wire costs, in bytes.
pub const READ_BYTES_PER_SECOND: u64 = 560_000_000;
/// What it writes in a second, in bytes.
pub const WRITE_BYTES_PER_SECOND: u64 = 530_000_000;

/// The kernel's throttle of block devices, in the root of its control groups (version 1): there it holds
/// for whoever uses the device, the kernel's own threads too.
const THROTTLE: &str = "/sys/fs/cgroup/blkio/blkio.throttle";

/// Whether this machine's kernel can make a device slower.
pub fn is_possible() -> bool {
    Path::new(&format!("{THROTTLE}.write_bps_device")).exists()
}

/// Holds a device to the speed of a SATA SSD; it is as fast as before when this is dropped. Reads and
/// writes are limited each by itself, which is kinder than a disk to whoever does both at once.
#[derive(Debug)]
pub struct Limit {
    number: String,
}

impl Limit {
    /// Begins.
    pub fn new(device: &Path) -> Result<Self> {
        let name = device.file_name().unwrap_or_default();
        let file: PathBuf = Path::new("/sys/block").join(name).join("dev");
        let limit = Self { number: paths::read_text(&file)?.trim().to_owned() };
        limit.set("read", READ_BYTES_PER_SECOND).and_then(|()| limit.set("write", WRITE_BYTES_PER_SECOND))?;
        Ok(limit)
    }

    fn set(&self, direction: &str, bytes_per_second: u64) -> Result<()> {
        let script = format!("echo {} {bytes_per_second} > {THROTTLE}.{direction}_bps_device", self.number);
        output("limiting the device", privileged("sh")?.args(["-c", &script]))
            .map(drop)
            .context("asking the kernel to hold the device to a speed")
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        for direction in ["read", "write"] {
            // Zero is the kernel's word for no limit.
            if let Err(error) = self.set(direction, 0) {
                eprintln!("the device stays limited: {error:#}");
            }
        }
    }
}
