//! The image that a node should carry: is it there, and where does it boot from?

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use contract::agent_api::ContextReply;
use contract::id::{DiskId, ImageId};
use contract::inventory::DiskFacts;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use imaging::chunk::decompress_verified;
use imaging::layout::read_table;
use imaging::manifest::{Chunk, Manifest};
use imaging::source::ReadAt;

use crate::act::device::DiskResolver;
use crate::act::disk::partition_device;
use crate::act::mount::RootKind;
use crate::act::service::Service;
use crate::image_check::{ImageCheckRequest, check_from_ramdisk, root_place};
use crate::node_partition::identity_at;
use crate::probe::disks::{self, FoundDisk};
use crate::probe::evidence::{Found, Look};
use crate::probe::raw_read::RawDisk;
use crate::probe::source::Source;
use crate::probe::{data_partitions, node_data};
use crate::service::client::Client;

/// What the image check measures.
const KEYS: [ReadingKey; 5] = [
    ReadingKey::ImagePartitionsAltered,
    ReadingKey::ImageFilesAltered,
    ReadingKey::ImageFilesMissing,
    ReadingKey::ImageFilesForeign,
    ReadingKey::ImageFilesChecked,
];

/// Disks as they were found just now, for those who know them by identity.
#[derive(Debug)]
pub struct FoundDisks(pub Vec<FoundDisk>);

impl DiskResolver for FoundDisks {
    fn device_path(&self, disk: &DiskId) -> anyhow::Result<PathBuf> {
        let mut found = self.0.iter().filter(|found| found.facts.id == *disk);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.device.clone()),
            (None, _) => bail!("disk {disk} is not there; look again"),
            (Some(_), Some(_)) => bail!("disk {disk} is there twice; take one of them out"),
        }
    }
}

/// Compares the installed image with the assigned one. What is not compared is said with the reason.
pub async fn check(client: &Arc<Client>, context: &ContextReply, seen: &Look) -> Vec<Found> {
    let Some(image) = context.node.assignment.image else {
        return not_compared("no image is assigned");
    };
    match seen.evidence.outcome(&Subject::Image, ReadingKey::ImageInstalled) {
        Outcome::Value(ReadingValue::Text(installed)) if installed == image.to_string() => {}
        Outcome::Unreadable(why) => return not_compared(&why),
        _ => return not_compared("the assigned image is not the one that is installed"),
    }
    match check_installed(client, context, seen).await {
        Ok(measured) => measured,
        Err(error) => not_compared(&format!("{error:#}")),
    }
}

/// Which partitions on the disk of the operating system are data. The image that is installed now, or that
/// was being written when the power went, counts like the one that is to come; where its manifest cannot be
/// had, its partitions are taken for data.
pub async fn data_partitions(client: &Arc<Client>, context: &ContextReply, seen: &Look) -> Vec<Found> {
    // Without an image or a disk for it nothing is written, and the judge says why.
    let Some(assigned) = context.node.assignment.image else { return Vec::new() };
    let Ok(disk) = os_disk(context, &seen.disks) else { return Vec::new() };
    let subject = Subject::Disk(disk.facts.id.clone());
    let outcome = match read_data_partitions(client, assigned, disk, seen).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Unreadable(format!("{error:#}")),
    };
    vec![(subject, ReadingKey::DiskDataPartitions, outcome)]
}

async fn read_data_partitions(
    client: &Arc<Client>,
    assigned: ImageId,
    disk: FoundDisk,
    seen: &Look,
) -> anyhow::Result<Outcome<ReadingValue>> {
    let looked = tokio::task::spawn_blocking(move || {
        let raw = RawDisk::open(&disk.device, disk.facts.size_bytes)
            .with_context(|| format!("could not open disk {}", disk.facts.id))?;
        let recorded = recorded_on(&raw);
        anyhow::Ok((raw, recorded))
    });
    let (raw, recorded) = looked.await.context("looking at the node's record broke off")??;
    let installed = match &seen.node_partition {
        Outcome::Value(partition) => partition.identity.value().map(|identity| identity.image),
        Outcome::Absent | Outcome::Unreadable(_) => None,
    };
    let mut images = vec![client.manifest(assigned).await?];
    let known: BTreeSet<ImageId> = [recorded, installed].into_iter().flatten().collect();
    for image in known.into_iter().filter(|image| *image != assigned) {
        if let Ok(manifest) = client.manifest(image).await {
            images.push(manifest);
        }
    }
    let looked = tokio::task::spawn_blocking(move || {
        let images: Vec<&Manifest> = images.iter().collect();
        data_partitions::read(&raw, &images)
    });
    looked.await.context("looking at the partitions broke off")
}

/// The image that the node's record on this disk names, by the table that its partitions are read from.
/// Without the primary table nothing is installed, and the image's partitions are there all the same.
fn recorded_on(disk: &impl ReadAt) -> Option<ImageId> {
    let table = read_table(disk).ok().flatten()?;
    identity_at(disk, &table)?.value().map(|identity| identity.image)
}

/// What stands in the seed partition of the disk of the operating system. Nothing is said of a disk that
/// nobody can name; the judge says why.
pub async fn node_data(context: &ContextReply, seen: &Look) -> Vec<Found> {
    if context.node.assignment.image.is_none() {
        return Vec::new();
    }
    let Ok(disk) = os_disk(context, &seen.disks) else { return Vec::new() };
    let looked =
        tokio::task::spawn_blocking(move || match RawDisk::open(&disk.device, disk.facts.size_bytes) {
            Ok(raw) => node_data::read(&raw),
            Err(error) => Outcome::Unreadable(format!("could not open disk {}: {error}", disk.facts.id)),
        });
    let outcome = looked.await.unwrap_or_else(|error| Outcome::Unreadable(error.to_string()));
    vec![(Subject::Image, ReadingKey::NodeDataInstalled, outcome)]
}

