//! A file system for the device's file that keeps its holes to itself. Where the machine's own is mounted
//! with `discard`, making zeros of a range that was in use waits for the host below, at every flush: a
//! fifth of a millisecond for each mebibyte, which no disk and no command that is measured has a part in.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{located, output, privileged};
use crate::paths;

/// Room for the file system's own blocks, in bytes.
const OWN_BYTES: u64 = 256 << 20;

/// A mounted ext4 in a file; taken away when dropped.
#[derive(Debug)]
pub struct Scratch {
    file: PathBuf,
    folder: PathBuf,
}

impl Scratch {
    /// One with room for a file of this size; none if the folder's own file system keeps its holes to
    /// itself too.
    pub fn beside(folder: &Path, size_bytes: u64) -> Result<Option<Self>> {
        let mut find = std::process::Command::new("findmnt");
        find.args(["--noheadings", "--output", "OPTIONS", "--target"]).arg(folder);
        let options = output("asking how the folder is mounted", &mut find)?;
        if !options.trim().split(',').any(|option| option == "discard") {
            return Ok(None);
        }
        let made = Self { file: folder.join("scratch.ext4"), folder: folder.join("scratch") };
        made.take_away();
        paths::ensure_directory(&made.folder)?;
        made.mount(size_bytes + size_bytes / 50 + OWN_BYTES)?;
        Ok(Some(made))
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn mount(&self, size_bytes: u64) -> Result<()> {
        let mut room = std::process::Command::new("fallocate");
        room.args(["--length", &size_bytes.to_string()]).arg(&self.file);
        output("making room for a file system", &mut room)?;
        let mut make = std::process::Command::new(located("mkfs.ext4"));
        make.args(["-q", "-m", "0", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]);
        output("making a file system", make.arg(&self.file))?;
        let mut attach = privileged(located("losetup"))?;
        attach.args(["--find", "--show", "--direct-io=on"]).arg(&self.file);
        let device = output("attaching the file system", &mut attach)?;
        let device = device.trim();
        let mut mount = privileged(located("mount"))?;
        mount.args(["-o", "nodiscard,noatime", device]).arg(&self.folder);
        let mounted = output("mounting the file system", &mut mount);
        // The kernel keeps it until it is unmounted.
        let detached = output("detaching", privileged(located("losetup"))?.args(["--detach", device]));
        mounted.and(detached)?;
        let mut open = privileged("chmod")?;
        output("opening the file system to everybody", open.arg("1777").arg(&self.folder))
            .map(drop)
            .context("making a place for the device")
    }

    /// Also what a run that was killed has left.
    fn take_away(&self) {
        if let Ok(mut command) = privileged(located("umount")) {
            // There may be none. One that is in use by what a killed run left goes when that ends; it must not lie
            // below the next.
            let _ = command.args(["--quiet", "--lazy"]).arg(&self.folder).output();
        }
        let _ = std::fs::remove_file(&self.file);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.take_away();
    }
}
