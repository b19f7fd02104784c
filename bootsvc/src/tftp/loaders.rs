//! The loaders in memory. Read once at the start, so that no file changes under a transfer.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use netboot::loader::ServedFile;

/// iPXE binaries have about one MiB.
const LOADER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The loaders that are there.
#[derive(Debug, Clone, Default)]
pub struct Loaders {
    files: BTreeMap<ServedFile, Bytes>,
}

impl Loaders {
    /// Reads the folder. A loader that is missing is logged; machines that need it are not served.
    ///
    /// # Errors
    /// If a file can't be read or is too large, or if there is none at all.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        for file in ServedFile::ALL.into_iter().filter(|file| !file.generated()) {
            match names_on_disk(file).iter().find_map(|name| read(&folder.join(name)).transpose()) {
                Some(content) => drop(files.insert(file, content?)),
                None => {
                    tracing::warn!(loader = file.name(), folder = %folder.display(), "loader is missing; machines that need it cannot boot from the network")
                }
            }
        }
        anyhow::ensure!(
            !files.is_empty(),
            "no loader in {}; put the files of Debian's package ipxe there",
            folder.display()
        );
        Ok(Self { files })
    }

    /// A loader's bytes; none if it is missing or generated.
    #[must_use]
    pub fn get(&self, file: ServedFile) -> Option<Bytes> {
        self.files.get(&file).cloned()
    }
}

#[cfg(test)]
impl FromIterator<(ServedFile, Bytes)> for Loaders {
    fn from_iter<I: IntoIterator<Item = (ServedFile, Bytes)>>(files: I) -> Self {
        Self { files: files.into_iter().collect() }
    }
}

/// Debian's newer package names builds by processor.
fn names_on_disk(file: ServedFile) -> &'static [&'static str] {
    match file {
        ServedFile::UndionlyX86 => &["undionly.kpxe"],
        ServedFile::IpxeX64 => &["ipxe-amd64.efi", "ipxe.efi"],
        ServedFile::SnponlyX64 => &["snponly-amd64.efi", "snponly.efi"],
        ServedFile::IpxeArm64 => &["ipxe-arm64.efi"],
        ServedFile::Autoexec => &[],
    }
}

/// None if there is no such file.
fn read(path: &Path) -> anyhow::Result<Option<Bytes>> {
    let context = || format!("read loader {}", path.display());
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(context),
    };
    anyhow::ensure!(
        (1..=LOADER_BYTES_MAX).contains(&size),
        "loader {} has {size} bytes; expected 1 to {LOADER_BYTES_MAX}",
        path.display()
    );
    std::fs::read(path).map(|content| Some(Bytes::from(content))).with_context(context)
}
