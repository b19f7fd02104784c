//! Debian's kernel, unpacked under `build/kernel`: nothing is installed on this machine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt::{self, PrivateApt};
use crate::command::{located, run_logged};
use crate::paths;

/// The metapackage that names the current kernel with all drivers.
const METAPACKAGE: &str = "linux-image-amd64";

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Its release, such as `6.1.0-40-amd64`.
    pub release: String,
    /// The root of the unpacked package.
    pub root: PathBuf,
}

impl Kernel {
    /// The kernel itself.
    pub fn image(&self) -> PathBuf {
        self.root.join(format!("boot/vmlinuz-{}", self.release))
    }

    /// `lib/modules/RELEASE`.
    pub fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }
}

/// Makes sure that the kernel is unpacked and its modules' dependencies are known.
pub fn ensure() -> Result<Kernel> {
    let folder = paths::build("kernel");
    let name_file = folder.join("release");
    if let Ok(release) = std::fs::read_to_string(&name_file) {
        let kernel = Kernel { release: release.trim().to_owned(), root: folder.join("root") };
        if kernel.image().is_file() && kernel.modules().join("modules.dep").is_file() {
            return Ok(kernel);
        }
    }
    println!("fetching Debian's kernel");
    let source = PrivateApt::of_this_release()?;
    let name = source.first_dependency(METAPACKAGE)?;
    let release = name
        .strip_prefix("linux-image-")
        .with_context(|| format!("{name} is not the name of a kernel"))?
        .to_owned();
    let package = source.download(&name, &paths::build("download/kernel"))?;
    let root = folder.join("root");
    paths::fresh_directory(&root)?;
    apt::unpack(&package, &root)?;
    let kernel = Kernel { release, root };
    run_logged(
        "computing which modules need which",
        Command::new(located("depmod")).arg("--basedir").arg(&kernel.root).arg(&kernel.release),
        "kernel.log",
    )?;
    paths::write_whole(&name_file, kernel.release.as_bytes())?;
    Ok(kernel)
}
