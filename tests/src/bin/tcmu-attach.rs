//! The first process of a laboratory machine whose SCSI disk is outside of it: loads the drivers, gives
//! the network card a second address, leaves a second process that carries commands to the disk, and
//! becomes the real `/init`.
//!
//! The folder `/laboratory` beside it holds the kernel modules, in the order of their loading, and the
//! size of the disk. `reprieve_tests::tcmu::site` puts all of it there.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use reprieve_tests::guest::archive::FOLDER;
use reprieve_tests::guest::start::{LIMIT, become_init, give_up, prepare};
use reprieve_tests::tcmu::handler::Handler;
use reprieve_tests::tcmu::{site, target};
use reprieve_tests::wait::until;

/// How the second process is called.
const HANDLER: &str = "laboratory-disk";

fn main() {
    if std::env::args().next().as_deref() == Some(HANDLER) {
        if let Err(error) = carry() {
            let _ = std::fs::write("/dev/console", format!("laboratory: the disk is gone: {error:#}\n"));
        }
    } else if let Err(error) = prepare().and_then(|()| attach()).and_then(|()| become_init()) {
        give_up(&error);
    }
}

/// Starts the second process and waits for the disk.
fn attach() -> Result<()> {
    Command::new(Path::new(FOLDER).join("init"))
        .arg0(HANDLER)
        .spawn()
        .context("could not start the second process")?;
    until("the disk", LIMIT, || {
        let entries = std::fs::read_dir("/sys/block").context("could not list the disks")?;
        let is_disk = |name: std::ffi::OsString| name.to_string_lossy().starts_with("sd");
        Ok(entries.flatten().any(|entry| is_disk(entry.file_name())).then_some(()))
    })
}

/// Carries commands to the disk for as long as the machine is on.
fn carry() -> Result<()> {
    // What the real init mounts and unmounts is its own affair.
    unshare(CloneFlags::CLONE_NEWNS).context("could not get mounts of its own")?;
    let text = std::fs::read_to_string(Path::new(FOLDER).join("size")).context("could not read the size")?;
    let ring = target::create(text.trim().parse().context("the disk has no size")?)?;
    let mut handler = Handler::open(&ring, site::disk_address())?;
    // The kernel asks the disk before it has it, so somebody must serve it by then.
    std::thread::spawn(|| {
        if let Err(error) = target::attach() {
            let _ = std::fs::write("/dev/console", format!("laboratory: {error:#}\n"));
        }
    });
    handler.serve()
}
