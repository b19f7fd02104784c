//! A recorded tree of `/sys`, `/proc` and `/dev`, made by a test.

use std::path::PathBuf;

use super::source::Source;

/// A tree that is gone with the test.
#[derive(Debug)]
pub struct Tree {
    root: tempfile::TempDir,
}

impl Tree {
    /// One with nothing in it.
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// Where `inside` stands.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.path().join(inside)
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, inside: &str, content: impl AsRef<[u8]>) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Makes a folder, with those above it.
    pub fn directory(&self, inside: &str) {
        std::fs::create_dir_all(self.path(inside)).unwrap();
    }

    /// Makes a link, as sysfs has them.
    pub fn link(&self, inside: &str, target: &str) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// For the probes.
    pub fn source(&self) -> Source {
        Source::recorded(self.root.path())
    }
}
