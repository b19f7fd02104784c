//! `cargo xtask ramdisk`: kernel and ramdisk, where the ramdisk is the agent and a few kernel modules.

pub mod cpio;
mod firmware;
mod modules;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::kernel::{self, Kernel};
use crate::{ipxe, packages, paths, toolchain};

/// What to build.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Put the firmware files that the server set's drivers name into the server set's ramdisk.
    #[arg(long)]
    pub firmware: bool,
    /// Cargo profile of the agent.
    #[arg(long, default_value = "ramdisk")]
    pub profile: String,
    /// A static program to put in as the agent, instead of building it.
    #[arg(long, value_name = "FILE")]
    pub agent: Option<PathBuf>,
    /// Only the set for virtual machines.
    #[arg(long)]
    pub virtual_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { firmware: false, profile: "ramdisk".to_owned(), agent: None, virtual_only: false }
    }
}

/// A set of modules and how large its ramdisk may be.
struct Set {
    name: &'static str,
    list: &'static str,
    file: &'static str,
    size_aim_bytes: u64,
}

const MEBIBYTE: u64 = 1 << 20;

const VIRTUAL: Set = Set {
    name: "virtual machines",
    list: "modules-virtual.list",
    file: "initramfs.cpio.zst",
    size_aim_bytes: 16 * MEBIBYTE,
};
const SERVER: Set = Set {
    name: "servers",
    list: "modules-server.list",
    file: "initramfs-server.cpio.zst",
    size_aim_bytes: 40 * MEBIBYTE,
};

/// What was built; also written as `build/ramdisk/report.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The kernel's release.
    pub kernel_release: String,
    /// Size of the kernel in bytes.
    pub kernel_bytes: u64,
    /// Size of the agent before compression, in bytes.
    pub agent_bytes: u64,
    /// One for each set.
    pub sets: Vec<SetReport>,
}

/// One ramdisk.
#[derive(Debug, Clone, Serialize)]
pub struct SetReport {
    /// Which set of modules.
    pub name: String,
    /// The file in `build/ramdisk`.
    pub file: String,
    /// Its size in bytes.
    pub compressed_bytes: u64,
    /// What it takes in memory, in bytes.
    pub unpacked_bytes: u64,
    /// What it may be at most, in bytes.
    pub size_aim_bytes: u64,
    /// Number of modules.
    pub modules: usize,
    /// Size of the firmware files in it, in bytes.
    pub firmware_bytes: u64,
    /// Modules that the list asks for and that the kernel has built in.
    pub built_in: Vec<String>,
}

/// Where the results are.
#[derive(Debug, Clone)]
pub struct Ramdisk {
    /// The kernel.
    pub kernel: PathBuf,
    /// The ramdisk for virtual machines.
    pub initramfs: PathBuf,
    /// The ramdisk for servers; there unless only the other was asked for.
    pub server_initramfs: PathBuf,
}

/// Builds kernel and ramdisks into `build/ramdisk/`.
pub fn build(options: &Options) -> Result<Ramdisk> {
    let started = Instant::now();
    packages::ensure(packages::BUILD)?;
    println!("ramdisk");
    let kernel = kernel::ensure()?;
    ipxe::ensure()?;
    let agent_file = match &options.agent {
        Some(file) => file.clone(),
        None => toolchain::build_static("reprieve-agent", &options.profile)?,
    };
    toolchain::require_static(&agent_file)?;
    let agent = std::fs::read(&agent_file).with_context(|| format!("reading {}", agent_file.display()))?;
    let folder = paths::build("ramdisk");
    let kernel_bytes =
        std::fs::read(kernel.image()).with_context(|| format!("reading {}", kernel.image().display()))?;
    paths::write_whole(&folder.join("vmlinuz"), &kernel_bytes)?;

    build_laboratory_programs(&folder)?;

    let sets = if options.virtual_only { &[VIRTUAL][..] } else { &[VIRTUAL, SERVER][..] };
    let tree = modules::ModuleTree::read(&kernel.modules())?;
    let mut reports = Vec::new();
    for set in sets {
        let has_firmware = options.firmware && set.name == SERVER.name;
        reports.push(build_set(set, &kernel, &tree, &agent, has_firmware, &folder)?);
    }
    let report = Report {
        kernel_release: kernel.release.clone(),
        kernel_bytes: length(&kernel_bytes),
        agent_bytes: length(&agent),
        sets: reports,
    };
    let json = serde_json::to_vec_pretty(&report).context("writing the ramdisk's report")?;
    paths::write_whole(&folder.join("report.json"), &json)?;
    print(&report, started);
    Ok(Ramdisk {
        kernel: folder.join("vmlinuz"),
        initramfs: folder.join(VIRTUAL.file),
        server_initramfs: folder.join(SERVER.file),
    })
}

/// What the laboratory puts into its machines: the first processes of those whose disks are fake ones
/// (over NVMe/TCP, the kernel's own, and behind the kernel's user-space SCSI target) and of one whose
/// processor and memory have failed, and the agent's commands to a disk one by one. They are not in our
/// ramdisks; the laboratory appends them to a copy, with the kernel modules that only they need.
fn build_laboratory_programs(folder: &Path) -> Result<()> {
    const PROFILE: &str = "ramdisk";
    let mut programs = Vec::new();
    for name in ["fault-attach", "nvme-attach", "scsi-attach", "tcmu-attach"] {
        programs.push((name, toolchain::build_static_program("reprieve-tests", name, PROFILE)?));
    }
    let (package, name, feature) = ("reprieve-agent", "ata-laboratory", "laboratory");
    programs.push((name, toolchain::build_static_program_with(package, name, PROFILE, feature)?));
    for (name, file) in programs {
        toolchain::require_static(&file)?;
        let program = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        paths::write_whole(&folder.join(name), &program)?;
    }
    Ok(())
}

