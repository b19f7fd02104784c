//! Firmware files that drivers in the ramdisk name, from Debian's firmware packages.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result};

use super::cpio::Archive;
use super::modules::Selection;
use crate::apt::{self, PrivateApt};
use crate::command::{located, output};
use crate::kernel::Kernel;
use crate::paths;

/// Packages that hold the firmware of server network cards and storage controllers.
const PACKAGES: &[&str] = &[
    "firmware-bnx2",
    "firmware-bnx2x",
    "firmware-cavium",
    "firmware-misc-nonfree",
    "firmware-netronome",
    "firmware-netxen",
    "firmware-qlogic",
    "firmware-realtek",
];

/// Adds the firmware files that the selected modules name; gives how many bytes they are.
///
/// Files that no package has are left out: drivers name old versions that nobody ships any more.
pub fn add(archive: &mut Archive, kernel: &Kernel, selection: &Selection) -> Result<u64> {
    let root = paths::build("firmware");
    ensure_unpacked(&root)?;
    let mut bytes_added = 0;
    for name in named_by(kernel, selection)? {
        let file = root.join("lib/firmware").join(&name);
        let Ok(bytes) = std::fs::read(&file) else { continue };
        bytes_added += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        archive.file(&format!("lib/firmware/{name}"), 0o644, &bytes);
    }
    Ok(bytes_added)
}

fn ensure_unpacked(root: &std::path::Path) -> Result<()> {
    let done = root.join("unpacked");
    if done.exists() {
        return Ok(());
    }
    println!("  fetching firmware");
    let source = PrivateApt::of_firmware()?;
    for package in PACKAGES {
        let file = source.download(package, &paths::build("download").join(package))?;
        apt::unpack(&file, root)?;
    }
    paths::write_whole(&done, b"")
}

fn named_by(kernel: &Kernel, selection: &Selection) -> Result<BTreeSet<String>> {
    if selection.paths.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut command = Command::new(located("modinfo"));
    command
        .args(["--field", "firmware"])
        .args(selection.paths.iter().map(|path| kernel.modules().join(path)));
    let text = output("asking the modules for their firmware", &mut command).context("is kmod installed?")?;
    // A driver may name files by a pattern; those have no file of that name and are passed over.
    Ok(text.lines().map(str::to_owned).filter(|name| !name.is_empty() && !name.contains("..")).collect())
}