fn not_compared(why: &str) -> Vec<Found> {
    KEYS.map(|key| (Subject::Image, key, Outcome::Unreadable(format!("not compared: {why}")))).to_vec()
}

async fn check_installed(
    client: &Arc<Client>,
    context: &ContextReply,
    seen: &Look,
) -> anyhow::Result<Vec<Found>> {
    let image = context.node.assignment.image.context("no image is assigned")?;
    let disk = os_disk(context, &seen.disks)?;
    let manifest = client.manifest(image).await?;
    let first_chunk = first_chunk(client, &manifest).await;
    let measured = tokio::task::spawn_blocking(move || {
        check_from_ramdisk(&ImageCheckRequest {
            manifest: &manifest,
            first_chunk: first_chunk.as_deref(),
            disk: &disk.facts.id,
            os_disk: &disk.device,
        })
    });
    measured.await.context("comparing the image broke off")
}

/// The image's first chunk; none if it cannot be had, and then what needs it is not compared.
async fn first_chunk(client: &Arc<Client>, manifest: &Manifest) -> Option<Vec<u8>> {
    let length = manifest.chunk_length(0);
    match manifest.chunk(0)? {
        Chunk::Zero => Some(vec![0; length]),
        Chunk::Stored(digest) => {
            let stored = client.chunk(digest).await.ok()?;
            decompress_verified(&stored, digest, length).ok()
        }
    }
}

fn os_disk(context: &ContextReply, disks: &Outcome<Vec<FoundDisk>>) -> anyhow::Result<FoundDisk> {
    let assignment = &context.node.assignment;
    let disks = match disks {
        Outcome::Value(disks) => disks,
        Outcome::Absent => bail!("no disk was found"),
        Outcome::Unreadable(why) => bail!("the disks cannot be listed: {why}"),
    };
    let facts: Vec<DiskFacts> = disks.iter().map(|disk| disk.facts.clone()).collect();
    let bytes = assignment.image_disk_bytes.context("the size of the assigned image is not known")?;
    let target = verdict::os_disk::os_disk(&assignment.os_disk, bytes, &facts)?;
    disks.iter().find(|disk| disk.facts.id == target.id).cloned().context("the disk of the system is gone")
}

/// The device of the installed root file system, and of what kind that is.
///
/// # Errors
/// If there is none to boot from.
pub async fn root_device(
    client: &Arc<Client>,
    context: &ContextReply,
    source: &Source,
) -> anyhow::Result<(PathBuf, RootKind)> {
    let image = context.node.assignment.image.context("no image is assigned")?;
    let manifest = client.manifest(image).await?;
    let root = manifest.root.as_ref().context("the image has no root file system that is known")?;
    let place = root_place(&manifest, root)?;
    let disk = os_disk(context, &disks::list(source))?;
    Ok((partition_device(&disk.device, place)?, RootKind::of(root)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::fixture;
    use imaging::chunk::CHUNK_BYTES;
    use imaging::layout::DiskLayout;
    use imaging::node_record::encode_initial;

    fn disk(id: &str, name: &str) -> FoundDisk {
        FoundDisk {
            facts: DiskFacts {
                kernel_name: name.to_owned(),
                ..fixture::disk_facts(id.parse().unwrap(), 1 << 30)
            },
            device: PathBuf::from("/dev").join(name),
            slot: "here".to_owned(),
        }
    }

    /// Between the two copies of the table, whichever way the image was going.
    #[test]
    fn the_image_of_a_disk_with_one_copy_of_its_table_is_known() {
        let image = fixture::image();
        let bytes = 64 << 20;
        let request = fixture::layout_request(bytes);
        let layout = DiskLayout::compute(&image.manifest, &image.bytes[..CHUNK_BYTES], &request).unwrap();
        let mut disk = vec![0; bytes as usize];
        let mut put = |offset: u64, bytes: &[u8]| {
            disk[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
        };
        let id = image.manifest.id().unwrap();
        let record = serde_json::to_vec(&fixture::identity(id)).unwrap();
        put(layout.ours.unwrap().node.offset, &encode_initial(&record).unwrap());
        put(layout.backup_table_offset, &layout.backup_table);
        assert_eq!(recorded_on(&disk), Some(id), "the backup alone");
        let partitions = |images: &[&Manifest]| match data_partitions::read(&disk, images) {
            Outcome::Value(ReadingValue::List { total, .. }) => total,
            other => panic!("{other:?}"),
        };
        assert_eq!((partitions(&[]), partitions(&[&image.manifest])), (2, 0));
        disk[..CHUNK_BYTES].copy_from_slice(&layout.first_chunk);
        assert_eq!(recorded_on(&disk), Some(id), "both");
        disk.truncate(disk.len() - 512);
        assert_eq!(recorded_on(&disk), None, "a table for a larger disk");
    }

    #[test]
    fn a_disk_is_found_only_if_it_is_the_only_one() {
        let disks = FoundDisks(vec![disk("a", "vda"), disk("b", "vdb"), disk("b", "vdc")]);
        assert_eq!(disks.device_path(&"a".parse().unwrap()).unwrap(), PathBuf::from("/dev/vda"));
        assert!(disks.device_path(&"b".parse().unwrap()).is_err());
        assert!(disks.device_path(&"c".parse().unwrap()).is_err());
    }
}
