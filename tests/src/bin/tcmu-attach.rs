//! The first process of a laboratory machine whose SCSI disk is outside of it: loads the drivers, gives
//! the network card a second address, leaves a second process that carries commands to the disk, and
//! becomes the real `/init`, or another program of the laboratory's that is told where the disk is.
//!
//! The folder `/laboratory` beside it holds the kernel modules, in the order of their loading, the size of
//! the disk, and the name of the other program if there is one. `reprieve_tests::tcmu` puts all of it
//! there.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use reprieve_tests::guest::archive::FOLDER;
use reprieve_tests::guest::start::{LIMIT, become_init, give_up, prepare};
use reprieve_tests::tcmu::handler::Handler;
use reprieve_tests::tcmu::{commands, site, target};
use reprieve_tests::wait::until;

/// How the second process is called.
const HANDLER: &str = "laboratory-disk";

fn main() {
    if std::env::args().next().as_deref() == Some(HANDLER) {
        if let Err(error) = carry() {
            let _ = std::fs::write("/dev/console", format!("laboratory: the disk is gone: {error:#}\n"));
        }
    } else if let Err(error) = prepare().and_then(|()| attach()).and_then(|disk| go_on(&disk)) {
        give_up(&error);
    }
}

fn go_on(disk: &str) -> Result<()> {
    let Ok(name) = std::fs::read_to_string(Path::new(FOLDER).join("then")) else { return become_init() };
    let error = Command::new(Path::new(FOLDER).join(name.trim()))
        .arg(Path::new("/dev").join(disk))
        .arg(commands::address().to_string())
        .exec();
    Err(error).with_context(|| format!("could not start {name}"))
}

/// Starts the second process and waits for the disk; the answer is the kernel's name for it.
fn attach() -> Result<String> {
    Command::new(Path::new(FOLDER).join("init"))
        .arg0(HANDLER)
        .spawn()
        .context("could not start the second process")?;
    until("the disk", LIMIT, || {
        let entries = std::fs::read_dir("/sys/block").context("could not list the disks")?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.into_iter().find(|name| name.starts_with("sd")))
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
