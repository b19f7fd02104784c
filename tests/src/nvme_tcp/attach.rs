//! What the laboratory adds to the ramdisk so that it attaches the fake controller.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::guest::archive::{self, Addition, LABORATORY_ADDRESS};

/// The port of NVMe over TCP.
pub const CONTROLLER_PORT: u16 = 4420;

/// What the first process loads: the network card of the virtual machine, and NVMe over TCP.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "nvme-tcp"];

/// Where the fake controller listens.
#[must_use]
pub fn controller() -> SocketAddr {
    SocketAddr::from((LABORATORY_ADDRESS, CONTROLLER_PORT))
}

/// Writes a ramdisk to `path` that attaches the controller of this name and then is the ramdisk `real`.
///
/// # Errors
/// If the program, the kernel's modules or the real ramdisk are not there; says what builds them.
pub fn write_ramdisk(path: &Path, real: &Path, name: &str) -> Result<()> {
    let line = format!(
        "transport=tcp,traddr={LABORATORY_ADDRESS},trsvcid={CONTROLLER_PORT},nqn={name},nr_io_queues=1,\
         ctrl_loss_tmo=5,reconnect_delay=1,keep_alive_tmo=30"
    );
    let files = [("connect", line.as_bytes())];
    let addition = Addition { init: "nvme-attach", programs: &[], modules: &MODULES, files: &files };
    archive::write_ramdisk(path, real, &addition)
}
