//! `cargo xtask deb`: Debian packages of agent, boot service, ramdisk and command.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{output, run_logged};
use crate::{ipxe, packages, paths, ramdisk, toolchain};

/// Files get this time, so that the same input gives the same package: 2025-01-01 00:00 UTC.
pub const SOURCE_DATE_EPOCH: &str = "1735689600";

/// What a program needs that is linked with the C library of Debian 12.
const DEBIAN_12: &str = "libc6 (>= 2.36)";

/// What to build.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Cargo profile of service and command.
    #[arg(long, default_value = "release")]
    pub profile: String,
    /// Cargo profile of the agent, which is the ramdisk's as well.
    #[arg(long, default_value = "ramdisk")]
    pub agent_profile: String,
    /// A static program to pack as the agent, instead of building it.
    #[arg(long, value_name = "FILE")]
    pub agent: Option<PathBuf>,
    /// Pack an agent that is linked with the C library of Debian 12 or later, and not statically, so that it
    /// can load NVIDIA's management library (NVML). The ramdisk's agent stays static.
    #[arg(long, conflicts_with = "agent")]
    pub agent_loads_nvml: bool,
    /// Only the agent's package.
    #[arg(long)]
    pub agent_only: bool,
}

/// One package.
struct Package<'a> {
    name: &'static str,
    summary: &'static str,
    depends: &'static str,
    files: Vec<(String, Content<'a>)>,
    /// A unit that is enabled and started when the package is installed.
    unit: Option<&'static str>,
    /// Shell commands of the maintainer script that must run before the unit starts.
    before_start: &'static str,
}

