//! Where things are in a checkout. Everything that is built lies under `build/` or `target/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the checkout.
pub fn repository() -> PathBuf {
    // xtask/ lies directly in the root, so its manifest directory always has a parent.
    let manifest_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest_directory.parent().unwrap_or(manifest_directory).to_path_buf()
}

/// `build/NAME`; not created.
pub fn build(name: &str) -> PathBuf {
    repository().join("build").join(name)
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// Makes a directory and its parents.
pub fn ensure_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("making directory {}", path.display()))
}

/// Makes a directory empty, whatever was in it.
pub fn fresh_directory(path: &Path) -> Result<()> {
    if path.exists() {
        std::fs::remove_dir_all(path).with_context(|| format!("emptying directory {}", path.display()))?;
    }
    ensure_directory(path)
}

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Writes a file as a whole: a reader sees the old one or the new one, never a half.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        ensure_directory(parent)?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    std::fs::write(&partial, bytes).with_context(|| format!("writing {}", partial.display()))?;
    std::fs::rename(&partial, path).with_context(|| format!("renaming {} into place", partial.display()))
}
