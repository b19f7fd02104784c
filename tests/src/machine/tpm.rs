//! A TPM 2.0 for a machine: swtpm, whose state stays from one start to the next, as a real one's does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process::Background;
use crate::wait::until;

/// How long it may take to listen.
const START: Duration = Duration::from_secs(10);

/// Where it is spoken to.
fn socket(folder: &Path) -> PathBuf {
    folder.join("tpm.sock")
}

/// Starts it; it ends when dropped.
pub(super) fn start(folder: &Path) -> Result<Background> {
    let (state, socket) = (folder.join("tpm"), socket(folder));
    std::fs::create_dir_all(&state).with_context(|| format!("could not make {}", state.display()))?;
    let _ = std::fs::remove_file(&socket);
    let mut command = Command::new("swtpm");
    command.args(["socket", "--tpm2", "--flags", "startup-clear", "--tpmstate"]);
    command.arg(format!("dir={}", state.display()));
    command.arg("--ctrl").arg(format!("type=unixio,path={}", socket.display()));
    let mut tpm = Background::start("swtpm", &mut command, &folder.join("tpm.log"))
        .context("install the package swtpm")?;
    until("swtpm's socket", START, || {
        tpm.check_running()?;
        Ok(socket.exists().then_some(()))
    })?;
    Ok(tpm)
}

/// What QEMU is told of it.
pub(super) fn arguments(folder: &Path, command: &mut Command) {
    command.arg("-chardev").arg(format!("socket,id=tpm,path={}", socket(folder).display()));
    command.args(["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0"]);
}
