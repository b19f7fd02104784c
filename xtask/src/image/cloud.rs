//! `cargo xtask image --cloud`: an image as Debian's generic cloud image is, from Debian's own packages.
//!
//! Nothing of ours is in it: cloud-init with the configuration and the sources that its package brings,
//! the loaders that Debian signed, and no agent. What a machine becomes it learns at its first boot.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use super::{disk, is_recorded, record, root, with_identities};
use crate::command::run_logged;
use crate::paths;

/// Counted up when this code builds something else from the same files.
const RECIPE_VERSION: u32 = 2;

/// Debian's loaders in the image's root, and where `grub-install --removable` puts them.
const EFI_PROGRAMS: &[(&str, &str)] = &[
    ("usr/lib/shim/shimx64.efi.signed", super::EFI_PROGRAM),
    ("usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "EFI/BOOT/grubx64.efi"),
];

/// Builds `build/image/reprieve-cloud.qcow2`, unless it is there and nothing has changed.
pub fn build(anew: bool) -> Result<PathBuf> {
    let started = Instant::now();
    println!("cloud image");
    let image = paths::build("image").join("reprieve-cloud.qcow2");
    let base = paths::build("image").join("cloud-base.tar");
    paths::ensure_directory(&paths::build("image"))?;
    let base_digest = super::digest(&[recipe("packages.list")], &[])?;
    let texts = ["fstab", "grub.cfg", "grub-efi.cfg"].map(recipe);
    let image_digest = super::digest(&texts, &[base_digest.as_bytes(), &RECIPE_VERSION.to_le_bytes()])?;
    if !anew && image.is_file() && is_recorded("cloud-image", &image_digest) {
        println!("  {} is current", image.display());
        return Ok(image);
    }
    if anew || !base.is_file() || !is_recorded("cloud-base", &base_digest) {
        println!("  building the base system (some minutes, once)");
        root::build_base(&base, &recipe("packages.list"), &[])?;
        record("cloud-base", &base_digest)?;
    }
    let folder = paths::build("image/cloud-root");
    let result = root::unpack(&base, &folder).and_then(|()| configure(&folder)).and_then(|()| {
        let raw = paths::build("image/cloud.raw");
        disk::assemble(&folder, &efi_files(&folder)?, &raw)?;
        convert(&raw, &image)
    });
    root::remove(&folder)?;
    result?;
    record("cloud-image", &image_digest)?;
    super::print(&image, started)?;
    Ok(image)
}

fn recipe(name: &str) -> PathBuf {
    paths::repository().join("images/cloud").join(name)
}

fn text(name: &str) -> Result<String> {
    paths::read_text(&recipe(name)).map(|text| with_identities(&text))
}

/// What the installer of a cloud image adds to Debian's packages.
fn configure(folder: &Path) -> Result<()> {
    root::install_text(&text("fstab")?, &folder.join("etc/fstab"))?;
    root::install_text(&text("grub.cfg")?, &folder.join("boot/grub/grub.cfg"))?;
    root::install_text("localhost\n", &folder.join("etc/hostname"))?;
    root::install_text("127.0.0.1 localhost\n::1 localhost\n", &folder.join("etc/hosts"))?;
    // Only so that the mount point of fstab is there.
    root::install_text("", &folder.join("boot/efi/.empty"))?;
    // What netplan writes at the first boot, after systemd has read its units, somebody must read.
    root::systemctl(folder, "enable", &["systemd-networkd.service"])?;
    root::forget_own_state(folder)
}

fn efi_files(folder: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
    let early = paths::build("image/grub-efi.cfg");
    paths::write_whole(&early, text("grub-efi.cfg")?.as_bytes())?;
    let mut files: Vec<_> = EFI_PROGRAMS.iter().map(|(from, to)| (folder.join(from), *to)).collect();
    // Where the signed GRUB looks for its first lines.
    files.push((early, "EFI/debian/grub.cfg"));
    Ok(files)
}

/// Compressed, as Debian publishes its images.
fn convert(raw: &Path, image: &Path) -> Result<()> {
    let partial = image.with_extension("partial");
    run_logged(
        "converting the image to qcow2",
        Command::new("qemu-img").args(["convert", "-c", "-f", "raw", "-O", "qcow2"]).arg(raw).arg(&partial),
        "image.log",
    )?;
    std::fs::rename(&partial, image)?;
    std::fs::remove_file(raw)?;
    Ok(())
}
