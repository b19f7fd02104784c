//! The laboratory's ramdisk: the real one, and behind it a second archive with a first process that
//! attaches the fake controller before the real one starts.
//!
//! The kernel unpacks archives that stand one behind the other into the same root. The real `/init` is
//! not touched; the kernel is told to start `/laboratory/init` first.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::artefacts::build_folder;

/// Where the laboratory's files are in the ramdisk.
pub const FOLDER: &str = "/laboratory";
/// The address that the machine gets on the fake controller's network.
pub const MACHINE_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 78, 2);
/// Where the fake controller listens: on the same wire, in a network of its own.
pub const CONTROLLER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 78, 1);
/// The port of NVMe over TCP.
pub const CONTROLLER_PORT: u16 = 4420;
/// What must be added to the kernel's arguments.
pub const KERNEL_ARGUMENT: &str = "rdinit=/laboratory/init";

/// What the first process loads: the network card of the virtual machine, and NVMe over TCP.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "nvme-tcp"];
/// No sane module has more below it.
const MODULES_MAX: usize = 64;

/// Where the fake controller listens.
#[must_use]
pub fn controller() -> SocketAddr {
    SocketAddr::from((CONTROLLER_ADDRESS, CONTROLLER_PORT))
}

/// Writes a ramdisk to `path` that attaches the controller of this name and then is the ramdisk `real`.
///
/// # Errors
/// If the program, the kernel's modules or the real ramdisk are not there; says what builds them.
pub fn write_ramdisk(path: &Path, real: &Path, name: &str) -> Result<()> {
    let mut bytes = std::fs::read(real).with_context(|| format!("could not read {}", real.display()))?;
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let mut archive = Archive { bytes };
    archive.folder("laboratory");
    archive.folder("laboratory/modules");
    let program = program()?;
    let init = std::fs::read(&program).with_context(|| format!("could not read {}", program.display()))?;
    archive.file("laboratory/init", 0o755, &init);
    let line = format!(
        "transport=tcp,traddr={CONTROLLER_ADDRESS},trsvcid={CONTROLLER_PORT},nqn={name},nr_io_queues=1,\
         ctrl_loss_tmo=5,reconnect_delay=1,keep_alive_tmo=30"
    );
    archive.file("laboratory/connect", 0o644, line.as_bytes());
    for (number, module) in modules()?.iter().enumerate() {
        let bytes = std::fs::read(module).with_context(|| format!("could not read {}", module.display()))?;
        archive.file(&format!("laboratory/modules/{number:02}"), 0o644, &bytes);
    }
    archive.entry("TRAILER!!!", 0, &[]);
    std::fs::write(path, archive.bytes).with_context(|| format!("could not write {}", path.display()))
}

fn program() -> Result<PathBuf> {
    let program = build_folder()?.join("ramdisk/nvme-attach");
    if !program.is_file() {
        bail!("{} is missing; run `cargo xtask ramdisk`", program.display());
    }
    Ok(program)
}

/// The files of [`MODULES`] and of what they need, in the order of their loading.
fn modules() -> Result<Vec<PathBuf>> {
    let kernel = build_folder()?.join("kernel");
    let release = std::fs::read_to_string(kernel.join("release"))
        .context("the kernel is missing; run `cargo xtask ramdisk`")?;
    let tree = kernel.join("root/lib/modules").join(release.trim());
    let mut files = Vec::new();
    list(&tree, &mut files)?;
    let mut order = Vec::new();
    for module in MODULES {
        visit(module, &files, &mut BTreeSet::new(), &mut order)?;
    }
    Ok(order)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("could not list {}", folder.display()))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(&entry.path(), files)?;
        } else if entry.path().extension().is_some_and(|extension| extension == "ko") {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn visit(
    module: &str,
    files: &[PathBuf],
    seen: &mut BTreeSet<String>,
    order: &mut Vec<PathBuf>,
) -> Result<()> {
    let wanted = module.replace('-', "_");
    if !seen.insert(wanted.clone()) {
        return Ok(());
    }
    let named = |file: &&PathBuf| {
        file.file_stem().is_some_and(|stem| stem.to_string_lossy().replace('-', "_") == wanted)
    };
    // What has no file is built into the kernel.
    let Some(file) = files.iter().find(named) else { return Ok(()) };
    let bytes = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    for need in needs(&bytes) {
        visit(&need, files, seen, order)?;
    }
    if !order.contains(file) {
        order.push(file.clone());
    }
    if order.len() > MODULES_MAX {
        bail!("the kernel module {module} needs more than {MODULES_MAX} others");
    }
    Ok(())
}

/// What a module says that it needs: `depends=` in its information.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(begin) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let text = module[begin + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A cpio archive of the kernel's kind (`newc`), behind what is in `bytes` already.
struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    fn folder(&mut self, path: &str) {
        self.entry(path, 0o040_755, &[]);
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        self.entry(path, 0o100_000 | mode, bytes);
    }

    fn entry(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        let fields = [
            0,
            mode,
            0,
            0,
            1,
            0,
            u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            0,
            0,
            0,
            0,
            u32::try_from(path.len() + 1).unwrap_or(u32::MAX),
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Archive, needs};

    #[test]
    fn a_module_says_what_it_needs() {
        let information = b"\x7fELF..\0license=GPL\0depends=nvme-core,nvme-fabrics\0name=nvme_tcp\0";
        assert_eq!(needs(information), ["nvme-core", "nvme-fabrics"]);
        assert!(needs(b"\0depends=\0").is_empty() && needs(b"nothing").is_empty());
    }

    #[test]
    fn entries_stand_at_multiples_of_four() {
        let mut archive = Archive { bytes: vec![0; 4] };
        archive.file("a", 0o644, b"12345");
        assert_eq!(archive.bytes.len() % 4, 0);
        assert!(archive.bytes[4..].starts_with(b"07070100000000000081a4"));
    }
}
