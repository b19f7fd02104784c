//! The disk around the root file system: partition table, boot loaders, file systems. Nothing is mounted.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{ROOT_UUID, grub};
use crate::command::{located, output, privileged, run_logged};
use crate::deb::SOURCE_DATE_EPOCH;
use crate::paths;

const LOG: &str = "image.log";
const MEBIBYTE: u64 = 1 << 20;
const SECTOR_BYTES: u64 = 512;

const DISK_GUID: &str = "6f1d3c52-95b0-4c5e-9d0a-52e3f0b7a000";
const EFI_VOLUME_ID: &str = "52e3f0b7";
const ROOT_HASH_SEED: &str = "6f1d3c52-95b0-4c5e-9d0a-52e3f0b7a002";

/// A partition, in whole mebibytes.
struct Partition {
    number: u32,
    name: &'static str,
    /// sgdisk's short code of the type.
    kind: &'static str,
    guid: &'static str,
    start_mebibytes: u64,
    size_mebibytes: u64,
}

const BIOS_BOOT: Partition = Partition {
    number: 1,
    name: "bios-boot",
    kind: "ef02",
    guid: "6f1d3c52-95b0-4c5e-9d0a-52e3f0b7a011",
    start_mebibytes: 1,
    size_mebibytes: 1,
};
const EFI_SYSTEM: Partition = Partition {
    number: 2,
    name: "efi-system",
    kind: "ef00",
    guid: "6f1d3c52-95b0-4c5e-9d0a-52e3f0b7a012",
    start_mebibytes: 2,
    size_mebibytes: 64,
};
const ROOT: Partition = Partition {
    number: 3,
    name: "root",
    kind: "8304",
    guid: "6f1d3c52-95b0-4c5e-9d0a-52e3f0b7a013",
    start_mebibytes: 66,
    size_mebibytes: 1469,
};
/// Where the root file system lies, in bytes from the start of the disk.
pub fn root_place() -> std::ops::Range<u64> {
    let start = ROOT.start_mebibytes * MEBIBYTE;
    start..start + ROOT.size_mebibytes * MEBIBYTE
}

/// The EFI system partition's own identity, as Linux shows it.
pub const EFI_SYSTEM_GUID: &str = EFI_SYSTEM.guid;

/// One mebibyte behind the last partition holds the second partition table.
const DISK_MEBIBYTES: u64 = ROOT.start_mebibytes + ROOT.size_mebibytes + 1;

/// Makes the image file from the root file system's folder and the files of the EFI system partition,
/// each with its path there.
pub fn assemble(root: &Path, efi_files: &[(PathBuf, &str)], image: &Path) -> Result<()> {
    println!("  making the disk");
    let partial = image.with_extension("partial");
    let disk = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&partial)
        .with_context(|| format!("making {}", partial.display()))?;
    disk.set_len(DISK_MEBIBYTES * MEBIBYTE).with_context(|| format!("sizing {}", partial.display()))?;
    partition(&partial)?;
    grub::install_bios(&disk, BIOS_BOOT.start_mebibytes * MEBIBYTE, BIOS_BOOT.size_mebibytes * MEBIBYTE)?;
    let efi_system = paths::build("image/efi-system.vfat");
    make_efi_system(&efi_system, efi_files)?;
    copy_into(&efi_system, &disk, EFI_SYSTEM.start_mebibytes)?;
    let root_file_system = paths::build("image/root.ext4");
    make_root_file_system(root, &root_file_system)?;
    copy_into(&root_file_system, &disk, ROOT.start_mebibytes)?;
    disk.sync_all().with_context(|| format!("flushing {}", partial.display()))?;
    for temporary in [&efi_system, &root_file_system] {
        std::fs::remove_file(temporary).with_context(|| format!("removing {}", temporary.display()))?;
    }
    std::fs::rename(&partial, image).with_context(|| format!("renaming {} into place", partial.display()))
}