fn build_set(
    set: &Set,
    kernel: &Kernel,
    tree: &modules::ModuleTree,
    agent: &[u8],
    has_firmware: bool,
    folder: &Path,
) -> Result<SetReport> {
    let list = paths::repository().join("images/ramdisk").join(set.list);
    let selection = modules::select(&list, tree)?;
    let mut archive = cpio::Archive::default();
    for directory in ["dev", "proc", "sys", "run", "tmp", "mnt"] {
        archive.directory(directory);
    }
    // The kernel opens the console before anything is mounted on /dev.
    archive.character_device("dev/console", 0o600, 5, 1);
    archive.file("init", 0o755, agent);
    add_modules(&mut archive, kernel, tree, &selection)?;
    let firmware_bytes = if has_firmware { firmware::add(&mut archive, kernel, &selection)? } else { 0 };
    let plain = archive.finish();
    let compressed_bytes = compress_into(&folder.join(set.file), &plain)?;
    Ok(SetReport {
        name: set.name.to_owned(),
        file: set.file.to_owned(),
        compressed_bytes,
        unpacked_bytes: length(&plain),
        size_aim_bytes: set.size_aim_bytes,
        modules: selection.paths.len(),
        firmware_bytes,
        built_in: selection.built_in,
    })
}

fn add_modules(
    archive: &mut cpio::Archive,
    kernel: &Kernel,
    tree: &modules::ModuleTree,
    selection: &modules::Selection,
) -> Result<()> {
    let base = format!("lib/modules/{}", kernel.release);
    for path in &selection.paths {
        let file = kernel.modules().join(path);
        let bytes = std::fs::read(&file).with_context(|| format!("reading module {}", file.display()))?;
        archive.file(&format!("{base}/{path}"), 0o644, &bytes);
    }
    let index = modules::index(tree, selection);
    archive.file(&format!("{base}/modules.dep"), 0o644, index.dependencies.as_bytes());
    archive.file(&format!("{base}/modules.alias"), 0o644, index.aliases.as_bytes());
    archive.file(&format!("{base}/modules.softdep"), 0o644, index.soft.as_bytes());
    let always: String = selection.always.iter().map(|name| format!("{name}\n")).collect();
    archive.file("etc/reprieve/modules-always", 0o644, always.as_bytes());
    Ok(())
}

/// Compresses an archive into a file, unless the file was made from the very same archive; gives its size.
fn compress_into(file: &Path, plain: &[u8]) -> Result<u64> {
    let record = file.with_extension("source-digest");
    let digest = blake3::hash(plain).to_hex().to_string();
    if std::fs::read_to_string(&record).is_ok_and(|recorded| recorded == digest)
        && let Ok(metadata) = file.metadata()
    {
        return Ok(metadata.len());
    }
    let compressed = compress(plain)?;
    paths::write_whole(file, &compressed)?;
    paths::write_whole(&record, digest.as_bytes())?;
    Ok(length(&compressed))
}

/// zstd at its strongest ordinary level: the machine that boots pays only for unpacking, which is fast.
fn compress(plain: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("zstd")
        .args(["-19", "--threads=0", "--quiet", "--stdout", "--no-check"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("compressing the ramdisk: starting zstd")?;
    let mut input = child.stdin.take().context("compressing the ramdisk: zstd has no input")?;
    let output = std::thread::scope(|scope| {
        let writer = scope.spawn(move || input.write_all(plain));
        let output = child.wait_with_output().context("compressing the ramdisk");
        if !matches!(writer.join(), Ok(Ok(()))) {
            bail!("compressing the ramdisk: zstd did not take all of it");
        }
        output
    })?;
    if !output.status.success() {
        bail!("compressing the ramdisk: zstd ended with {}", output.status);
    }
    Ok(output.stdout)
}

fn print(report: &Report, started: Instant) {
    println!("  kernel {}: {}", report.kernel_release, mebibytes(report.kernel_bytes));
    println!("  agent: {} before compression", mebibytes(report.agent_bytes));
    for set in &report.sets {
        let verdict = if set.compressed_bytes <= set.size_aim_bytes { "within" } else { "ABOVE" };
        println!(
            "  ramdisk for {}: {} ({} in memory, {} modules, firmware {}), {verdict} the aim of {}",
            set.name,
            mebibytes(set.compressed_bytes),
            mebibytes(set.unpacked_bytes),
            set.modules,
            mebibytes(set.firmware_bytes),
            mebibytes(set.size_aim_bytes),
        );
        if !set.built_in.is_empty() {
            println!("    built into the kernel already: {}", set.built_in.join(" "));
        }
    }
    println!("  build/ramdisk, after {:.0} s", started.elapsed().as_secs_f64());
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn mebibytes(bytes: u64) -> String {
    // For people: the rounding of a division does not matter.
    #[allow(clippy::cast_precision_loss)]
    let value = bytes as f64 / MEBIBYTE as f64;
    format!("{value:.1} MiB")
}