/// What a file of a package holds.
enum Content<'a> {
    /// An executable that was built.
    Program(&'a Path),
    /// A file of the repository.
    Source(&'static str),
    /// Text made here.
    Text(String),
    /// A file that was built or fetched, as it is.
    Data(PathBuf),
}

/// Builds the packages into `build/deb/`; gives their files.
pub fn build(options: &Options) -> Result<Vec<PathBuf>> {
    packages::ensure(packages::BUILD)?;
    println!("packages");
    let mut built = Vec::new();
    if options.agent_loads_nvml {
        let agent = toolchain::build_native("reprieve-agent", &options.agent_profile)?;
        built.push(agent_package_with(&agent, DEBIAN_12)?);
    }
    if !(options.agent_loads_nvml && options.agent_only) {
        let agent = match &options.agent {
            Some(file) => file.clone(),
            None => toolchain::build_static("reprieve-agent", &options.agent_profile)?,
        };
        if !options.agent_loads_nvml {
            built.push(agent_package(&agent)?);
        }
        if !options.agent_only {
            let service = toolchain::build_native("reprieve-bootsvc", &options.profile)?;
            let command = toolchain::build_native("reprieve", &options.profile)?;
            built.push(service_package(&service)?);
            built.push(ramdisk_package(&agent)?);
            built.push(command_package(&command)?);
        }
    }
    for file in &built {
        println!("  {}", file.display());
    }
    Ok(built)
}

/// The agent's package, from a static agent that was built already.
pub fn agent_package(agent: &Path) -> Result<PathBuf> {
    agent_package_with(agent, "")
}

fn agent_package_with(agent: &Path, depends: &'static str) -> Result<PathBuf> {
    write(&Package {
        name: "reprieve-agent",
        summary: "watches a machine and decides from evidence whether it must be wiped",
        depends,
        files: vec![
            ("usr/bin/reprieve-agent".to_owned(), Content::Program(agent)),
            (
                "usr/lib/systemd/system/reprieve-agent.service".to_owned(),
                Content::Source("systemd/reprieve-agent.service"),
            ),
        ],
        unit: Some("reprieve-agent.service"),
        before_start: "",
    })
}

fn service_package(service: &Path) -> Result<PathBuf> {
    write(&Package {
        name: "reprieve-bootsvc",
        summary: "network-boots machines and keeps their jobs",
        depends: "libc6 (>= 2.36), systemd, reprieve-ramdisk",
        files: vec![
            ("usr/bin/reprieve-bootsvc".to_owned(), Content::Program(service)),
            (
                "usr/lib/systemd/system/reprieve-bootsvc.service".to_owned(),
                Content::Source("systemd/reprieve-bootsvc.service"),
            ),
            (
                "usr/lib/sysusers.d/reprieve-bootsvc.conf".to_owned(),
                Content::Source("systemd/reprieve-bootsvc.sysusers.conf"),
            ),
            (
                "usr/lib/tmpfiles.d/reprieve-bootsvc.conf".to_owned(),
                Content::Source("systemd/reprieve-bootsvc.tmpfiles.conf"),
            ),
        ],
        unit: Some("reprieve-bootsvc.service"),
        before_start: concat!(
            "systemd-sysusers reprieve-bootsvc.conf\n",
            // Where an image is built there is no /proc; the first start makes the folders then.
            "if [ -d /proc/self ]; then\n\tsystemd-tmpfiles --create reprieve-bootsvc.conf\nfi\n",
        ),
    })
}

/// What the service hands out, where it looks for it when its configuration names nothing else.
fn ramdisk_package(agent: &Path) -> Result<PathBuf> {
    let options = ramdisk::Options { agent: Some(agent.to_path_buf()), ..ramdisk::Options::default() };
    let ramdisk = ramdisk::build(&options)?;
    let mut files = vec![
        ("usr/share/reprieve/ramdisk/vmlinuz".to_owned(), Content::Data(ramdisk.kernel)),
        ("usr/share/reprieve/ramdisk/initramfs.cpio.zst".to_owned(), Content::Data(ramdisk.initramfs)),
        (
            "usr/share/reprieve/ramdisk/initramfs-server.cpio.zst".to_owned(),
            Content::Data(ramdisk.server_initramfs),
        ),
    ];
    for (name, file) in ipxe::loaders()? {
        files.push((format!("usr/share/reprieve/ipxe/{name}"), Content::Data(file)));
    }
    write(&Package {
        name: "reprieve-ramdisk",
        summary: "kernel, ramdisk and boot programs that Reprieve hands out",
        depends: "",
        files,
        unit: None,
        before_start: "",
    })
}

fn command_package(command: &Path) -> Result<PathBuf> {
    let mut files = vec![("usr/bin/reprieve".to_owned(), Content::Program(command))];
    for (shell, path) in [
        ("bash", "usr/share/bash-completion/completions/reprieve"),
        ("zsh", "usr/share/zsh/vendor-completions/_reprieve"),
        ("fish", "usr/share/fish/vendor_completions.d/reprieve.fish"),
    ] {
        let text = output(
            &format!("asking for {shell} completions"),
            Command::new(command).args(["completions", shell]),
        )?;
        files.push((path.to_owned(), Content::Text(text)));
    }
    for (name, text) in manual_pages(command)? {
        files.push((format!("usr/share/man/man1/{name}"), Content::Text(text)));
    }
    write(&Package {
        name: "reprieve",
        summary: "the technician's command of Reprieve",
        depends: "libc6 (>= 2.36)",
        files,
        unit: None,
        before_start: "",
    })
}

/// Manual pages as the command writes them into a folder.
fn manual_pages(command: &Path) -> Result<Vec<(String, String)>> {
    let folder = paths::build("deb/man");
    paths::fresh_directory(&folder)?;
    output("asking for the manual pages", Command::new(command).arg("man").arg(&folder))?;
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        pages.push((name, paths::read_text(&path)?));
    }
    if pages.is_empty() {
        bail!("`reprieve man` wrote no manual page into {}", folder.display());
    }
    pages.sort();
    Ok(pages)
}

