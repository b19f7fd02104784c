//! Files that must be whole or not there, some of them for the owner's eyes only.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Mode 0600.
    OwnerOnly,
    /// Mode 0644.
    Everybody,
}

/// Writes a file durably under its name, or not at all.
///
/// # Errors
/// Names the file.
pub fn write_new(path: &Path, access: Access, bytes: &[u8]) -> anyhow::Result<()> {
    write_whole(path, access, bytes).with_context(|| format!("could not write {}", path.display()))
}

fn write_whole(path: &Path, access: Access, bytes: &[u8]) -> std::io::Result<()> {
    let mode = match access {
        Access::OwnerOnly => 0o600,
        Access::Everybody => 0o644,
    };
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.new", crate::bearer::new_uuid()));
    let result = (|| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        std::fs::File::open(folder)?.sync_all()
    })();
    if result.is_err() {
        // Best effort: the error that is reported is the one that matters.
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

/// Reads a text file; makes it first if it is not there.
///
/// # Errors
/// Names the file. A file that is there but cannot be read is never replaced.
pub fn read_or_make(
    path: &Path,
    access: Access,
    make: impl FnOnce() -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = make()?;
            write_new(path, access, text.as_bytes())?;
            Ok(text)
        }
        Err(error) => Err(error).with_context(|| format!("could not read {}", path.display())),
    }
}
