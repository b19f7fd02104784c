//! The check in the running system, on `/` itself.

use std::path::Path;

use contract::reading::{Outcome, ReadingKey, Subject};
use imaging::manifest::Manifest;

use super::Measured;
use super::cache::FileCache;
use super::files::{all_files, compare_all};
use super::partitions::compare_partitions;
use crate::act::disk::DirectDisk;
use crate::act::rooted::Root;

/// Compares the immutable files below `root`, and the immutable partitions of the disk if one is
/// given. Files that have not changed since the cache was filled are not read again.
#[must_use]
pub fn check_in_place(
    root: &Path,
    os_disk: Option<&Path>,
    manifest: &Manifest,
    cache: &mut FileCache,
) -> Vec<Measured> {
    let mut measured = match (&manifest.root, Root::open(root)) {
        (None, _) => all_files(&Outcome::Absent),
        (Some(_), Err(error)) => {
            all_files(&Outcome::Unreadable(format!("could not open {}: {error}", root.display())))
        }
        (Some(files), Ok(opened)) => {
            let readings = compare_all(&opened, files, Some(cache)).readings();
            cache.turn_over();
            readings
        }
    };
    if let Some(disk) = os_disk {
        measured.push(match DirectDisk::open_read_only(disk) {
            Ok(device) => compare_partitions(&device, manifest).reading,
            Err(error) => {
                let why = Outcome::Unreadable(format!("{error:#}"));
                (Subject::Image, ReadingKey::ImagePartitionsAltered, why)
            }
        });
    }
    measured
}
