//! The image's root file system as a folder: the base system, then the agent's package and the configuration.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{recipe, recipe_text, with_identities};
use crate::apt::{self, PrivateApt};
use crate::command::{privileged, run_logged};
use crate::deb::SOURCE_DATE_EPOCH;
use crate::paths;

const LOG: &str = "image.log";

/// Left out of every package: nobody reads them on a node, and every byte is written to every node.
const PATHS_EXCLUDED: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
];

/// Units that would change files that are not the node's own, or only slow the start down.
const UNITS_MASKED: &[&str] = &[
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "getty-static.service",
    "systemd-networkd-wait-online.service",
];

const UNITS_ENABLED: &[&str] = &["systemd-networkd.service", "ssh-host-key.service"];

/// Bootstraps Debian with the packages of a list into a tar archive. Files that are `placed` are there
/// before any kernel is installed.
pub fn build_base(archive: &Path, packages: &Path, placed: &[(PathBuf, &str)]) -> Result<()> {
    let source = PrivateApt::of_this_release()?;
    let include: Vec<String> = paths::read_text(packages)?
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let partial = archive.with_extension("partial.tar");
    let mut command = privileged("env")?;
    command.arg(format!("SOURCE_DATE_EPOCH={SOURCE_DATE_EPOCH}")).arg("mmdebstrap");
    command.args(["--mode=root", "--variant=minbase", "--architectures=amd64", "--format=tar"]);
    command.arg(format!("--include={}", include.join(",")));
    for path in PATHS_EXCLUDED {
        command.arg(format!("--dpkgopt=path-exclude={path}"));
    }
    command.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
    for (file, target) in placed {
        command.arg(format!("--essential-hook=install -D -m 644 '{}' \"$1/{target}\"", file.display()));
    }
    command.arg(apt::RELEASE).arg(&partial).args(source.source_lines()?);
    run_logged("bootstrapping Debian", &mut command, LOG)?;
    run_logged(
        "putting the base system in place",
        privileged("mv")?.args([&partial, &archive.to_path_buf()]),
        LOG,
    )
}

/// Makes the root file system's folder from the base system; the caller removes it.
pub fn assemble(base: &Path, agent_package: &Path) -> Result<PathBuf> {
    let root = paths::build("image/root");
    println!("  installing the agent's package and the configuration");
    unpack(base, &root)?;
    install_agent(&root, agent_package)?;
    configure(&root)?;
    forget_own_state(&root)?;
    Ok(root)
}

/// Unpacks a base system into a folder that is empty then.
pub fn unpack(base: &Path, root: &Path) -> Result<()> {
    remove(root)?;
    paths::ensure_directory(root)?;
    run_logged(
        "unpacking the base system",
        privileged("tar")?
            .args([
                "--extract",
                "--preserve-permissions",
                "--numeric-owner",
                "--xattrs",
                "--xattrs-include=*",
            ])
            .arg("--file")
            .arg(base)
            .arg("--directory")
            .arg(root),
        LOG,
    )
}

fn install_agent(root: &Path, agent_package: &Path) -> Result<()> {
    let inside = root.join("agent.deb");
    run_logged("copying the agent's package", privileged("cp")?.args([agent_package, &inside]), LOG)?;
    run_logged(
        "installing the agent's package",
        privileged("chroot")?.arg(root).args(["dpkg", "--install", "/agent.deb"]),
        LOG,
    )?;
    run_logged("removing the copy of the package", privileged("rm")?.arg(&inside), LOG)
}

fn configure(root: &Path) -> Result<()> {
    let overlay = recipe("overlay");
    for file in files_below(&overlay)? {
        let target = root.join(file.strip_prefix(&overlay)?);
        install_text(&with_identities(&paths::read_text(&file)?), &target)?;
    }
    install_text(&recipe_text("grub.cfg")?, &root.join("boot/grub/grub.cfg"))?;
    install_text("debian\n", &root.join("etc/hostname"))?;
    install_text("127.0.0.1 localhost debian\n::1 localhost\n", &root.join("etc/hosts"))?;
    systemctl(root, "enable", UNITS_ENABLED)?;
    systemctl(root, "mask", UNITS_MASKED)
}

/// Has systemd in the image do something with units.
pub fn systemctl(root: &Path, verb: &str, units: &[&str]) -> Result<()> {
    run_logged(
        &format!("systemctl {verb} in the image"),
        privileged("chroot")?.arg(root).args(["systemctl", "--quiet", verb]).args(units),
        LOG,
    )
}

/// Puts a text into the root file system, owned by root.
pub fn install_text(text: &str, target: &Path) -> Result<()> {
    let staged = paths::build("image/staged");
    paths::write_whole(&staged, text.as_bytes())?;
    run_logged(
        &format!("installing {}", target.display()),
        privileged("install")?
            .args(["-D", "--owner=0", "--group=0", "--mode=644"])
            .args([&staged, &target.to_path_buf()]),
        LOG,
    )
}

/// Keys, names and times that each node must have of its own, or that differ from build to build.
pub fn forget_own_state(root: &Path) -> Result<()> {
    const SCRIPT: &str = r#"
set -eu
cd "$1"
rm -f etc/ssh/ssh_host_* etc/resolv.conf var/cache/ldconfig/aux-cache
rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/apt tmp/* run/*
find var/log -type f -delete
: > etc/machine-id
find . -xdev -newermt "@$2" -exec touch --no-dereference --date="@$2" {} +
"#;
    run_logged(
        "removing what each machine has of its own",
        privileged("sh")?.args(["-c", SCRIPT, "sh"]).arg(root).arg(SOURCE_DATE_EPOCH),
        LOG,
    )
}

/// Removes the folder. It is root's, and nothing is mounted in it.
pub fn remove(root: &Path) -> Result<()> {
    run_logged(
        "removing the unpacked root file system",
        privileged("rm")?.args(["--recursive", "--force", "--one-file-system"]).arg(root),
        LOG,
    )
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() { waiting.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}