fn write(package: &Package) -> Result<PathBuf> {
    let root = paths::build("deb").join(package.name);
    paths::fresh_directory(&root)?;
    for (path, content) in &package.files {
        put(&root.join(path), content)?;
    }
    put_text(&root.join("DEBIAN/control"), &control(package, installed_kibibytes(&root)?)?, 0o644)?;
    if let Some(unit) = package.unit {
        put_text(&root.join("DEBIAN/postinst"), &after_installation(unit, package.before_start), 0o755)?;
        put_text(&root.join("DEBIAN/prerm"), &before_removal(unit), 0o755)?;
        put_text(&root.join("DEBIAN/postrm"), AFTER_REMOVAL, 0o755)?;
    }
    let file = paths::build("deb").join(format!(
        "{}_{}_{}.deb",
        package.name,
        env!("CARGO_PKG_VERSION"),
        packages::architecture()?
    ));
    run_logged(
        &format!("packing {}", package.name),
        Command::new("dpkg-deb")
            .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
            .args(["--root-owner-group", "--build"])
            .args([&root, &file]),
        "deb.log",
    )?;
    Ok(file)
}

fn put(target: &Path, content: &Content) -> Result<()> {
    match content {
        Content::Text(text) => put_text(target, text, 0o644),
        Content::Source(path) => put_text(target, &paths::read_text(&paths::repository().join(path))?, 0o644),
        Content::Data(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            paths::write_whole(target, &bytes)?;
            set_mode(target, 0o644)
        }
        Content::Program(path) => {
            if let Some(parent) = target.parent() {
                paths::ensure_directory(parent)?;
            }
            run_logged(
                &format!("stripping {}", path.display()),
                Command::new("strip").arg("-o").arg(target).arg(path),
                "deb.log",
            )?;
            set_mode(target, 0o755)
        }
    }
}

fn put_text(target: &Path, text: &str, mode: u32) -> Result<()> {
    paths::write_whole(target, text.as_bytes())?;
    set_mode(target, mode)
}

/// Sets the mode of a file and of the folders above it: a strict umask must not get into a package.
fn set_mode(target: &Path, mode: u32) -> Result<()> {
    let apply = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
            .with_context(|| format!("setting the mode of {}", path.display()))
    };
    apply(target, mode)?;
    let root = paths::build("deb");
    for folder in target.ancestors().skip(1).take_while(|folder| *folder != root) {
        apply(folder, 0o755)?;
    }
    Ok(())
}

fn control(package: &Package, installed_kibibytes: u64) -> Result<String> {
    let depends = match package.depends {
        "" => String::new(),
        list => format!("Depends: {list}\n"),
    };
    Ok(format!(
        "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: the Reprieve contributors <root@localhost>\n\
         Installed-Size: {installed_kibibytes}\n{depends}Section: admin\nPriority: optional\nDescription: {}\n \
         Reprieve network-boots machines and decides from evidence whether each one\n must be wiped.\n",
        package.name,
        env!("CARGO_PKG_VERSION"),
        packages::architecture()?,
        package.summary,
    ))
}

fn installed_kibibytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
        let metadata = entry.metadata().with_context(|| format!("looking at {}", entry.path().display()))?;
        bytes += if metadata.is_dir() { installed_kibibytes(&entry.path())? * 1024 } else { metadata.len() };
    }
    Ok(bytes.div_ceil(1024))
}

/// Enables the unit also in a folder that systemd does not run in, as when an image is built.
fn after_installation(unit: &str, before_start: &str) -> String {
    format!(
        "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n{before_start}if [ -x /usr/bin/systemctl ]; then\n\
         \tsystemctl --quiet enable {unit}\n\tif [ -d /run/systemd/system ]; then\n\t\tsystemctl daemon-reload\n\
         \t\tsystemctl restart {unit}\n\tfi\nfi\nfi\n"
    )
}

fn before_removal(unit: &str) -> String {
    format!(
        "#!/bin/sh\nset -e\nif [ \"$1\" = remove ] && [ -x /usr/bin/systemctl ]; then\n\
         \tif [ -d /run/systemd/system ]; then\n\t\tsystemctl stop {unit}\n\tfi\n\
         \tsystemctl --quiet disable {unit}\nfi\n"
    )
}

const AFTER_REMOVAL: &str =
    "#!/bin/sh\nset -e\nif [ -d /run/systemd/system ]; then\n\tsystemctl daemon-reload\nfi\n";
