//! Real ext4 file systems on loop devices, for tests that mount. They need root, `losetup` and
//! `mkfs.ext4`; each test makes its own device and takes it away again.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use imaging::attributes::{ACCESS_LIST, CAPABILITY, DEFAULT_LIST};
use imaging::manifest::PartitionRole;
use imaging::root_files::{Selection, read_root};

use super::fixture::{Image, noise, of_bytes, partition};

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
            let numbers =
                [u64::from(partition.number), partition.first_byte / 512, partition.length_bytes / 512];
            output(
                Command::new("addpart").arg(&attached.device).args(numbers.map(|number| number.to_string())),
            );
            attached.partitions.push(partition.number);
        }
        attached
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

/// A disk image with an immutable first partition and an ext4 root.
pub fn image_with_root() -> Image {
    let folder = tempfile::tempdir().unwrap();
    let (tree, file) = (folder.path().join("tree"), folder.path().join("root"));
    fs::create_dir(&tree).unwrap();
    fill(&tree);
    File::create(&file).unwrap().set_len(ROOT_BYTES).unwrap();
    output(Command::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(&tree).arg(&file));
    let bytes = [noise(77, ROOT_START as usize), fs::read(&file).unwrap()].concat();
    let partitions = vec![
        partition(1, 1 << 20, ROOT_START, PartitionRole::Esp),
        partition(2, ROOT_START, ROOT_START + ROOT_BYTES, PartitionRole::Root),
    ];
    let mut image = of_bytes(bytes, partitions);
    let root = image.manifest.partition(2).unwrap();
    image.manifest.root = Some(read_root(&image.bytes, root, &Selection::default(), &mut |_| {}).unwrap());
    image
}

/// The root partition of the image in a file of its own.
pub fn root_file(image: &Image, folder: &Path) -> PathBuf {
    let file = folder.join("partition");
    fs::write(&file, &image.bytes[ROOT_START as usize..]).unwrap();
    file
}
