//! What stands on a disk that was laid out before: ours, the image's, and what is neither.

use contract::plan::KeptPartition;
use uuid::Uuid;

use super::{ByteRange, NODE_PARTITION_TYPE, SEED_PARTITION_BYTES, seed_partition_guid};
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

/// Why it cannot be told where the node's data stand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedPlaceError {
    /// More than one partition could be meant.
    #[error("{count} partitions could be the one with the node's data")]
    Several {
        /// How many.
        count: usize,
    },
    /// It is not as we lay it out.
    #[error("partition {number}, which should hold the node's data, {what}")]
    Odd {
        /// Its number.
        number: u32,
        /// What is odd about it.
        what: &'static str,
    },
}

/// Where the seed partition lies: the one whose identity follows from that of the node's partition. None
/// if there is none, as on a disk that was laid out before there were any.
///
/// # Errors
/// [`SeedPlaceError`] if it cannot be told, or if what calls itself so is not what we lay out: nothing of
/// somebody else's is ever taken for it.
pub fn seed_place(table: &Gpt) -> Result<Option<ByteRange>, SeedPlaceError> {
    let seeds: Vec<Uuid> = of_node(table).map(|node| seed_partition_guid(node.unique_guid)).collect();
    let found: Vec<&Partition> =
        table.partitions.iter().filter(|found| seeds.contains(&found.unique_guid)).collect();
    let seed = match found[..] {
        [] => return Ok(None),
        [seed] if seeds.len() == 1 => seed,
        _ => return Err(SeedPlaceError::Several { count: found.len().max(seeds.len()) }),
    };
    let odd = |what| Err(SeedPlaceError::Odd { number: seed.number, what });
    let place = as_kept(seed, u64::from(table.sector_bytes));
    if place.length_bytes != SEED_PARTITION_BYTES {
        return odd("has another length");
    }
    let overlaps = |other: &&Partition| {
        other.number != seed.number
            && other.first_sector <= seed.last_sector
            && seed.first_sector <= other.last_sector
    };
    if table.partitions.iter().any(|other| overlaps(&other)) {
        return odd("overlaps another partition");
    }
    Ok(Some(ByteRange { offset: place.first_byte, length_bytes: place.length_bytes }))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    const NODE: Uuid = Uuid::from_u128(0x40de);
    const SECTORS: u64 = SEED_PARTITION_BYTES / 512;

    fn partition(
        number: u32,
        type_guid: Uuid,
        unique_guid: Uuid,
        first_sector: u64,
        sectors: u64,
    ) -> Partition {
        Partition {
            number,
            type_guid,
            unique_guid,
            first_sector,
            last_sector: first_sector + sectors - 1,
            attributes: 0,
            name: String::new(),
        }
    }

    fn node(number: u32, guid: Uuid) -> Partition {
        partition(number, NODE_PARTITION_TYPE, guid, 100_000, 10)
    }

    fn seed(number: u32, first_sector: u64, sectors: u64) -> Partition {
        partition(number, Uuid::from_u128(1), seed_partition_guid(NODE), first_sector, sectors)
    }

    fn table(partitions: Vec<Partition>) -> Gpt {
        Gpt { sector_bytes: 512, disk_guid: Uuid::nil(), backup_sector: 1, partitions }
    }

    #[test]
    fn the_seed_partition_is_the_one_that_belongs_to_the_nodes_and_nothing_like_it() {
        let place = ByteRange { offset: 2048 * 512, length_bytes: SEED_PARTITION_BYTES };
        let good = || vec![node(1, NODE), seed(2, 2048, SECTORS)];
        assert_eq!(seed_place(&table(good())), Ok(Some(place)));
        assert_eq!(seed_place(&table(vec![node(1, NODE)])), Ok(None), "laid out before there was one");
        assert_eq!(seed_place(&table(vec![seed(2, 2048, SECTORS)])), Ok(None), "of no node");
        assert_eq!(seed_place(&table(Vec::new())), Ok(None));
        let with = |more: Partition| seed_place(&table(good().into_iter().chain([more]).collect()));
        assert!(matches!(with(seed(3, 90_000, SECTORS)), Err(SeedPlaceError::Several { count: 2 })));
        assert!(matches!(with(node(3, Uuid::from_u128(9))), Err(SeedPlaceError::Several { count: 2 })));
        let over = partition(3, Uuid::from_u128(5), Uuid::from_u128(6), 2048 + SECTORS - 1, 1);
        assert!(matches!(with(over), Err(SeedPlaceError::Odd { number: 2, .. })));
        let short = table(vec![node(1, NODE), seed(2, 2048, SECTORS - 1)]);
        assert!(matches!(seed_place(&short), Err(SeedPlaceError::Odd { number: 2, .. })));
    }

    proptest! {
        /// Whatever a table says: what is named overlaps nothing else.
        #[test]
        fn any_table_gives_a_place_of_its_own_or_none(
            firsts in proptest::collection::vec((any::<bool>(), 0..200_000_u64, 1..SECTORS * 2), 0..5),
            exact in any::<bool>(),
        ) {
            let mut partitions = vec![node(9, NODE)];
            for (number, (is_seed, first, sectors)) in (1..).zip(&firsts) {
                let sectors = if exact { SECTORS } else { *sectors };
                partitions.push(match is_seed {
                    true => seed(number, *first, sectors),
                    false => partition(number, Uuid::from_u128(5), Uuid::from_u128(6), *first, sectors),
                });
            }
            let table = table(partitions);
            if let Ok(Some(place)) = seed_place(&table) {
                prop_assert!(place.length_bytes == SEED_PARTITION_BYTES);
                let inside = table.partitions.iter().filter(|found| {
                    found.first_sector * 512 < place.offset + place.length_bytes && (found.last_sector + 1) * 512 > place.offset
                });
                prop_assert!(inside.count() == 1);
            }
        }
    }
}
