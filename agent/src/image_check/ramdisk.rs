//! The check from the ramdisk: nothing of the installed system runs, nothing is written.

use std::path::Path;
use std::thread;

use contract::id::DiskId;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use imaging::manifest::{Manifest, RootManifest};

use super::Measured;
use super::files::{FileFindings, all_files, compare_all};
use super::partitions::compare_partitions;
use super::table::is_unfinished;
use crate::act::device::{BlockDevice, PartitionPlace};
use crate::act::disk::{DirectDisk, partition_device};
use crate::act::mount::{Access, Mount, RootKind};
use crate::act::rooted::Root;

/// What is to be compared with what.
#[derive(Debug, Clone, Copy)]
pub struct ImageCheckRequest<'a> {
    /// The image that the disk says it carries, or should carry.
    pub manifest: &'a Manifest,
    /// The image's first chunk, compared with its digest. Without it boot code and backup table are
    /// not compared.
    pub first_chunk: Option<&'a [u8]>,
    /// The disk's stable identity, for the readings.
    pub disk: &'a DiskId,
    /// Its device node in this boot.
    pub os_disk: &'a Path,
}

/// Compares all of it. Read-only: the journal of a file system that was not cleanly unmounted is not
/// replayed.
#[must_use]
pub fn check_from_ramdisk(request: &ImageCheckRequest<'_>) -> Vec<Measured> {
    match DirectDisk::open_read_only(request.os_disk) {
        Ok(device) => check_device(request, &device),
        Err(error) => nothing_read(&format!("{error:#}")),
    }
}

fn nothing_read(why: &str) -> Vec<Measured> {
    let unreadable = Outcome::Unreadable(why.to_owned());
    let mut measured = all_files(&unreadable);
    measured.push((Subject::Image, ReadingKey::ImageUnfinished, unreadable.clone()));
    measured.push((Subject::Image, ReadingKey::ImagePartitionsAltered, unreadable));
    measured
}

fn check_device(request: &ImageCheckRequest<'_>, device: &DirectDisk) -> Vec<Measured> {
    let unfinished = is_unfinished(device, request.manifest, request.first_chunk);
    if unfinished == Ok(true) {
        // There is no image to compare with; what stands where it should be means nothing.
        let mut measured = all_files(&Outcome::Absent);
        measured.push((Subject::Image, ReadingKey::ImagePartitionsAltered, Outcome::Absent));
        measured.push((
            Subject::Image,
            ReadingKey::ImageUnfinished,
            Outcome::Value(ReadingValue::Flag(true)),
        ));
        measured.push(read_errors(request, 0));
        return measured;
    }
    let (partitions, files) = thread::scope(|scope| {
        let partitions = scope.spawn(|| compare_partitions(device as &dyn BlockDevice, request.manifest));
        let files = check_files(request);
        (partitions.join(), files)
    });
    let (mut measured, mut device_errors) = match files {
        Files::Compared(findings) => {
            let errors = findings.device_errors;
            (findings.readings(), errors)
        }
        Files::NotLookedAt(outcome) => (all_files(&outcome), 0),
    };
    match partitions {
        Ok(findings) => {
            device_errors += findings.device_errors;
            measured.push(findings.reading);
        }
        Err(_) => {
            let why = Outcome::Unreadable("a thread that read partitions ended early".to_owned());
            measured.push((Subject::Image, ReadingKey::ImagePartitionsAltered, why));
        }
    }
    let unfinished = Outcome::from(unfinished).map(ReadingValue::Flag);
    measured.push((Subject::Image, ReadingKey::ImageUnfinished, unfinished));
    measured.push(read_errors(request, device_errors));
    measured
}

fn read_errors(request: &ImageCheckRequest<'_>, count: u64) -> Measured {
    let count = Outcome::Value(ReadingValue::Count(count));
    (Subject::Disk(request.disk.clone()), ReadingKey::DiskReadErrors, count)
}

enum Files {
    Compared(FileFindings),
    NotLookedAt(Outcome<ReadingValue>),
}

fn check_files(request: &ImageCheckRequest<'_>) -> Files {
    let Some(root) = &request.manifest.root else { return Files::NotLookedAt(Outcome::Absent) };
    match compare_mounted(request, root) {
        Ok(findings) => Files::Compared(findings),
        Err(error) => Files::NotLookedAt(Outcome::Unreadable(format!("{error:#}"))),
    }
}

fn compare_mounted(request: &ImageCheckRequest<'_>, root: &RootManifest) -> anyhow::Result<FileFindings> {
    let place = root_place(request.manifest, root)?;
    let device = partition_device(request.os_disk, place)?;
    let mount = Mount::root(&RootKind::of(root)?, &device, Access::ReadOnly)?;
    let mounted = Root::open(mount.path())?;
    let findings = compare_all(&mounted, root, None);
    drop(mounted);
    mount.close()?;
    Ok(findings)
}

/// Where the manifest says that the root file system lies.
///
/// # Errors
/// When the manifest has no such partition, which its own checks rule out.
pub(crate) fn root_place(manifest: &Manifest, root: &RootManifest) -> anyhow::Result<PartitionPlace> {
    let partition = manifest
        .partition(root.partition)
        .ok_or_else(|| anyhow::anyhow!("the image {} has no partition {}", manifest.name, root.partition))?;
    Ok(PartitionPlace {
        number: partition.number,
        offset_bytes: partition.first_byte,
        length_bytes: partition.length_bytes,
    })
}

#[cfg(test)]
mod tests;
