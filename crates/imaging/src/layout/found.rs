//! What stands on a disk that was laid out before: ours, the image's, and what is neither.

use contract::plan::KeptPartition;
use uuid::Uuid;

use super::{NODE_PARTITION_TYPE, seed_partition_guid};
use crate::gpt::{Gpt, Partition};
use crate::manifest::Manifest;

/// The partitions of a disk that are neither ours nor one of these images', ordered by number: data. A
/// partition is an image's if it begins where the image has it and has the identity that the image
/// gives it; how far it reaches does not matter, for it may have been grown.
#[must_use]
pub fn data_partitions(table: &Gpt, images: &[&Manifest]) -> Vec<KeptPartition> {
    let seeds: Vec<Uuid> = of_node(table).map(|node| seed_partition_guid(node.unique_guid)).collect();
    let sector = u64::from(table.sector_bytes);
    let of_image = |found: &KeptPartition| {
        images.iter().flat_map(|image| &image.partitions).any(|partition| {
            partition.unique_guid == found.unique_guid && partition.first_byte == found.first_byte
        })
    };
    let foreign = table.partitions.iter().filter(|found| found.type_guid != NODE_PARTITION_TYPE);
    let foreign = foreign.filter(|found| !seeds.contains(&found.unique_guid));
    foreign.map(|found| as_kept(found, sector)).filter(|found| !of_image(found)).collect()
}

fn of_node(table: &Gpt) -> impl Iterator<Item = &Partition> {
    table.partitions.iter().filter(|found| found.type_guid == NODE_PARTITION_TYPE)
}

fn as_kept(found: &Partition, sector: u64) -> KeptPartition {
    let sectors = found.last_sector.saturating_sub(found.first_sector).saturating_add(1);
    KeptPartition {
        number: found.number,
        type_guid: found.type_guid,
        unique_guid: found.unique_guid,
        first_byte: found.first_sector.saturating_mul(sector),
        length_bytes: sectors.saturating_mul(sector),
        attributes: found.attributes,
        name: found.name.clone(),
    }
}
