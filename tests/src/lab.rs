//! One laboratory: a private network and a folder for disks, logs and state.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::artefacts::build_folder;
use crate::namespace::{Namespace, maker_is_gone};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A private network and a folder; both are gone when it is dropped.
#[derive(Debug)]
pub struct Lab {
    // Dropped in this order: first whoever may still write, then the files.
    network: Namespace,
    folder: Folder,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Lab {
    /// Makes one, after sweeping what killed runs left behind.
    ///
    /// # Errors
    /// If the namespace or the folder cannot be made.
    pub fn new() -> Result<Self> {
        let network = Namespace::new()?;
        let labs = build_folder()?.join("lab");
        std::fs::create_dir_all(&labs).with_context(|| format!("could not make {}", labs.display()))?;
        sweep(&labs)?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = labs.join(format!("reprieve-lab-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("could not make {}", path.display()))?;
        let keep = std::env::var_os("REPRIEVE_LAB_KEEP").is_some();
        Ok(Self { network, folder: Folder { path, keep } })
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Namespace {
        &self.network
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Leaves the folder where it is when the laboratory ends; for looking at logs.
    pub fn keep_folder(&mut self) {
        self.folder.keep = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes the folders of runs that are over: killed ones, and failed ones somebody has looked at.
fn sweep(labs: &Path) -> Result<()> {
    for entry in std::fs::read_dir(labs).with_context(|| format!("could not list {}", labs.display()))? {
        let entry = entry.with_context(|| format!("could not list {}", labs.display()))?;
        if maker_is_gone(&entry.file_name().to_string_lossy()) && !entry.path().join("keep").exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}
