//! Real file systems on loop devices, for tests that mount. They need root, `losetup`, `mkfs.ext4`,
//! `mkfs.xfs`, `mkfs.btrfs` and a kernel with XFS and btrfs; each test makes its own device and takes it away again.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use imaging::attributes::{ACCESS_LIST, CAPABILITY, DEFAULT_LIST};
use imaging::chunk::{compress, digest_of};
use imaging::gpt::Gpt;
use imaging::manifest::{Chunk, PartitionRole};
use imaging::root_files::{ContentBeside, Selection, read_root_beside};

use super::fixture::{Image, noise, of_bytes, partition};
use super::mount::{Access, Mount, RootKind};

/// Where the root partition of the image lies.
pub const ROOT_START: u64 = 2 << 20;
/// Size of the root partition.
pub const ROOT_BYTES: u64 = 16 << 20;

/// A loop device; dropping it takes it away.
pub struct Loop {
    /// Its device node.
    pub device: PathBuf,
    partitions: Vec<u32>,
}

impl Loop {
    /// Attaches a file.
    pub fn attach(file: &Path) -> Self {
        let shown = output(Command::new("losetup").args(["--find", "--show"]).arg(file));
        Self { device: PathBuf::from(shown.trim()), partitions: Vec::new() }
    }

    /// Attaches a file with the partitions of this image. They are told to the kernel one by one,
    /// because not every kernel that tests run on reads partition tables.
    pub fn attach_with_partitions(file: &Path, image: &Image) -> Self {
        let mut attached = Self::attach(file);
        for partition in &image.manifest.partitions {
            attached.add(partition.number, partition.first_byte / 512, partition.length_bytes / 512);
        }
        attached
    }

    /// Attaches a file with the partitions of the table in it.
    pub fn attach_with_table(file: &Path) -> Self {
        let table = Gpt::read(fs::read(file).unwrap().as_slice()).unwrap();
        let mut attached = Self::attach(file);
        for partition in &table.partitions {
            let sectors = partition.last_sector + 1 - partition.first_sector;
            attached.add(partition.number, partition.first_sector, sectors);
        }
        attached
    }

    fn add(&mut self, number: u32, first_sector: u64, sectors: u64) {
        let numbers = [u64::from(number), first_sector, sectors].map(|number| number.to_string());
        output(Command::new("addpart").arg(&self.device).args(numbers));
        self.partitions.push(number);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        for number in &self.partitions {
            let _ = Command::new("delpart").arg(&self.device).arg(number.to_string()).status();
        }
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}

fn output(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?} (needs root): {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Runs a program that must succeed.
pub fn must(program: &str, arguments: &[&str], path: &Path) {
    output(Command::new(program).args(arguments).arg(path));
}

/// `cap_net_raw+ep` as `setcap` writes it.
pub const CAPABILITIES: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `u::rwx,u:1000:r--,g::r-x,m::r-x,o::r-x` as `getxattr(2)` gives it.
pub const ACCESS: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe8, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
    0x10, 0, 5, 0, 255, 255, 255, 255, 0x20, 0, 5, 0, 255, 255, 255, 255,
];

/// Sets an attribute; a symbolic link is not followed.
pub fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty())
        .unwrap_or_else(|error| panic!("{name} of {}: {error} (needs root)", path.display()));
}

fn give_attributes(root: &Path) {
    set_attribute(&root.join("usr/bin/ping"), CAPABILITY, &CAPABILITIES);
    set_attribute(&root.join("usr/lib/library"), ACCESS_LIST, &ACCESS);
    set_attribute(&root.join("usr/lib/library"), "user.long", &[7; 600]);
    // What is made in this folder gets an access list unless somebody takes it away.
    set_attribute(&root.join("usr/lib/deep"), DEFAULT_LIST, &ACCESS);
    for path in ["usr/bin/tool", "usr/bin/link", "usr/bin"] {
        set_attribute(&root.join(path), "security.selinux", b"system_u:object_r:bin_t:s0\0");
    }
}

