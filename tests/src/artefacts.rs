//! Where the things are that the laboratory runs: binaries, ramdisk, image, iPXE.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

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
