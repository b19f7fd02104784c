//! All immutable files of a mounted root, on all cores.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use imaging::manifest::{ImmutableEntry, RootManifest};
use nix::sys::stat::fstat;

use super::Measured;
use super::cache::FileCache;
use super::compare::{Comparison, Difference};
use super::folders::{Folder, Piece, folders, pieces};
use super::foreign::Foreign;
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
    /// Folders that could not be listed, so that foreign files in them could hide.
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
    let folders = folders(manifest);
    let pieces = pieces(&folders);
    let comparison = Comparison { manifest, root_device: root_device(root), cache };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut findings = FileFindings::default();
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            findings.compare(root, &comparison, &folders[piece.folder], *piece);
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
    let mut roots = Foreign::default();
    roots.look_for_roots(root, manifest);
    all.add_foreign(roots);
    all.sort();
    all
}

/// Without it every mounted file system is taken for a part of the root.
fn root_device(root: &Root) -> Option<u64> {
    root.status(Path::new("/")).ok().map(|status| status.st_dev)
}

impl FileFindings {
    fn compare(&mut self, root: &Root, comparison: &Comparison<'_>, folder: &Folder<'_>, piece: Piece) {
        let entries = folder.entries.get(piece.from..piece.until).unwrap_or_default();
        let opened = match root.open_folder(Path::new(folder.path)) {
            Ok(opened) => opened,
            // It is a folder in the image and something else here: its own entry tells.
            Err(error) if means_absent(&error) => {
                entries.iter().for_each(|entry| self.count(entry, Difference::Missing));
                return;
            }
            Err(error) => {
                for entry in entries {
                    self.count(entry, Difference::unreadable("look at", &entry.path, &error));
                }
                if folder.entry.is_some() {
                    self.unlisted.push(format!("could not list {}: {error}", folder.path));
                }
                return;
            }
        };
        for entry in entries {
            self.count(entry, comparison.entry_in(&opened, entry));
        }
        if let Some(entry) = folder.entry.filter(|_| piece.from == 0) {
            let status = fstat(&opened);
            if !status.is_ok_and(|status| comparison.is_empty_mount_point(&status, entry)) {
                let mut foreign = Foreign::default();
                foreign.look_in(comparison.manifest, folder, &opened);
                self.add_foreign(foreign);
            }
        }
    }

    fn count(&mut self, entry: &ImmutableEntry, difference: Difference) {
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

    fn add_foreign(&mut self, foreign: Foreign) {
        self.foreign.extend(foreign.paths);
        self.unlisted.extend(foreign.unlisted);
        self.device_errors += foreign.device_errors;
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