fn fill(root: &Path) {
    for folder in ["usr/bin", "usr/lib/deep/er", "boot/grub", "etc", "var/log"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for (name, size) in [
        ("usr/bin/tool", 2_500_000),
        ("usr/bin/sudo", 70_000),
        ("usr/bin/ping", 30_000),
        ("usr/lib/library", 300_000),
    ] {
        fs::write(root.join(name), noise(size as u32, size)).unwrap();
    }
    for number in 0..50 {
        fs::write(root.join(format!("usr/lib/deep/er/{number}")), [number]).unwrap();
    }
    fs::set_permissions(root.join("usr/bin/sudo"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("tool", root.join("usr/bin/link")).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    fs::write(root.join("boot/vmlinuz"), "kernel").unwrap();
    fs::write(root.join("boot/grub/grubenv"), "changes").unwrap();
    fs::write(root.join("etc/hostname"), "of the image").unwrap();
    give_attributes(root);
}

/// The kinds of root that everything is tried on.
pub const KINDS: [RootKind; 3] = [RootKind::Ext4, RootKind::Xfs, RootKind::Btrfs(None)];

/// A disk image with an immutable first partition and an ext4 root.
pub fn image_with_root() -> Image {
    image_with_root_of(&RootKind::Ext4)
}

/// A disk image with an immutable first partition and a root of this kind.
pub fn image_with_root_of(kind: &RootKind) -> Image {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root");
    File::create(&file).unwrap().set_len(ROOT_BYTES).unwrap();
    match kind {
        RootKind::Ext4 => must("mkfs.ext4", &["-q", "-F"], &file),
        // Without these mkfs.xfs makes none of less than 300 MB.
        RootKind::Xfs => {
            let small = ["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"].map(|name| (name, "1"));
            output(Command::new("mkfs.xfs").envs(small).args(["-q", "-f"]).arg(&file));
        }
        RootKind::Btrfs(_) => must("mkfs.btrfs", &["-q", "-f", "-M", "-m", "single", "-d", "single"], &file),
    }
    let made = Loop::attach(&file);
    let mount = Mount::root(kind, &made.device, Access::ReadWrite).unwrap();
    fill(mount.path());
    mount.close().unwrap();
    drop(made);
    let bytes = [noise(77, ROOT_START as usize), fs::read(&file).unwrap()].concat();
    let partitions = vec![
        partition(1, 1 << 20, ROOT_START, PartitionRole::Esp),
        partition(2, ROOT_START, ROOT_START + ROOT_BYTES, PartitionRole::Root),
    ];
    let mut image = of_bytes(bytes, partitions);
    let root = image.manifest.partition(2).unwrap();
    let (mut content, mut stored) = (Vec::new(), Vec::new());
    let mut keep = |chunk: &[u8]| {
        content.push(Chunk::Stored(digest_of(chunk)));
        stored.push((digest_of(chunk), compress(chunk).unwrap()));
        Ok(())
    };
    let mut beside = ContentBeside::new(image.manifest.content_start(), &mut keep);
    let selection = Selection::default();
    let files = read_root_beside(&image.bytes, root, &selection, &mut beside, &mut |_| {}).unwrap();
    beside.close().unwrap();
    image.manifest.root = Some(files);
    image.manifest.content = content.into();
    image.stored.extend(stored);
    image
}

/// What kind of root stands on a device.
pub fn kind_on(device: &Path) -> RootKind {
    let mut head = vec![0; 0x1_0048];
    File::open(device).unwrap().read_exact(&mut head).unwrap();
    match head.as_slice() {
        [b'X', b'F', b'S', b'B', ..] => RootKind::Xfs,
        [.., b'B', b'H', b'R', b'f', b'S', b'_', b'M'] => RootKind::Btrfs(None),
        _ => RootKind::Ext4,
    }
}

/// The root partition of the image in a file of its own.
pub fn root_file(image: &Image, folder: &Path) -> PathBuf {
    let file = folder.join("partition");
    fs::write(&file, &image.bytes[ROOT_START as usize..]).unwrap();
    file
}
