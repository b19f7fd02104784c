//! Jumping into the installed kernel without a reset: `kexec_file_load(2)` and `reboot(2)`.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, bail};
use nix::libc;

use super::mount::{Access, Mount, RootKind};
use super::rooted::Root;

/// Where Debian's grub keeps its configuration.
const GRUB_CONFIGURATION: &str = "/boot/grub/grub.cfg";
/// A larger configuration is refused, in bytes.
const CONFIGURATION_BYTES_MAX: u64 = 1 << 20;
/// The kernel takes command lines up to this length on x86-64, in bytes.
const COMMAND_LINE_BYTES_MAX: usize = 2048;

/// What the installed system's own boot loader would boot by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootEntry {
    /// Path of the kernel on the root file system.
    pub kernel: String,
    /// Path of the initial ramdisk, if there is one.
    pub initial_ramdisk: Option<String>,
    /// The kernel's command line.
    pub command_line: String,
}

/// Why a boot loader's configuration gives no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootEntryError {
    /// No `linux` line.
    #[error("grub.cfg names no kernel; boot through the firmware instead")]
    NoKernel,
    /// A path that is not on the root file system, or words that only grub understands.
    #[error("grub.cfg names {0:?}, which cannot be used without grub; boot through the firmware instead")]
    Unsupported(String),
}

/// The first entry of a grub configuration, which is the default that `grub-mkconfig` writes.
///
/// # Errors
/// When there is none that can be used without grub.
pub fn first_entry(configuration: &str) -> Result<BootEntry, BootEntryError> {
    let mut lines = configuration.lines().map(str::trim);
    let mut words = lines
        .by_ref()
        .find_map(|line| command_words(line, &["linux", "linuxefi"]))
        .ok_or(BootEntryError::NoKernel)?;
    let kernel = plain_path(words.next().ok_or(BootEntryError::NoKernel)?)?;
    let words: Vec<&str> = words.collect();
    if let Some(word) = words.iter().find(|word| word.contains(['$', '"', '\'', '\\'])) {
        return Err(BootEntryError::Unsupported((*word).to_owned()));
    }
    let initial_ramdisk = lines
        .take_while(|line| *line != "}")
        .find_map(|line| command_words(line, &["initrd", "initrdefi"]))
        .and_then(|mut words| words.next())
        .map(plain_path)
        .transpose()?;
    Ok(BootEntry { kernel, initial_ramdisk, command_line: words.join(" ") })
}

fn command_words<'a>(line: &'a str, commands: &[&str]) -> Option<std::str::SplitWhitespace<'a>> {
    let mut words = line.split_whitespace();
    commands.contains(&words.next()?).then_some(words)
}

fn plain_path(path: &str) -> Result<String, BootEntryError> {
    if path.starts_with('/') && !path.contains(['$', '"', '\'', '\\', '(']) {
        return Ok(path.to_owned());
    }
    Err(BootEntryError::Unsupported(path.to_owned()))
}

/// Loads the kernel that the installed system on this partition, whose root is of this kind, would boot. Nothing happens to the
/// running kernel until [`jump`].
///
/// # Errors
/// When the file system cannot be read, its grub configuration cannot be used, or the kernel does not
/// take the new one. The machine can still be rebooted.
pub fn load(root_partition: &Path, kind: &RootKind) -> anyhow::Result<BootEntry> {
    on_root(root_partition, kind, |root| {
        let entry = entry_on(root, kind)?;
        load_entry(root, &entry)?;
        Ok(entry)
    })
}

/// Mounts a root for as long as something is done with it.
fn on_root<T>(
    partition: &Path,
    kind: &RootKind,
    work: impl FnOnce(&Root) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mount = Mount::root(kind, partition, Access::ReadOnly)?;
    let root = Root::open(mount.path()).context("could not open the installed root")?;
    let done = work(&root);
    drop(root);
    let closed = mount.close();
    let done = done?;
    closed?;
    Ok(done)
}

/// What the installed system's boot loader would boot, with paths as they are under a mount of its root.
fn entry_on(root: &Root, kind: &RootKind) -> anyhow::Result<BootEntry> {
    let BootEntry { kernel, initial_ramdisk, command_line } = first_entry(&read_configuration(root)?)?;
    let below = |path| below_root(path, kind);
    Ok(BootEntry { kernel: below(kernel), initial_ramdisk: initial_ramdisk.map(below), command_line })
}

/// Grub sees a btrfs from its top level, where the root is a folder with the name of its subvolume.
fn below_root(path: String, kind: &RootKind) -> String {
    let RootKind::Btrfs(Some(subvolume)) = kind else { return path };
    let below = path.strip_prefix('/').and_then(|path| path.strip_prefix(subvolume.as_str()));
    match below {
        Some(below) if below.starts_with('/') => below.to_owned(),
        _ => path,
    }
}

fn read_configuration(root: &Root) -> anyhow::Result<String> {
    let file = root
        .open_file(Path::new(GRUB_CONFIGURATION))
        .with_context(|| format!("could not open {GRUB_CONFIGURATION} of the installed system"))?;
    let mut text = String::new();
    file.take(CONFIGURATION_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("could not read {GRUB_CONFIGURATION} of the installed system"))?;
    Ok(text)
}

fn load_entry(root: &Root, entry: &BootEntry) -> anyhow::Result<()> {
    let open = |path: &str| -> anyhow::Result<File> {
        // Debian names its newest kernel by a link in the root.
        root.open_file_through_links(Path::new(path))
            .with_context(|| format!("could not open {path} of the installed system"))
    };
    let kernel = open(&entry.kernel)?;
    let initial_ramdisk = entry.initial_ramdisk.as_deref().map(open).transpose()?;
    if entry.command_line.len() >= COMMAND_LINE_BYTES_MAX {
        bail!(
            "the kernel command line of the installed system is longer than {COMMAND_LINE_BYTES_MAX} bytes"
        );
    }
    let command_line =
        CString::new(entry.command_line.as_str()).context("the kernel command line holds a zero byte")?;
    kexec_file_load(&kernel, initial_ramdisk.as_ref(), &command_line)
        .context("the running kernel did not take the installed one; boot through the firmware instead")
}

