//! Is a file system fit to be changed? One that has written down errors of its own is not: changing it
//! may destroy what is still whole. It is made anew instead.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};

use crate::probe::file_systems::{SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET, parse};

/// Makes sure that the ext4 file system on this device, which is not mounted, has no errors. A journal
/// that is not replayed is none: mounting replays it.
///
/// # Errors
/// When it has, is no ext4, or cannot be read.
pub(super) fn ensure_sound(device: &Path) -> anyhow::Result<()> {
    let mut superblock = [0; SUPERBLOCK_BYTES];
    File::open(device)
        .and_then(|file| file.read_exact_at(&mut superblock, SUPERBLOCK_OFFSET as u64))
        .with_context(|| format!("could not read the superblock of {}", device.display()))?;
    let Some(found) = parse(&superblock) else { bail!("there is no ext4 on {}; reimage", device.display()) };
    ensure!(
        found.errors == 0,
        "the file system on {} has recorded {} errors, so nothing is put back on it; reimage",
        device.display(),
        found.errors
    );
    ensure!(
        !found.unclean,
        "the file system on {} has no journal and was not unmounted cleanly, so nothing is put back on it; reimage",
        device.display()
    );
    Ok(())
}
