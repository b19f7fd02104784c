//! All immutable files of a mounted root, on all cores.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use imaging::manifest::{EntryKind, ImmutableEntry, RootManifest};

use super::Measured;
use super::cache::FileCache;
use super::compare::{Difference, compare_entry, join};
use crate::act::restore::names_in;
use crate::act::rooted::{Root, means_absent};

/// The keys of all readings that are about files.
pub(super) const FILE_KEYS: [ReadingKey; 4] = [
    ReadingKey::ImageFilesAltered,
    ReadingKey::ImageFilesMissing,
    ReadingKey::ImageFilesForeign,
    ReadingKey::ImageFilesChecked,
];

/// What comparing all files gave.
#[derive(Debug, Default)]
pub(super) struct FileFindings {
    altered: Vec<String>,
    missing: Vec<String>,
    foreign: Vec<String>,
    checked: u64,
    /// Entries that could not be looked at.
    unreadable: Vec<String>,
    /// Folders that could not be listed.
    unlisted: Vec<String>,
    /// How often the device answered with an unrecoverable error.
    pub(super) device_errors: u64,
}

/// The same outcome for all readings about files.
pub(super) fn all_files(outcome: &Outcome<ReadingValue>) -> Vec<Measured> {
    FILE_KEYS.iter().map(|key| (Subject::Image, *key, outcome.clone())).collect()
}

/// Compares every entry and looks for what the image does not know.
pub(super) fn compare_all(root: &Root, manifest: &RootManifest, cache: Option<&FileCache>) -> FileFindings {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut findings = FileFindings::default();
        while let Some(entry) = manifest.entries.get(next.fetch_add(1, Ordering::Relaxed)) {
            findings.compare(root, manifest, entry, cache);
        }
        findings
    };
    let threads = thread::available_parallelism().map_or(2, usize::from).clamp(1, 16);
    let mut all = FileFindings::default();
    thread::scope(|scope| {
        let handles: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        all.add(work());
        for handle in handles {
            match handle.join() {
                Ok(findings) => all.add(findings),
                Err(_) => all.unreadable.push("a thread that compared files ended early".to_owned()),
            }
        }
    });
    all.look_for_foreign_roots(root, manifest);
    all.sort();
    all
}

impl FileFindings {
    fn compare(
        &mut self,
        root: &Root,
        manifest: &RootManifest,
        entry: &ImmutableEntry,
        cache: Option<&FileCache>,
    ) {
        let difference = compare_entry(root, entry, cache);
        if matches!(entry.kind, EntryKind::Directory)
            && matches!(difference, Difference::Same | Difference::Altered)
        {
            self.look_for_foreign(root, manifest, &entry.path);
        }
        match difference {
            Difference::Same => self.checked += 1,
            Difference::Altered => {
                self.checked += 1;
                self.altered.push(entry.path.clone());
            }
            Difference::Missing => {
                self.checked += 1;
                self.missing.push(entry.path.clone());
            }
            Difference::Unreadable { why, device_error } => {
                self.device_errors += u64::from(device_error);
                self.unreadable.push(why);
            }
        }
    }

    /// Names in a folder that the image does not know. What is below a foreign folder is not listed.
    fn look_for_foreign(&mut self, root: &Root, manifest: &RootManifest, folder: &str) {
        let listed = root.open_folder(Path::new(folder)).and_then(|opened| names_in(&opened));
        let names = match listed {
            Ok(names) => names,
            // It is a folder in the image and something else here: reported as altered already.
            Err(error) if means_absent(&error) => return,
            Err(error) => {
                self.device_errors += u64::from(error.raw_os_error() == Some(nix::libc::EIO));
                self.unlisted.push(format!("could not list {folder}: {error}"));
                return;
            }
        };
        for name in names {
            let path = join(folder, &name);
            let known = std::str::from_utf8(name.as_bytes()).is_ok() && manifest.entry(&path).is_some();
            if !known && manifest.covers(&path) {
                self.foreign.push(path);
            }
        }
    }

    /// An immutable path that the image does not have at all must not be there either.
    fn look_for_foreign_roots(&mut self, root: &Root, manifest: &RootManifest) {
        for path in manifest.immutable_paths.iter().filter(|path| manifest.entry(path).is_none()) {
            match root.status(Path::new(path)) {
                Ok(_) if manifest.covers(path) => self.foreign.push(path.clone()),
                Ok(_) => {}
                Err(error) if means_absent(&error) => {}
                Err(error) => self.unlisted.push(format!("could not look at {path}: {error}")),
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.altered.extend(other.altered);
        self.missing.extend(other.missing);
        self.foreign.extend(other.foreign);
        self.checked += other.checked;
        self.unreadable.extend(other.unreadable);
        self.unlisted.extend(other.unlisted);
        self.device_errors += other.device_errors;
    }

    fn sort(&mut self) {
        for list in [
            &mut self.altered,
            &mut self.missing,
            &mut self.foreign,
            &mut self.unreadable,
            &mut self.unlisted,
        ] {
            list.sort();
            list.dedup();
        }
    }

    /// The readings. A list is only a value if everything that could have been on it was looked at.
    pub(super) fn readings(self) -> Vec<Measured> {
        let altered = listed(self.altered, &self.unreadable);
        let missing = listed(self.missing, &self.unreadable);
        let foreign = listed(self.foreign, &self.unlisted);
        let checked = Outcome::Value(ReadingValue::Count(self.checked));
        FILE_KEYS
            .into_iter()
            .zip([altered, missing, foreign, checked])
            .map(|(key, outcome)| (Subject::Image, key, outcome))
            .collect()
    }
}

fn listed(found: Vec<String>, unreadable: &[String]) -> Outcome<ReadingValue> {
    match unreadable.first() {
        None => Outcome::Value(ReadingValue::list(found)),
        Some(first) => Outcome::Unreadable(format!(
            "{first} ({} such in all; besides, {} were found)",
            unreadable.len(),
            found.len()
        )),
    }
}

#[cfg(test)]
mod tests;
