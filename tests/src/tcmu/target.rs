//! Inside the machine: a device of `target_core_user` behind the kernel's loopback target, made through
//! configfs (Linux `Documentation/target/tcmu-design.rst`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::wait::until;

const CONFIGURATION: &str = "/sys/kernel/config";
const BACKSTORE: &str = "/sys/kernel/config/target/core/user_0/laboratory";
const PORT: &str = "/sys/kernel/config/target/loopback/naa.5001405000000001/tpgt_1";
const INITIATOR: &str = "naa.5001405000000002";

/// Makes the device; the answer is its ring's device, such as `/dev/uio0`. Nothing asks it anything yet.
///
/// # Errors
/// What the kernel says.
pub fn create(size_bytes: u64) -> Result<PathBuf> {
    match mount(Some("configfs"), CONFIGURATION, Some("configfs"), MsFlags::empty(), None::<&str>) {
        Ok(()) | Err(Errno::EBUSY) => {}
        Err(error) => return Err(error).context("could not mount configfs"),
    }
    make(BACKSTORE)?;
    set(&format!("{BACKSTORE}/control"), &format!("dev_config=laboratory/0,dev_size={size_bytes}"))?;
    set(&format!("{BACKSTORE}/enable"), "1")?;
    until("the device of the ring", crate::guest::start::LIMIT, || {
        let found = fs::read_dir("/sys/class/uio").ok().and_then(|mut entries| entries.next());
        let device = found.and_then(Result::ok).map(|entry| Path::new("/dev").join(entry.file_name()));
        Ok(device.filter(|device| device.exists()))
    })
}

/// How long the shared memory of a ring is, in bytes.
///
/// # Errors
/// If the kernel does not say it.
pub fn memory_bytes(device: &Path) -> Result<usize> {
    let name = device.file_name().context("the ring's device has no name")?;
    let file = Path::new("/sys/class/uio").join(name).join("maps/map0/size");
    let text = fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
    usize::from_str_radix(text.trim().trim_start_matches("0x"), 16)
        .with_context(|| format!("{} says {text:?}", file.display()))
}

/// Shows the device to the kernel as a SCSI disk. It is asked what it is before this returns, so its ring
/// must be served by then.
///
/// # Errors
/// What the kernel says.
pub fn attach() -> Result<()> {
    make(PORT)?;
    set(&format!("{PORT}/nexus"), INITIATOR)?;
    let unit = format!("{PORT}/lun/lun_0");
    make(&unit)?;
    symlink(BACKSTORE, format!("{unit}/laboratory")).with_context(|| format!("could not fill {unit}"))
}

fn make(folder: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not make {folder}"))
}

fn set(file: &str, value: &str) -> Result<()> {
    fs::write(file, value).with_context(|| format!("could not write {value:?} to {file}"))
}
