//! Is a file system fit to be changed? One that has written down errors of its own is not: changing it
//! may destroy what is still whole. It is made anew instead.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use imaging::btrfs::Superblock;
use imaging::source::ReadAt;
use imaging::xfs::Xfs;

use super::mount::RootKind;
use crate::probe::file_systems::{SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET, parse};

/// `s_journal_dev`, the number of the device that an ext4 has its journal on if that is another one.
const JOURNAL_DEVICE_OFFSET: usize = 0xe4;

/// When a file system is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before it is changed: what its journal or log holds is put in place by mounting it.
    Before,
    /// After it was changed and unmounted.
    After,
}

/// Makes sure that a root file system, which is not mounted, is fit to be changed, or came through it.
///
/// # Errors
/// When it is not, is not of this kind, or cannot be read.
pub(super) fn ensure_fit(kind: &RootKind, device: &Path, moment: Moment) -> anyhow::Result<()> {
    match kind {
        RootKind::Ext4 => ensure_sound(device),
        RootKind::Xfs => ensure_sound_xfs(device, moment),
        RootKind::Btrfs(_) => ensure_sound_btrfs(device, moment),
    }
}

/// What btrfs says of itself: that its superblock makes sense, that it lies on this device alone, since
/// mounting it would write to all of them, and that nothing is left in its log after it was unmounted. It never writes over what is in use, and after an error it no longer writes;
/// then what was changed is not there when it is looked for.
fn ensure_sound_btrfs(device: &Path, moment: Moment) -> anyhow::Result<()> {
    let what = || format!("the btrfs file system on {}", device.display());
    let medium = Medium::open(device).with_context(|| format!("could not open {}", device.display()))?;
    let found = Superblock::read(&medium).with_context(|| {
        format!("could not make sense of {}, so nothing is put back on it; reimage", what())
    })?;
    ensure!(
        found.device_count == 1,
        "{} spans {} devices, so nothing is put back on it; reimage",
        what(),
        found.device_count
    );
    ensure!(
        !found.has_log || moment == Moment::Before,
        "{} was unmounted and its log is not empty: it stopped while it was changed; reimage",
        what()
    );
    Ok(())
}

/// What XFS says of itself: that it was finished, asks for no repair, and has nothing left in its log
/// after it was unmounted. It counts no errors; it shuts down at the first one, and then its log is not
/// clean. The kernel checks the checksum of everything that it reads.
fn ensure_sound_xfs(device: &Path, moment: Moment) -> anyhow::Result<()> {
    let what = || format!("the XFS file system on {}", device.display());
    let medium = Medium::open(device).with_context(|| format!("could not open {}", device.display()))?;
    let found = Xfs::look(medium).with_context(|| {
        format!("could not make sense of {}, so nothing is put back on it; reimage", what())
    })?;
    let superblock = found.superblock();
    ensure!(
        !superblock.is_in_progress && !superblock.needs_repair,
        "{} says that it was never finished or needs a repair, so nothing is put back on it; reimage",
        what()
    );
    let is_clean = found.is_log_clean().with_context(|| format!("could not read the log of {}", what()))?;
    ensure!(
        is_clean || moment == Moment::Before,
        "{} was unmounted and its log is not clean: it shut down while it was changed; reimage",
        what()
    );
    Ok(())
}

/// A block device, read through the kernel's cache, which is dropped when it is opened.
pub(super) struct Medium {
    file: File,
    size_bytes: u64,
}

impl Medium {
    pub(super) fn open(device: &Path) -> anyhow::Result<Self> {
        let mut file = File::open(device)?;
        // XFS does not use this cache, so what stands in it may be old.
        super::disk::drop_caches_of(file.as_raw_fd()).context("could not drop the kernel's cache")?;
        let size_bytes = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, size_bytes })
    }
}

impl ReadAt for Medium {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

/// Makes sure that the ext4 file system on this device, which is not mounted, has no errors and lies on
/// this device alone, because mounting writes to its journal too. A journal that is not replayed is no
/// error: mounting replays it.
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
        superblock[JOURNAL_DEVICE_OFFSET..][..4] == [0; 4],
        "the file system on {} has its journal on another device, so nothing is put back on it; reimage",
        device.display()
    );
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

#[cfg(test)]
mod tests {
    use super::{JOURNAL_DEVICE_OFFSET, Moment, RootKind, SUPERBLOCK_OFFSET, ensure_fit};
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;

    use imaging::btrfs::SUPERBLOCK_OFFSET as BTRFS_OFFSET;

    use crate::act::loop_fixture::{Loop, image_with_root_of, root_file};

    #[test]
    fn what_lies_on_another_device_too_is_not_changed() {
        for (kind, place, words) in [
            (RootKind::Btrfs(None), BTRFS_OFFSET + 136, "spans 2 devices"),
            (RootKind::Ext4, (SUPERBLOCK_OFFSET + JOURNAL_DEVICE_OFFSET) as u64, "journal on another device"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let file = root_file(&image_with_root_of(&kind), folder.path());
            let root = Loop::attach(&file);
            ensure_fit(&kind, &root.device, Moment::Before).unwrap();
            drop(root);
            OpenOptions::new().write(true).open(&file).unwrap().write_all_at(&[2], place).unwrap();
            let root = Loop::attach(&file);
            let refused = ensure_fit(&kind, &root.device, Moment::Before).unwrap_err().to_string();
            assert!(refused.contains(words) && refused.contains("reimage"), "{refused}");
        }
    }
}
