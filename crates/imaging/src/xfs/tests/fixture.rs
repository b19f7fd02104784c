//! Real XFS file systems, made by `mkfs.xfs` and filled through the kernel's own driver. They need
//! root and a kernel with XFS; each is a file of its own that is gone when the test has ended.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use contract::id::Digest;
use rustix::fs::{FallocateFlags, XattrFlags, fallocate, lgetxattr, llistxattr, lsetxattr};
use tempfile::TempDir;

use crate::attributes::{
    ACCESS_LIST, AttributeValue, CAPABILITY, DEFAULT_LIST, ExtendedAttribute, is_of_image,
};
use crate::manifest::{EntryKind, ImmutableEntry};

/// Size of the file systems, in bytes: `mkfs.xfs` takes no less for its tests.
pub const FILE_SYSTEM_BYTES: u64 = 32 << 20;

/// `cap_net_raw+ep` as `setcap` writes it.
const CAPABILITIES: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `u::rwx,u:1000:r--,g::r-x,m::r-x,o::r-x` as `getxattr(2)` gives it.
const ACCESS: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe8, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
    0x10, 0, 5, 0, 255, 255, 255, 255, 0x20, 0, 5, 0, 255, 255, 255, 255,
];

/// Names in a folder that needs a tree of hashes, and in one that needs a block of them.
const MANY: u32 = 900;
const FEW: u32 = 150;