/// `KEXEC_FILE_NO_INITRAMFS` of `linux/kexec.h`.
const NO_INITIAL_RAMDISK: libc::c_ulong = 4;

fn kexec_file_load(kernel: &File, initial_ramdisk: Option<&File>, command_line: &CString) -> io::Result<()> {
    let (ramdisk, flags) = match initial_ramdisk {
        Some(file) => (file.as_raw_fd(), 0),
        None => (-1, NO_INITIAL_RAMDISK),
    };
    let bytes = command_line.as_bytes_with_nul();
    // SAFETY: both descriptors are open for the length of the call, and the pointer is to `bytes`,
    // whose length with its zero byte is passed along.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            libc::c_long::from(kernel.as_raw_fd()),
            libc::c_long::from(ramdisk),
            bytes.len(),
            bytes.as_ptr(),
            flags,
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Leaves the running kernel for the loaded one. Does not return when it works.
///
/// # Errors
/// When no kernel is loaded or the running one refuses.
pub fn jump() -> anyhow::Result<()> {
    nix::unistd::sync();
    // SAFETY: reboot(2) takes two magic numbers and a command, no pointers for this command.
    let answer = unsafe { libc::reboot(libc::LINUX_REBOOT_CMD_KEXEC) };
    bail!("could not jump into the installed kernel ({answer}): {}", io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::act::loop_fixture::{KINDS, Loop, image_with_root_of, root_file};
    use proptest::prelude::proptest;

    const DEBIAN: &str = "set default=0\nmenuentry 'Debian GNU/Linux' --class debian {\n\tinsmod ext2\n\
        \tlinux\t/boot/vmlinuz-6.1.0-1-amd64 root=UUID=11111111-2222-3333-4444-555555555555 ro console=ttyS0\n\
        \techo 'Loading initial ramdisk ...'\n\tinitrd\t/boot/initrd.img-6.1.0-1-amd64\n}\n\
        menuentry 'recovery' {\n\tlinux /boot/vmlinuz-old single\n\tinitrd /boot/initrd-old\n}\n";

    #[test]
    fn the_first_entry_is_what_grub_would_boot() {
        let entry = first_entry(DEBIAN).unwrap();
        assert_eq!(entry.kernel, "/boot/vmlinuz-6.1.0-1-amd64");
        assert_eq!(entry.initial_ramdisk.as_deref(), Some("/boot/initrd.img-6.1.0-1-amd64"));
        assert_eq!(entry.command_line, "root=UUID=11111111-2222-3333-4444-555555555555 ro console=ttyS0");
    }

    #[test]
    fn what_only_grub_understands_is_refused() {
        assert_eq!(first_entry(""), Err(BootEntryError::NoKernel));
        assert_eq!(first_entry("linux"), Err(BootEntryError::NoKernel));
        assert!(matches!(first_entry("linux (hd0,gpt2)/vmlinuz ro"), Err(BootEntryError::Unsupported(_))));
        assert!(matches!(first_entry("linux vmlinuz ro"), Err(BootEntryError::Unsupported(_))));
        assert!(matches!(first_entry("linux /boot/vmlinuz $extra"), Err(BootEntryError::Unsupported(_))));
        let no_ramdisk = first_entry("linux /boot/vmlinuz ro\n}\ninitrd /boot/of-another-entry").unwrap();
        assert_eq!(no_ramdisk.initial_ramdisk, None);
    }

    #[test]
    fn the_entry_is_read_from_every_kind_of_root() {
        for kind in KINDS {
            let folder = tempfile::tempdir().unwrap();
            let device = Loop::attach(&root_file(&image_with_root_of(&kind), folder.path()));
            let mount = Mount::root(&kind, &device.device, Access::ReadWrite).unwrap();
            fs::write(mount.path().join("boot/grub/grub.cfg"), "linux /boot/vmlinuz quiet\n").unwrap();
            mount.close().unwrap();
            let (kernel, command_line) = on_root(&device.device, &kind, |root| {
                let entry = entry_on(root, &kind)?;
                let mut kernel = String::new();
                root.open_file_through_links(Path::new(&entry.kernel))?.read_to_string(&mut kernel)?;
                Ok((kernel, entry.command_line))
            })
            .unwrap();
            assert_eq!((kernel.as_str(), command_line.as_str()), ("kernel", "quiet"), "{}", kind.name());
        }
    }

    #[test]
    fn grub_names_the_subvolume_that_is_the_root() {
        let subvolume = RootKind::Btrfs(Some("root".to_owned()));
        let below = |kind: &RootKind, path: &str| below_root(path.to_owned(), kind);
        assert_eq!(below(&subvolume, "/root/boot/vmlinuz"), "/boot/vmlinuz");
        assert_eq!(below(&subvolume, "/rootless/vmlinuz"), "/rootless/vmlinuz");
        assert_eq!(below(&subvolume, "/boot/vmlinuz"), "/boot/vmlinuz");
        assert_eq!(below(&RootKind::Btrfs(None), "/root/boot/vmlinuz"), "/root/boot/vmlinuz");
        assert_eq!(below(&RootKind::Ext4, "/root/boot/vmlinuz"), "/root/boot/vmlinuz");
    }

    proptest! {
        #[test]
        fn no_configuration_makes_it_panic(text in ".{0,400}") {
            let _ = first_entry(&text);
        }
    }
}
