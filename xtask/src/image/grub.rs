//! GRUB for BIOS and UEFI, put in place without mounting anything.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::recipe_text;
use crate::command::{located, run_logged};
use crate::paths;

const SECTOR_BYTES: usize = 512;

/// What both need: to find the root file system and to load a kernel from it.
const MODULES: &[&str] = &[
    "configfile",
    "echo",
    "ext2",
    "linux",
    "minicmd",
    "normal",
    "part_gpt",
    "search",
    "search_fs_uuid",
    "serial",
    "terminal",
    "test",
];

/// Makes a GRUB image with everything in it that it needs.
fn make_image(format: &str, file: &Path, more_modules: &[&str]) -> Result<()> {
    let early = paths::build("image/grub-early.cfg");
    paths::write_whole(&early, recipe_text("grub-early.cfg")?.as_bytes())?;
    run_logged(
        &format!("making GRUB for {format}"),
        Command::new(located("grub-mkimage"))
            .args(["--format", format, "--prefix", "/boot/grub", "--config"])
            .arg(&early)
            .arg("--output")
            .arg(file)
            .args(MODULES)
            .args(more_modules),
        "image.log",
    )
}

/// GRUB as an EFI program.
pub fn efi_program() -> Result<PathBuf> {
    let file = paths::build("image/BOOTX64.EFI");
    make_image("x86_64-efi", &file, &["fat", "efi_gop", "tpm"])?;
    Ok(file)
}

/// Puts GRUB for BIOS into the first sector and the BIOS boot partition of a disk.
///
/// This is what `grub-install` does where the core image lies in one piece (GRUB manual, "BIOS
/// installation"; `util/setup.c`): the first sector is told where the core image starts, and the core
/// image's first sector where its rest starts.
pub fn install_bios(disk: &File, partition_start_bytes: u64, partition_bytes: u64) -> Result<()> {
    let file = paths::build("image/core.img");
    make_image("i386-pc", &file, &["biosdisk"])?;
    let mut core = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let length = u64::try_from(core.len()).unwrap_or(u64::MAX);
    if length > partition_bytes {
        bail!("GRUB's core image has {length} bytes, the BIOS boot partition only {partition_bytes}");
    }
    let first_sector = partition_start_bytes / SECTOR_BYTES as u64;
    let boot_file = Path::new("/usr/lib/grub/i386-pc/boot.img");
    let mut boot = std::fs::read(boot_file)
        .with_context(|| format!("reading {} (package grub-pc-bin)", boot_file.display()))?;

    let patched =
        patch_boot_sector(&mut boot, first_sector).and_then(|()| patch_core(&mut core, first_sector + 1));
    patched.context("GRUB's boot sector or core image is shorter than its own format says")?;
    // Only the code: the partition table behind it stays.
    const CODE_BYTES: usize = 440;
    let code = boot.get(..CODE_BYTES).context("GRUB's boot sector is too short")?;
    disk.write_all_at(code, 0).context("writing the boot sector")?;
    disk.write_all_at(&core, partition_start_bytes).context("writing GRUB's core image")
}

/// `GRUB_BOOT_MACHINE_KERNEL_SECTOR` and `GRUB_BOOT_MACHINE_DRIVE_CHECK` of GRUB's `boot.h`.
fn patch_boot_sector(boot: &mut [u8], core_sector: u64) -> Option<()> {
    boot.get_mut(0x5c..0x64)?.copy_from_slice(&core_sector.to_le_bytes());
    // Two no-operations: some BIOSes hand over a wrong drive number; on a hard disk it is corrected.
    boot.get_mut(0x66..0x68)?.copy_from_slice(&[0x90, 0x90]);
    Some(())
}

/// The block list at the end of the core image's first sector: where the rest starts. Its length is there already.
fn patch_core(core: &mut [u8], rest_sector: u64) -> Option<()> {
    const LIST_ENTRY_BYTES: usize = 12;
    let at = SECTOR_BYTES - LIST_ENTRY_BYTES;
    core.get_mut(at..at + 8)?.copy_from_slice(&rest_sector.to_le_bytes());
    Some(())
}
