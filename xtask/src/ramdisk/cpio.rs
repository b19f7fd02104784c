//! A writer for the kernel's initramfs format: cpio "newc" (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! Owner, times and inode numbers are fixed, so the same files give the same bytes.

use std::collections::BTreeSet;

const REGULAR_FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive in memory.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inodes: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// Adds a regular file, and the directories above it that are not there yet.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.parents(path);
        self.entry(path, REGULAR_FILE | permissions, (0, 0), content);
    }

    /// Adds a directory and those above it, unless they are there.
    pub fn directory(&mut self, path: &str) {
        self.parents(path);
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
        }
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, permissions: u32, major: u32, minor: u32) {
        self.parents(path);
        self.entry(path, CHARACTER_DEVICE | permissions, (major, minor), &[]);
    }

    /// Ends the archive and gives its bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.inodes = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/')
            && !parent.is_empty()
        {
            self.directory(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        // One link for everything but directories; the kernel does not look at the count of those.
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        let name_length = path.len() + 1;
        let fields: [u32; 13] = [
            self.inodes,
            mode,
            0,
            0,
            links,
            0,
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            0,
            0,
            device.0,
            device.1,
            u32::try_from(name_length).unwrap_or(u32::MAX),
            0,
        ];
        self.inodes += 1;
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_aligned_headers_and_each_directory_once() {
        let mut archive = Archive::default();
        archive.file("lib/modules/a.ko", 0o644, b"abc");
        archive.file("lib/modules/b.ko", 0o644, b"");
        archive.character_device("dev/console", 0o600, 5, 1);
        let bytes = archive.finish();
        let names: Vec<String> = entries(&bytes);
        assert_eq!(
            names,
            [
                "lib",
                "lib/modules",
                "lib/modules/a.ko",
                "lib/modules/b.ko",
                "dev",
                "dev/console",
                "TRAILER!!!"
            ]
        );
    }

    /// Reads the names back the way the kernel walks the archive.
    fn entries(bytes: &[u8]) -> Vec<String> {
        let field = |at: usize| {
            let text = std::str::from_utf8(&bytes[at..at + 8]).unwrap();
            usize::try_from(u32::from_str_radix(text, 16).unwrap()).unwrap()
        };
        let mut names = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], b"070701", "header at {at}");
            let (size, name_length) = (field(at + 54), field(at + 94));
            let name = &bytes[at + 110..at + 110 + name_length - 1];
            names.push(String::from_utf8(name.to_vec()).unwrap());
            at = (at + 110 + name_length).next_multiple_of(4);
            at = (at + size).next_multiple_of(4);
        }
        names
    }
}
