//! Where the things are that the laboratory runs: binaries, kernel and ramdisk, image, iPXE.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The root of the checkout.
///
/// # Errors
/// If the checkout was moved after building.
pub fn repository() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("tests/ has no parent folder")?;
    Ok(folder.to_owned())
}

/// What `cargo xtask` has built, and where laboratories keep their files.
///
/// # Errors
/// If the checkout was moved after building.
pub fn build_folder() -> Result<PathBuf> {
    Ok(repository()?.join("build"))
}

/// The files that a laboratory with the real service needs.
#[derive(Debug, Clone)]
pub struct Artefacts {
    /// `reprieve-bootsvc`.
    pub service: PathBuf,
    /// `reprieve`.
    pub operator: PathBuf,
    /// The ramdisk's kernel.
    pub kernel: PathBuf,
    /// The ramdisk.
    pub ramdisk: PathBuf,
    /// The folder with the iPXE binaries.
    pub loaders: PathBuf,
    /// The Debian image, raw.
    pub image: PathBuf,
}

impl Artefacts {
    /// Finds what was built. The image is looked at only by those who use it.
    ///
    /// # Errors
    /// Names what is missing and the command that builds it.
    pub fn find() -> Result<Self> {
        let build = build_folder()?;
        let binaries = binaries_folder()?;
        let found = Self {
            service: binaries.join("reprieve-bootsvc"),
            operator: binaries.join("reprieve"),
            kernel: build.join("ramdisk/vmlinuz"),
            ramdisk: build.join("ramdisk/initramfs.cpio.zst"),
            loaders: build.join("ipxe"),
            image: build.join("image/reprieve-debian.raw"),
        };
        need(&found.service, "cargo build")?;
        need(&found.operator, "cargo build")?;
        need(&found.kernel, "cargo xtask ramdisk")?;
        need(&found.ramdisk, "cargo xtask ramdisk")?;
        need(&found.loaders, "cargo xtask ramdisk")?;
        Ok(found)
    }

    /// The Debian image.
    ///
    /// # Errors
    /// If it was not built yet; names the command that builds it.
    pub fn image(&self) -> Result<&Path> {
        need(&self.image, "cargo xtask image")?;
        Ok(&self.image)
    }
}

/// The folder of the binaries that were built with the program that runs now.
fn binaries_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("could not find the running program")?;
    // Tests lie in `deps` below the profile's folder, xtask in the folder itself.
    program
        .ancestors()
        .skip(1)
        .find(|folder| folder.join("reprieve-bootsvc").is_file())
        .map(Path::to_owned)
        .with_context(|| format!("no reprieve-bootsvc near {}; run cargo build", program.display()))
}

fn need(path: &Path, command: &str) -> Result<()> {
    if !path.exists() {
        bail!("{} is missing; run `{command}`", path.display());
    }
    Ok(())
}
