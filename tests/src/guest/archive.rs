//! The laboratory's ramdisk: the real one, and behind it a second archive with a first process that
//! brings the laboratory's disk before the real one starts.
//!
//! The kernel unpacks archives that stand one behind the other into the same root. The real `/init` is
//! not touched; the kernel is told to start `/laboratory/init` first.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::artefacts::build_folder;

/// Where the laboratory's files are in the ramdisk.
pub const FOLDER: &str = "/laboratory";
/// The address that the machine gets on the laboratory's own network.
pub const MACHINE_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 78, 2);
/// Where the laboratory listens: on the same wire, in a network of its own.
pub const LABORATORY_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 78, 1);
/// What must be added to the kernel's arguments.
pub const KERNEL_ARGUMENT: &str = "rdinit=/laboratory/init";

/// No sane module has more below it.
const MODULES_MAX: usize = 64;

/// What the second archive holds.
#[derive(Debug, Clone, Copy)]
pub struct Addition<'a> {
    /// The first process: the name of a program in `build/ramdisk`.
    pub init: &'a str,
    /// Further programs there, under the same names.
    pub programs: &'a [&'a str],
    /// The kernel modules that it loads, in this order; what they need comes before them.
    pub modules: &'a [&'a str],
    /// Further files, by their names.
    pub files: &'a [(&'a str, &'a [u8])],
}

/// Writes a ramdisk to `path` that is the ramdisk `real` with an addition behind it.
///
/// # Errors
/// If a program, a kernel module or the real ramdisk is not there; says what builds them.
pub fn write_ramdisk(path: &Path, real: &Path, addition: &Addition<'_>) -> Result<()> {
    let mut bytes = read(real)?;
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let mut archive = Archive { bytes };
    archive.folder("laboratory");
    archive.folder("laboratory/modules");
    archive.file("laboratory/init", 0o755, &read(&program(addition.init)?)?);
    for name in addition.programs {
        archive.file(&format!("laboratory/{name}"), 0o755, &read(&program(name)?)?);
    }
    for (name, content) in addition.files {
        archive.file(&format!("laboratory/{name}"), 0o644, content);
    }
    for (number, module) in modules(addition.modules)?.iter().enumerate() {
        archive.file(&format!("laboratory/modules/{number:02}"), 0o644, &read(module)?);
    }
    archive.entry("TRAILER!!!", 0, &[]);
    std::fs::write(path, archive.bytes).with_context(|| format!("could not write {}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("could not read {}", path.display()))
}

fn program(name: &str) -> Result<PathBuf> {
    let program = build_folder()?.join("ramdisk").join(name);
    if !program.is_file() {
        bail!("{} is missing; run `cargo xtask ramdisk`", program.display());
    }
    Ok(program)
}

/// The files of these modules and of what they need, in the order of their loading.
fn modules(names: &[&str]) -> Result<Vec<PathBuf>> {
    let kernel = build_folder()?.join("kernel");
    let release = std::fs::read_to_string(kernel.join("release"))
        .context("the kernel is missing; run `cargo xtask ramdisk`")?;
    let tree = kernel.join("root/lib/modules").join(release.trim());
    let mut files = Vec::new();
    list(&tree, &mut files)?;
    let mut order = Vec::new();
    for module in names {
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
