//! The first process of a laboratory machine whose disk is on the wire: loads the drivers, gives the
//! network card a second address, attaches the fake NVMe controller, and becomes the real `/init`.
//!
//! The folder `/laboratory` beside it holds the kernel modules, in the order of their loading, and the
//! line that the kernel's fabrics driver wants. `reprieve_tests::nvme_tcp::attach` puts all of it there.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use reprieve_tests::guest::archive::FOLDER;
use reprieve_tests::guest::start::{LIMIT, become_init, give_up, prepare};
use reprieve_tests::wait::until;

fn main() {
    if let Err(error) = prepare().and_then(|()| attach()).and_then(|()| become_init()) {
        give_up(&error);
    }
}

fn attach() -> Result<()> {
    let line = std::fs::read(Path::new(FOLDER).join("connect")).context("could not read where to connect")?;
    let mut last = None;
    until("the fake controller", LIMIT, || {
        last = connect(&line).err();
        Ok(last.is_none().then_some(()))
    })
    .with_context(|| format!("{:#}", last.unwrap_or_else(|| anyhow::anyhow!("nothing was tried"))))?;
    until("the namespace", LIMIT, || Ok(Path::new("/sys/block/nvme0n1/size").exists().then_some(())))
}

/// Asks the kernel's fabrics driver for a controller; it answers when the controller is there.
fn connect(line: &[u8]) -> Result<()> {
    let mut fabrics = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/nvme-fabrics")
        .context("could not open /dev/nvme-fabrics")?;
    fabrics.write_all(line).context("the kernel did not connect")?;
    let mut answer = [0; 256];
    let count = fabrics.read(&mut answer).context("the kernel did not say what it connected")?;
    if !answer[..count].starts_with(b"instance=") {
        bail!("the kernel answered {}", String::from_utf8_lossy(&answer[..count]));
    }
    Ok(())
}