/// A folder that costs the disk nothing.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Runs a program that must succeed.
pub fn must(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        done.status.success(),
        "{command:?} (needs root, xfsprogs and a kernel with XFS): {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A mounted file system; dropping it takes it down.
pub struct Mounted(pub PathBuf);

impl Mounted {
    /// Mounts a file with XFS.
    pub fn new(file: &Path, options: &str) -> Self {
        Self::with(file, "xfs", &format!("nouuid{options}"))
    }

    /// Mounts a file with another file system.
    pub fn with(file: &Path, kind: &str, options: &str) -> Self {
        let point = file.with_extension("mounted");
        fs::create_dir_all(&point).unwrap();
        let options = format!("loop,{options}");
        must(Command::new("mount").args(["-t", kind, "-o", &options]).arg(file).arg(&point));
        Self(point)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Makes an empty file system over a medium that held something else before.
pub fn make(file: &Path, options: &[&str]) {
    fs::write(file, vec![0xee; FILE_SYSTEM_BYTES as usize]).unwrap();
    // Without these it makes none of less than 300 MB.
    let small = ["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"].map(|name| (name, "1"));
    must(Command::new("mkfs.xfs").envs(small).args(["-q", "-f", "-K"]).args(options).arg(file));
}

/// A file system with everything that the reader must know.
pub fn filled(folder: &Path, options: &[&str]) -> PathBuf {
    let file = folder.join("xfs");
    make(&file, options);
    let mounted = Mounted::new(&file, "");
    fill(&mounted.0, &[("user.long", 30_000), ("user.longest", 65_536), ("user.middle", 3000)]);
    drop(mounted);
    file
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|error| panic!("{name} of {path:?}: {error}"));
}

/// Makes a tree with everything that readers must know; attributes may have these lengths.
pub fn fill(root: &Path, long_values: &[(&str, usize)]) {
    for folder in ["usr/bin", "usr/lib/many", "usr/lib/few", "usr/lib/one", "boot", "etc"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("x".repeat(40), root.join("usr/lib/short-link")).unwrap();
    symlink("y".repeat(1000), root.join("usr/lib/long-link")).unwrap();
    fs::write(root.join("etc/passwd"), "not immutable").unwrap();
    fs::write(root.join("usr/bin/empty"), "").unwrap();
    let noise: Vec<u8> =
        (0..3_000_123_u32).flat_map(|number| (number / 7).to_le_bytes()).take(3_000_123).collect();
    fs::write(root.join("usr/bin/sudo"), noise).unwrap();
    fs::set_permissions(root.join("usr/bin/sudo"), fs::Permissions::from_mode(0o4755)).unwrap();
    chown(root.join("usr/bin/sudo"), Some(70_000), Some(80_000)).unwrap();
    fs::hard_link(root.join("usr/bin/sudo"), root.join("usr/bin/sudoedit")).unwrap();
    fs::write(root.join("boot/vmlinuz"), "kernel").unwrap();
    for number in 0..MANY {
        fs::write(root.join(format!("usr/lib/many/a-file-with-a-rather-long-name-{number}")), [number as u8])
            .unwrap();
    }
    for number in 0..FEW {
        fs::write(root.join(format!("usr/lib/few/a-file-with-a-name-{number}")), [number as u8]).unwrap();
    }
    for number in 0..12 {
        fs::write(root.join(format!("usr/lib/one/a-file-with-a-rather-long-name-{number}")), [number])
            .unwrap();
    }
    fs::create_dir(root.join("usr/lib/inside")).unwrap();
    fs::write(root.join("usr/lib/inside/file"), "one").unwrap();
    fragment(root);
    give_attributes(root, long_values);
    // Names are taken out again, which leaves unused room between the others.
    for number in (0..MANY).step_by(3) {
        fs::remove_file(root.join(format!("usr/lib/many/a-file-with-a-rather-long-name-{number}"))).unwrap();
    }
}

/// Files with holes, with blocks that were never written, with a tree of extents, and shared ones.
fn fragment(root: &Path) {
    let holes = File::create(root.join("usr/lib/holes")).unwrap();
    for piece in 0..600 {
        holes.write_all_at(&[(piece % 250) as u8 + 1; 4096], piece * 8192).unwrap();
    }
    holes.set_len(600 * 8192 + 5).unwrap();
    let allocated = File::create(root.join("usr/lib/allocated")).unwrap();
    allocated.write_all_at(b"begins with this", 0).unwrap();
    fallocate(&allocated, FallocateFlags::empty(), 0, 200_000).unwrap();
    allocated.write_all_at(b"and goes on with that", 100_000).unwrap();
    // Allocated behind its end.
    let behind = File::create(root.join("usr/lib/behind")).unwrap();
    behind.write_all_at(b"short", 0).unwrap();
    fallocate(&behind, FallocateFlags::KEEP_SIZE, 0, 100_000).unwrap();
    let _ = Command::new("cp")
        .arg("--reflink=auto")
        .args([root.join("usr/bin/sudo"), root.join("usr/lib/shared")])
        .status();
}

fn give_attributes(root: &Path, long_values: &[(&str, usize)]) {
    attribute(&root.join("usr/bin/sudo"), CAPABILITY, &CAPABILITIES);
    attribute(&root.join("usr/bin"), ACCESS_LIST, &ACCESS);
    attribute(&root.join("usr/bin"), DEFAULT_LIST, &ACCESS);
    attribute(&root.join("usr/bin/empty"), "security.selinux", b"system_u:object_r:bin_t:s0\0");
    attribute(&root.join("usr/bin/empty"), "trusted.mark", b"");
    attribute(&root.join("usr/lib/short-link"), "security.selinux", b"system_u:object_r:lib_t:s0\0");
    // A leaf, several leaves, and values of their own.
    for number in 0..12 {
        attribute(&root.join("usr/lib/allocated"), &format!("user.number-{number}"), &[number; 60]);
    }
    for number in 0..200 {
        attribute(&root.join("usr/lib/holes"), &format!("user.number-{number}"), &[number; 150]);
    }
    for (name, length) in long_values {
        attribute(&root.join("boot/vmlinuz"), name, &vec![0xab; *length]);
    }
}

/// The attributes of a file as the kernel gives them, ordered.
pub fn attributes_of(path: &Path) -> Vec<ExtendedAttribute> {
    let mut list = vec![0; 65_536];
    let length = llistxattr(path, &mut list).unwrap();
    let names = list[..length].split(|byte| *byte == 0).map(|name| String::from_utf8(name.to_vec()).unwrap());
    // What stands behind the access lists is shown by its own name too.
    let names = names.filter(|name| is_of_image(name) && !name.starts_with("trusted.SGI_ACL_"));
    let mut found: Vec<ExtendedAttribute> = names
        .map(|name| {
            let mut value = vec![0; 65_536];
            let length = lgetxattr(path, name.as_str(), &mut value).unwrap();
            value.truncate(length);
            ExtendedAttribute { name, value: AttributeValue(value) }
        })
        .collect();
    found.sort();
    found
}

/// Everything below these paths, as the kernel shows it.
pub fn paths_below(root: &Path, tops: &[&str]) -> Vec<String> {
    let mut waiting: Vec<String> = tops.iter().map(|top| (*top).to_owned()).collect();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        let Ok(status) = fs::symlink_metadata(root.join(&path[1..])) else { continue };
        if status.is_dir() {
            for entry in fs::read_dir(root.join(&path[1..])).unwrap() {
                waiting.push(format!("{path}/{}", entry.unwrap().file_name().to_str().unwrap()));
            }
        }
        assert!(status.nlink() > 0);
        found.push(path);
    }
    found.sort();
    found
}

/// Compares an entry with what the kernel shows.
pub fn assert_is(entry: &ImmutableEntry, path: &Path) {
    let status = fs::symlink_metadata(path).unwrap();
    assert_eq!(entry.mode, status.mode() & 0o7777, "{path:?}");
    assert_eq!((entry.uid, entry.gid), (status.uid(), status.gid()), "{path:?}");
    assert_eq!(entry.attributes, attributes_of(path), "{path:?}");
    match &entry.kind {
        EntryKind::Directory => assert!(status.is_dir(), "{path:?}"),
        EntryKind::Symlink { target } => {
            assert_eq!(fs::read_link(path).unwrap().to_str().unwrap(), target, "{path:?}");
        }
        EntryKind::File { size_bytes, digest, .. } => {
            assert_eq!(*size_bytes, status.len(), "{path:?}");
            assert_eq!(*digest, Digest::of(&fs::read(path).unwrap()), "{path:?}");
        }
    }
}
