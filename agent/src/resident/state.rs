//! What the resident agent keeps between its runs, so that `check` answers at once and without the
//! service: the last context, the manifest, and which files were read.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use contract::agent_api::ContextReply;
use contract::id::{BootId, ImageId};
use ed25519_dalek::VerifyingKey;
use imaging::manifest::{MANIFEST_BYTES_MAX, Manifest};

use super::gpu_burn_in::KeptTest;
use crate::image_check::FileCache;
use crate::probe::kernel_log::KernelLog;

/// The directory. Everything in it can be lost and is then fetched or read again.
#[derive(Debug, Clone)]
pub struct State {
    directory: PathBuf,
}

impl State {
    /// Uses this directory, making it if it is not there.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Self::at(directory))
    }

    /// Uses this directory as it is, for reading.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The context that was last heard; none if there never was one or it cannot be understood.
    #[must_use]
    pub fn context(&self) -> Option<ContextReply> {
        serde_json::from_slice(&std::fs::read(self.directory.join("context.json")).ok()?).ok()
    }

    /// Keeps a context.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_context(&self, context: &ContextReply) -> anyhow::Result<()> {
        self.write("context.json", &serde_json::to_vec(context)?)
    }

    /// The kept manifest of this image, its signature checked again: others can write to this disk.
    #[must_use]
    pub fn manifest(&self, image: ImageId, key: &VerifyingKey) -> Option<Manifest> {
        let path = self.directory.join("manifest");
        if std::fs::metadata(&path).ok()?.len() > MANIFEST_BYTES_MAX as u64 {
            return None;
        }
        imaging::signed::open(&std::fs::read(path).ok()?, key, image).ok()
    }

    /// Keeps a signed manifest, in place of any other.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_manifest(&self, sealed: &[u8]) -> anyhow::Result<()> {
        self.write("manifest", sealed)
    }

    /// Which files were read, and what was in them.
    #[must_use]
    pub fn files(&self) -> FileCache {
        FileCache::load(&self.directory.join("file-check.json"))
    }

    /// Keeps which files were read.
    ///
    /// # Errors
    /// If it cannot be written; the next check is then slow.
    pub fn keep_files(&self, files: &FileCache) -> io::Result<()> {
        files.save(&self.directory.join("file-check.json"))
    }

    /// What was found in the kernel's log of this boot so far.
    #[must_use]
    pub fn kernel_log(&self, boot: BootId) -> KernelLog {
        KernelLog::load(&self.directory.join("kernel-log.json"), boot)
    }

    /// Keeps what was found in the kernel's log.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_kernel_log(&self, log: &KernelLog, boot: BootId) -> io::Result<()> {
        log.save(&self.directory.join("kernel-log.json"), boot)
    }

    /// What was found in the GPUs for a burn-in, or that they are at work; none if they never were, or nobody can
    /// read it any more.
    #[must_use]
    pub fn gpu_test(&self) -> Option<KeptTest> {
        serde_json::from_slice(&std::fs::read(self.directory.join("gpu-test.json")).ok()?).ok()
    }

    /// Keeps that, through a crash of the machine.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_gpu_test(&self, test: &KeptTest) -> anyhow::Result<()> {
        let name = "gpu-test.json";
        self.write(name, &serde_json::to_vec(test)?)?;
        for path in [self.directory.join(name), self.directory.clone()] {
            let synced = std::fs::File::open(&path).and_then(|file| file.sync_all());
            synced.with_context(|| format!("cannot flush {}", path.display()))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.directory.join(name);
        let beside = path.with_extension("new");
        std::fs::write(&beside, bytes)
            .and_then(|()| std::fs::rename(&beside, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The key of image manifests in a context.
///
/// # Errors
/// If it is not a key.
pub fn image_key(context: &ContextReply) -> anyhow::Result<VerifyingKey> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(&context.image_key, &mut bytes)
        .context("the service's key of images is malformed")?;
    VerifyingKey::from_bytes(&bytes).context("the service's key of images is not a key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_on_the_disk_counts_as_nothing_kept() {
        let root = tempfile::tempdir().unwrap();
        let state = State::open(&root.path().join("deep/er")).unwrap();
        assert!(state.context().is_none());
        state.write("context.json", b"{").unwrap();
        state.write("manifest", b"junk").unwrap();
        assert!(state.context().is_none());
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key();
        assert!(state.manifest(ImageId(contract::id::Digest([0; 32])), &key).is_none());
    }
}
