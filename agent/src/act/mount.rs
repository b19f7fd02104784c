//! Mounting the installed system's root partition for a look or a repair, and taking it down again.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use imaging::manifest::RootManifest;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

use crate::ramdisk::modules::Modules;

/// Where our mount points are made; the folder is ours alone.
const MOUNT_FOLDER: &str = "/run/reprieve/mounts";

/// How often and how long a file system that is still in use is waited for: one second in all.
const BUSY_TRIES_MAX: u32 = 50;
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// Makes the names of mount points of one process differ.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What a mount is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing is written, not even the journal is replayed.
    ReadOnly,
    /// The journal is replayed and files are changed.
    ReadWrite,
}

/// A kind of root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKind {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs, and the subvolume that is the root if it is not the default one.
    Btrfs(Option<String>),
}

impl RootKind {
    /// The kind that an image says its root has.
    ///
    /// # Errors
    /// When this agent does not know it.
    pub fn of(root: &RootManifest) -> anyhow::Result<Self> {
        match root.file_system.as_str() {
            "ext4" => Ok(Self::Ext4),
            "xfs" => Ok(Self::Xfs),
            "btrfs" => Ok(Self::Btrfs(root.subvolume.clone())),
            other => bail!("the root is {other}, which this agent does not know; use a newer ramdisk"),
        }
    }

    /// As `mount -t` takes it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs(_) => "btrfs",
        }
    }

    fn options(&self, access: Access) -> String {
        let options = match (self, access) {
            (Self::Ext4, Access::ReadOnly) => "noload",
            // A file system that turns out to be damaged is not changed further; XFS shuts itself down.
            (Self::Ext4, Access::ReadWrite) => "errors=remount-ro",
            // Every disk with one image has the same UUID, which XFS refuses to mount twice.
            (Self::Xfs, Access::ReadOnly) => "norecovery,nouuid",
            (Self::Xfs, Access::ReadWrite) => "nouuid",
            (Self::Btrfs(_), Access::ReadOnly) => "rescue=nologreplay",
            (Self::Btrfs(_), Access::ReadWrite) => "",
        };
        match self {
            Self::Btrfs(Some(subvolume)) if options.is_empty() => format!("subvol={subvolume}"),
            Self::Btrfs(Some(subvolume)) => format!("{options},subvol={subvolume}"),
            _ => options.to_owned(),
        }
    }
}

/// A mounted file system. Dropping it takes it down without saying how that went; after changes call
/// [`Mount::close`].
pub struct Mount {
    point: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Mounts a root file system; nothing on it can be run, raise privileges or be a device.
    ///
    /// # Errors
    /// When the kernel does not take it as what it should be, or the mount point cannot be made.
    pub fn root(kind: &RootKind, device: &Path, access: Access) -> anyhow::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let point = Path::new(MOUNT_FOLDER).join(format!("{}-{number}", std::process::id()));
        fs::create_dir_all(&point)
            .with_context(|| format!("could not make the mount point {}", point.display()))?;
        let mut mount = Self { point, mounted: false };
        let common = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
        let flags = match access {
            Access::ReadOnly => common | MsFlags::MS_RDONLY,
            Access::ReadWrite => common,
        };
        let failed = || format!("could not mount {} as {}", device.display(), kind.name());
        make_known(kind);
        match (forget_other_devices(kind), access) {
            (Ok(()), _) => {}
            // Another of the same UUID may be taken in its place or beside it, and would be written to.
            (Err(error), Access::ReadWrite) => return Err(error).with_context(failed),
            // Another of the same UUID that is newer makes the mount fail, which is safe.
            (Err(error), Access::ReadOnly) => tracing::warn!("{error:#}"),
        }
        let options = kind.options(access);
        nix::mount::mount(Some(device), &mount.point, Some(kind.name()), flags, Some(options.as_str()))
            .map_err(|errno| why_not(kind, errno))
            .with_context(failed)?;
        mount.mounted = true;
        Ok(mount)
    }

    /// The folder under which the file system is seen.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.point
    }

    /// Takes the mount down; everything written is on the disk when this returns.
    ///
    /// # Errors
    /// When the file system is still in use.
    pub fn close(mut self) -> anyhow::Result<()> {
        self.unmount().with_context(|| format!("could not unmount {}", self.point.display()))
    }

    fn unmount(&mut self) -> nix::Result<()> {
        let mut tries = 0;
        while self.mounted {
            match nix::mount::umount2(&self.point, MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => self.mounted = false,
                // A process that another thread is just starting has our descriptors until it runs.
                Err(Errno::EBUSY) if tries < BUSY_TRIES_MAX => {
                    tries += 1;
                    std::thread::sleep(BUSY_WAIT);
                }
                Err(error) => return Err(error),
            }
        }
        // An empty folder that stays behind does no harm.
        let _ = fs::remove_dir(&self.point);
        Ok(())
    }
}

