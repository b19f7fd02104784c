//! The Debian packages that building and testing need: what lacks is said and installed.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::PrivateApt;
use crate::command::{output, privileged, run_logged};

/// What the ramdisk and the packages are built with.
pub const BUILD: &[&str] = &[
    "binutils",   // strip
    "kmod",       // depmod: which module needs which
    "musl-tools", // C parts of the static agent
    "zstd",       // the ramdisk's compression
];

/// What `cargo xtask check` asks for its opinion.
pub const CHECK: &[&str] = &["git", "systemd"];

/// What the tests of the packages ask for its opinion.
pub const TEST: &[&str] = &["dosfstools", "mtools"];

/// What the operating system image is built with.
pub const IMAGE: &[&str] = &[
    "dosfstools", // mkfs.vfat
    "e2fsprogs",  // mkfs.ext4 from a folder
    "gdisk",      // the partition table
    "grub-common",
    "grub-efi-amd64-bin",
    "grub-pc-bin",
    "mmdebstrap",
    "mtools",     // files into the EFI system partition without mounting it
    "qemu-utils", // qcow2
    "zstd",
];

/// What the laboratory of network namespaces and virtual machines needs.
pub const LABORATORY: &[&str] = &[
    "atftp",       // a TFTP client that is not ours
    "btrfs-progs", // file systems of roots
    "curl",
    "dnsmasq-base", // the site's own DHCP server in the ProxyDHCP tests
    "ipxe-qemu",    // PXE ROMs of virtual network cards
    "iproute2",
    "mtools",         // what the ramdisk wrote, read by somebody else's program
    "openssh-client", // a login that is not ours
    "ovmf",           // UEFI firmware
    "qemu-system-x86",
    "qemu-utils",
    "swtpm",    // TPMs of virtual machines
    "xfsprogs", // file systems of roots
    "xz-utils",
];

/// The tools that ours are measured beside.
pub const BENCH: &[&str] = &[
    "b3sum",
    "bmap-tools",
    "curl",
    "diffutils", // cmp
    "e2fsprogs", // mkfs.ext4
    "fio",
    "gdisk",
    "qemu-utils",
    "util-linux", // losetup, blkdiscard
    "zstd",
];

/// What it takes to measure in a virtual machine.
pub const BENCH_MACHINE: &[&str] = &["busybox-static", "kmod", "qemu-system-x86"];

/// What `cargo xtask fuzz` builds its library and its first inputs with.
pub const FUZZ: &[&str] = &["btrfs-progs", "e2fsprogs", "g++", "gdisk", "xfsprogs"];

/// The tools that our erase is measured beside, besides those of [`BENCH`].
pub const BENCH_ERASE: &[&str] = &["coreutils", "nwipe"];

/// Makes sure that the packages are installed; says which ones it installs.
pub fn ensure(packages: &[&str]) -> Result<()> {
    let mut missing = Vec::new();
    for package in packages {
        if installed_version(package)?.is_none() {
            missing.push(*package);
        }
    }
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing the Debian packages that are missing: {}", missing.join(" "));
    let (emulator, plain): (Vec<&str>, Vec<&str>) =
        missing.into_iter().partition(|package| package.starts_with("qemu-"));
    if !plain.is_empty() {
        update_system_lists()?;
        install(&[], &plain)?;
    }
    if !emulator.is_empty() {
        install_emulator(&emulator)?;
    }
    Ok(())
}

/// The version of a package, if it is installed.
fn installed_version(package: &str) -> Result<Option<String>> {
    let result = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status} ${Version}", package])
        .output()
        .context(
            "asking which packages are installed: starting dpkg-query (Reprieve is built on Debian 12)",
        )?;
    // dpkg-query fails for a package that it has never heard of.
    let text = String::from_utf8_lossy(&result.stdout).into_owned();
    Ok(text.strip_prefix("installed ").map(str::to_owned))
}

/// QEMU's parts refuse to be mixed: where one of them is from backports, the rest comes from there.
fn install_emulator(packages: &[&str]) -> Result<()> {
    let mut has_backport = false;
    for part in ["qemu-utils", "qemu-system-common", "qemu-system-x86"] {
        has_backport |= installed_version(part)?.is_some_and(|version| version.contains("bpo"));
    }
    if !has_backport {
        update_system_lists()?;
        return install(&[], packages);
    }
    println!("  parts of QEMU are from {0}-backports here, so the rest is too", crate::apt::RELEASE);
    let backports = PrivateApt::of_backports()?;
    backports.update()?;
    let mut options = backports.options();
    options.push(format!("--target-release={}-backports", crate::apt::RELEASE));
    install(&options, packages)
}

fn update_system_lists() -> Result<()> {
    println!("  apt-get update");
    run_logged("updating the package lists", privileged("apt-get")?.arg("update"), "apt.log")
}

fn install(options: &[String], packages: &[&str]) -> Result<()> {
    println!("  apt-get install {}", packages.join(" "));
    run_logged(
        &format!("installing {}", packages.join(" ")),
        privileged("env")?
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
            .args(options)
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages),
        "apt.log",
    )?;
    for package in packages {
        if installed_version(package)?.is_none() {
            bail!(
                "apt-get said that it installed {package}, but dpkg does not know it; see build/log/apt.log"
            );
        }
    }
    Ok(())
}

/// The architecture of this machine, as Debian calls it.
pub fn architecture() -> Result<String> {
    let text = output("asking for the architecture", Command::new("dpkg").arg("--print-architecture"))?;
    Ok(text.trim().to_owned())
}
