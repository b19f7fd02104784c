//! The first process of a laboratory machine whose SCSI disk is QEMU's or the kernel's own: loads the
//! drivers, and `scsi_debug` with its options if that is there, and becomes the real `/init`, or another
//! program of the laboratory's that is told where the disk is.
//!
//! The folder `/laboratory` beside it holds the kernel modules, `scsi_debug.ko` and `options` for it, and
//! in `then` the other program's name and what it is to do, if there is one.

use std::ffi::CString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::kmod::{ModuleInitFlags, finit_module};
use reprieve_tests::guest::archive::FOLDER;
use reprieve_tests::guest::start::{LIMIT, become_init, give_up, prepare};
use reprieve_tests::wait::until;

fn main() {
    if let Err(error) = prepare().and_then(|()| load_fake()).and_then(|()| go_on()) {
        give_up(&error);
    }
}

fn load_fake() -> Result<()> {
    let Ok(file) = File::open(Path::new(FOLDER).join("scsi_debug.ko")) else { return Ok(()) };
    let options =
        std::fs::read(Path::new(FOLDER).join("options")).context("there are no options for the fake disk")?;
    let options = CString::new(options).context("the options are not text")?;
    finit_module(&file, &options, ModuleInitFlags::empty()).context("could not load scsi_debug")
}

fn go_on() -> Result<()> {
    let disk = until("the disk", LIMIT, || {
        let entries = std::fs::read_dir("/sys/block").context("could not list the disks")?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.into_iter().find(|name| name.starts_with("sd")))
    })?;
    let Ok(then) = std::fs::read_to_string(Path::new(FOLDER).join("then")) else { return become_init() };
    let (program, what) = then.trim().split_once(' ').context("the other program has nothing to do")?;
    let error =
        Command::new(Path::new(FOLDER).join(program)).arg(Path::new("/dev").join(disk)).arg(what).exec();
    Err(error).with_context(|| format!("could not start {program}"))
}