fn partition(disk: &Path) -> Result<()> {
    let mut command = Command::new(located("sgdisk"));
    command.args(["--clear", &format!("--disk-guid={DISK_GUID}")]);
    for partition in [&BIOS_BOOT, &EFI_SYSTEM, &ROOT] {
        let number = partition.number;
        let first = partition.start_mebibytes * MEBIBYTE / SECTOR_BYTES;
        let last = (partition.start_mebibytes + partition.size_mebibytes) * MEBIBYTE / SECTOR_BYTES - 1;
        command.arg(format!("--new={number}:{first}:{last}"));
        command.arg(format!("--typecode={number}:{}", partition.kind));
        command.arg(format!("--partition-guid={number}:{}", partition.guid));
        command.arg(format!("--change-name={number}:{}", partition.name));
    }
    run_logged("writing the partition table", command.arg(disk), LOG)
}

fn make_efi_system(file: &Path, efi_files: &[(PathBuf, &str)]) -> Result<()> {
    empty_file(file, EFI_SYSTEM.size_mebibytes)?;
    run_logged(
        "making the EFI system partition",
        Command::new(located("mkfs.vfat")).args(["--invariant", "-n", "EFI", "-i", EFI_VOLUME_ID]).arg(file),
        LOG,
    )?;
    let tool = |name: &str| {
        let mut command = Command::new(name);
        command.env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH).env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(file);
        command
    };
    let paths = efi_files.iter().map(|(_, path)| Path::new(path));
    let folders: BTreeSet<&Path> = paths.flat_map(|path| path.ancestors().skip(1)).collect();
    for folder in folders.into_iter().filter(|folder| !folder.as_os_str().is_empty()) {
        run_logged(
            "making folders on the EFI system partition",
            tool("mmd").arg(format!("::/{}", folder.display())),
            LOG,
        )?;
    }
    for (source, path) in efi_files {
        run_logged("copying a boot program", tool("mcopy").arg(source).arg(format!("::/{path}")), LOG)?;
    }
    Ok(())
}

fn make_root_file_system(root: &Path, file: &Path) -> Result<()> {
    empty_file(file, ROOT.size_mebibytes)?;
    // Everything is initialised now: a kernel that does it later would write to every node's disk. The
    // features left out are those that GRUB 2.06 cannot read.
    run_logged(
        "making the root file system",
        privileged("env")?
            .arg(format!("E2FSPROGS_FAKE_TIME={SOURCE_DATE_EPOCH}"))
            .arg(located("mkfs.ext4"))
            .args(["-q", "-F", "-L", "root", "-U", ROOT_UUID, "-m", "1", "-J", "size=16"])
            .args(["-O", "^metadata_csum_seed,^orphan_file"])
            .arg("-E")
            .arg(format!("hash_seed={ROOT_HASH_SEED},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0"))
            .arg("-d")
            .arg(root)
            .arg(file),
        LOG,
    )?;
    let checked =
        output("checking the root file system", privileged(located("e2fsck"))?.args(["-f", "-n"]).arg(file))?;
    if !checked.contains("non-contiguous") {
        bail!("checking the root file system: e2fsck did not finish: {checked}");
    }
    Ok(())
}

fn empty_file(file: &Path, mebibytes: u64) -> Result<()> {
    let made = File::create(file).with_context(|| format!("making {}", file.display()))?;
    made.set_len(mebibytes * MEBIBYTE).with_context(|| format!("sizing {}", file.display()))
}

/// Copies a file system to its place on the disk; where it is zero, the disk stays a hole.
fn copy_into(file: &Path, disk: &File, start_mebibytes: u64) -> Result<()> {
    const BLOCK_BYTES: usize = 64 << 10;
    let mut source = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    let mut block = vec![0_u8; BLOCK_BYTES];
    let mut offset = start_mebibytes * MEBIBYTE;
    loop {
        let length = source.read(&mut block).with_context(|| format!("reading {}", file.display()))?;
        let Some(bytes) = block.get(..length).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        if bytes.iter().any(|byte| *byte != 0) {
            disk.write_all_at(bytes, offset)
                .with_context(|| format!("copying {} onto the disk", file.display()))?;
        }
        offset += u64::try_from(length).unwrap_or(u64::MAX);
    }
}
