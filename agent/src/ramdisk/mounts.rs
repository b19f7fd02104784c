//! What every process expects to be there: `/dev`, `/proc`, `/sys`, and the console.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// Where the link stands that the kernel runs when it needs a module.
const MODPROBE_LINK: &str = "/run/modprobe";

/// Mounts the kernel's file systems. Called first of all, before anything is read.
///
/// # Errors
/// Names the first mount that failed; without these nothing can be looked at.
pub fn mount_all() -> io::Result<()> {
    let fine = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    for (kind, target, flags) in [
        ("devtmpfs", "/dev", MsFlags::MS_NOSUID),
        ("proc", "/proc", fine | MsFlags::MS_NODEV),
        ("sysfs", "/sys", fine | MsFlags::MS_NODEV),
        ("tmpfs", "/run", MsFlags::MS_NOSUID | MsFlags::MS_NODEV),
        ("tmpfs", "/tmp", fine | MsFlags::MS_NODEV),
    ] {
        mount_one(kind, target, flags)?;
    }
    Ok(())
}

/// Mounts the firmware's variables where there are any. The file system may be a module, so this comes
/// after [`answer_for_modprobe`]. Nothing here depends on them.
pub fn mount_firmware_variables() {
    const VARIABLES: &str = "/sys/firmware/efi/efivars";
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    if Path::new(VARIABLES).is_dir()
        && let Err(error) = mount_one("efivarfs", VARIABLES, flags)
    {
        tracing::warn!("{error}; going on without the firmware's variables");
    }
}

/// Mounts what the firmware kept of crashes. Nothing here depends on it: what is not mounted is told as not
/// seen.
pub fn mount_crash_records() {
    const RECORDS: &str = "/sys/fs/pstore";
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
    if Path::new(RECORDS).is_dir()
        && let Err(error) = mount_one("pstore", RECORDS, flags)
    {
        tracing::warn!("{error}; going on without the firmware's records of crashes");
    }
}

/// Mounts where the kernel shows the firmware's event log. Nothing here depends on it: where there is none, the
/// boot is not proven, and that is said.
pub fn mount_event_log() {
    const SECURITY: &str = "/sys/kernel/security";
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
    if Path::new(SECURITY).is_dir()
        && let Err(error) = mount_one("securityfs", SECURITY, flags)
    {
        tracing::warn!("{error}; going on without the firmware's event log");
    }
}

fn mount_one(kind: &str, target: &str, flags: MsFlags) -> io::Result<()> {
    std::fs::create_dir_all(target)?;
    match mount(Some(kind), target, Some(kind), flags, None::<&str>) {
        // Already there: the kernel mounts /dev itself if it was built so.
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(error) => Err(io::Error::other(format!("cannot mount {kind} on {target}: {error}"))),
    }
}

/// Makes the kernel's console standard input, output and error, where the kernel could not do it
/// because the ramdisk had no `/dev/console` yet.
pub fn open_console() {
    let Ok(console) = OpenOptions::new().read(true).write(true).open("/dev/console") else { return };
    for standard in 0..=2 {
        // SAFETY: both descriptors are valid for the call; dup2 replaces 0, 1 and 2, which nothing in
        // this process owns.
        unsafe { nix::libc::dup2(console.as_raw_fd(), standard) };
    }
    if console.as_raw_fd() <= 2 {
        // It was given one of the three itself and must stay open.
        std::mem::forget(console);
    }
}

/// Tells the kernel to run this program when it needs a module (file systems and checksums ask by
/// name). There is no modprobe in the ramdisk.
///
/// # Errors
/// If the link or the setting cannot be written.
pub fn answer_for_modprobe() -> io::Result<()> {
    std::os::unix::fs::symlink("/proc/1/exe", MODPROBE_LINK)?;
    std::fs::write("/proc/sys/kernel/modprobe", MODPROBE_LINK)
}

/// Lets the kernel's own messages below warnings stay off the console, so that ours can be read.
pub fn quiet_kernel_console() {
    // Best effort: a chatty console is no reason to stop.
    if let Ok(file) = File::create("/proc/sys/kernel/printk") {
        let _ = io::Write::write_all(&mut &file, b"4 4 1 4");
    }
}