/// Loads the driver if the kernel does not have it yet. The ramdisk loads only ext4 at its start,
/// because each driver costs every boot its time. Nothing here fails: a kernel whose list cannot be read
/// may have the driver, and loading one that it has does nothing. Without it the mount fails, which says
/// so ([`why_not`]).
fn make_known(kind: &RootKind) {
    match fs::read_to_string("/proc/filesystems") {
        Ok(list) if list.lines().any(|line| line.trim() == kind.name()) => return,
        Ok(_) => {}
        Err(error) => tracing::warn!("could not read which file systems the kernel has: {error}"),
    }
    match Modules::of_running_kernel() {
        Ok(modules) => modules.load_for(&format!("fs-{}", kind.name())),
        Err(error) => {
            tracing::warn!("could not read the list of kernel modules to load {}: {error}", kind.name());
        }
    }
}

/// What the kernel's answer to a mount means.
fn why_not(kind: &RootKind, errno: Errno) -> anyhow::Error {
    let error = anyhow::Error::new(errno);
    match errno {
        Errno::ENODEV => {
            error.context(format!("the ramdisk has no driver for {}; use a newer ramdisk", kind.name()))
        }
        _ => error,
    }
}

pub(super) mod ioctl {
    //! A request of `linux/btrfs.h`, and what its others take too.
    #![allow(missing_docs)] // the macros make functions that carry no documentation

    /// `struct btrfs_ioctl_vol_args`.
    #[repr(C)]
    pub struct Volume {
        pub descriptor: i64,
        pub name: [u8; 4088],
    }

    nix::ioctl_write_ptr!(forget_devices, 0x94, 5, Volume);
}

/// The kernel remembers by its UUID each btrfs that it has seen, and every disk with one image has the
/// same. What is mounted must be the device that was named, so nothing unmounted is remembered.
fn forget_other_devices(kind: &RootKind) -> anyhow::Result<()> {
    if !matches!(kind, RootKind::Btrfs(_)) {
        return Ok(());
    }
    // The driver makes this device.
    let control = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/btrfs-control")
        .context("could not open /dev/btrfs-control of the btrfs driver; use a newer ramdisk")?;
    let all = ioctl::Volume { descriptor: 0, name: [0; 4088] };
    // SAFETY: the descriptor is open for the length of the call, which reads one `Volume`; an empty name
    // stands for all devices.
    unsafe { ioctl::forget_devices(control.as_raw_fd(), &raw const all) }
        .context("could not make the kernel forget other devices with btrfs")?;
    Ok(())
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            tracing::warn!(%error, point = %self.point.display(), "could not unmount");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Errno, RootKind, why_not};

    #[test]
    fn a_driver_that_is_missing_is_the_ramdisks_fault() {
        let missing = format!("{:#}", why_not(&RootKind::Xfs, Errno::ENODEV));
        assert!(missing.contains("no driver for xfs; use a newer ramdisk"), "{missing}");
        let damaged = format!("{:#}", why_not(&RootKind::Xfs, Errno::EUCLEAN));
        assert!(damaged.contains("EUCLEAN") && !damaged.contains("ramdisk"), "{damaged}");
    }
}
