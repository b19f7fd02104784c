//! Where an image goes on a data disk: the image's partitions and new tables, and nothing of ours.

use contract::root_size::RootSize;
use uuid::Uuid;

use super::place::{Wanted, image_end, last_partition_end, sized};
use super::{
    Disk, DiskLayout, LayoutError, NODE_PARTITION_TYPE, Partition, check_fit, of_image, with_tables,
};
use crate::gpt::backup_bytes;
use crate::manifest::{Manifest, PartitionRole};
use crate::partitions::is_root_type;

/// For which data disk an image is laid out, and what is wanted there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataLayoutRequest {
    /// The disk's size in bytes.
    pub disk_bytes: u64,
    /// The disk's logical sector size in bytes.
    pub sector_bytes: u32,
    /// GUID of the disk in its new partition table.
    pub disk_guid: Uuid,
    /// How large the last partition becomes.
    pub last_partition: RootSize,
}

/// The size in bytes of the smallest data disk that the image fits on.
#[must_use]
pub fn minimum_data_disk_bytes(manifest: &Manifest) -> u64 {
    image_end(manifest).saturating_add(backup_bytes(manifest.sector_bytes))
}

/// Whether an image may be on a data disk: beside the operating system's, no other disk may have anything
/// that firmware starts or that could be taken for the system's root or for the node's own partition.
///
/// # Errors
/// [`LayoutError::NotData`] names the partition.
pub fn check_data_image(manifest: &Manifest) -> Result<(), LayoutError> {
    let refused = |why: String| Err(LayoutError::NotData { image: manifest.name.clone(), why });
    for partition in &manifest.partitions {
        let what = match partition.role {
            PartitionRole::Root => "a root file system",
            PartitionRole::Esp => "an EFI system partition",
            PartitionRole::BiosBoot => "a BIOS boot partition",
            PartitionRole::Other if is_root_type(partition.type_guid) => "a root file system by its type",
            PartitionRole::Other if partition.type_guid == NODE_PARTITION_TYPE => "a node's own partition",
            PartitionRole::Other => continue,
        };
        return refused(format!("partition {} is {what}", partition.number));
    }
    match manifest.partitions.is_empty() {
        true => refused("it has no partitions".to_owned()),
        false => Ok(()),
    }
}

impl DiskLayout {
    /// Lays the image out on a data disk. `first_chunk` are the bytes of the image's first chunk, already
    /// compared with its digest. The same request gives the same layout.
    ///
    /// # Errors
    /// [`LayoutError`] if the image is none for a data disk or does not fit this one.
    pub fn compute_data(
        manifest: &Manifest,
        first_chunk: &[u8],
        request: &DataLayoutRequest,
    ) -> Result<Self, LayoutError> {
        let DataLayoutRequest { disk_bytes, sector_bytes, disk_guid, last_partition } = *request;
        check_data_image(manifest)?;
        let disk = Disk { disk_bytes, sector_bytes, disk_guid };
        check_fit(manifest, first_chunk, disk, minimum_data_disk_bytes(manifest))?;
        let last = manifest.partitions.iter().find(|last| last.end_byte() == last_partition_end(manifest));
        let wanted = Wanted { size: last_partition, sector_bytes, first_behind: disk.backup_table_offset() };
        let image = || manifest.name.clone();
        let last =
            last.map(|last| sized(manifest, last, wanted)).transpose().map_err(|(wanted_bytes, why)| {
                LayoutError::LastPartitionSize { image: image(), wanted_bytes, why }
            })?;
        let mut partitions: Vec<Partition> = of_image(manifest, u64::from(sector_bytes), last).collect();
        partitions.sort_by_key(|partition| partition.number);
        Ok(with_tables(manifest, first_chunk, disk, partitions))
    }
}

#[cfg(test)]
mod tests {
    use contract::root_size::RootSize::{Bytes, Grow, Image};

    use super::*;
    use crate::gpt::Gpt;
    use crate::layout::tests::{MIB, first_chunk, shown, written};
    use crate::manifest::tests::sample;

    /// The sample without what makes it a system: one partition of 1 to 2 MiB, one of 2 to 5 MiB.
    fn data() -> Manifest {
        let mut manifest = sample();
        manifest.root = None;
        for partition in &mut manifest.partitions {
            partition.role = PartitionRole::Other;
            partition.type_guid = Uuid::from_u128(0x77);
            partition.immutable = None;
        }
        manifest
    }

    fn laid_out(manifest: &Manifest, disk_bytes: u64, last: RootSize) -> Result<DiskLayout, LayoutError> {
        let disk_guid = Uuid::from_u128(0xd15c);
        let sector_bytes = manifest.sector_bytes;
        let request = DataLayoutRequest { disk_bytes, sector_bytes, disk_guid, last_partition: last };
        DiskLayout::compute_data(manifest, &first_chunk(), &request)
    }

    #[test]
    fn a_data_disk_has_the_image_s_partitions_and_nothing_of_ours() {
        let layout = laid_out(&data(), 60 * MIB + 512, Grow).unwrap();
        assert_eq!(
            shown(&layout),
            "\
1   part1            2048 KiB to   60416 KiB
14  part14           1024 KiB to    2048 KiB
"
        );
        assert_eq!((layout.ours, layout.root), (None, None));
        assert_eq!(layout.first_chunk[512 * 34..], first_chunk()[512 * 34..], "what follows the table");
        let disk = written(&layout);
        let other = gptman::GPT::read_from(&mut std::io::Cursor::new(&disk), 512).unwrap();
        assert_eq!(other.header.disk_guid, Uuid::from_u128(0xd15c).to_bytes_le());
        assert_eq!(Gpt::read(&disk).unwrap().partitions.len(), 2);
    }

    #[test]
    fn the_last_partition_has_the_size_that_was_asked_for_or_is_refused() {
        let last = |size| {
            let layout = laid_out(&data(), 60 * MIB, size)?;
            let table = Gpt::read(&written(&layout)).unwrap();
            let last = table.partitions.iter().find(|partition| partition.number == 1).unwrap();
            Ok((last.last_sector - last.first_sector + 1) * 512)
        };
        for (size, expected) in [(Image, 3 * MIB), (Grow, 57 * MIB), (Bytes(10 * MIB + 1), 10 * MIB + 512)] {
            assert_eq!(last(size), Ok(expected), "{size}");
        }
        for (size, why) in [(Bytes(MIB), "larger"), (Bytes(60 * MIB), "free space")] {
            let refused: LayoutError = last(size).unwrap_err();
            let refused = refused.to_string();
            assert!(refused.contains(why) && refused.contains("--data-size"), "{refused}");
        }
    }

    #[test]
    fn a_disk_of_the_least_size_is_enough_and_one_sector_less_is_not() {
        let manifest = data();
        let least = minimum_data_disk_bytes(&manifest);
        assert_eq!(least, 5 * MIB + 33 * 512);
        assert!(laid_out(&manifest, least, Grow).is_ok());
        let refused = laid_out(&manifest, least - 512, Grow);
        assert!(matches!(refused, Err(LayoutError::DiskTooSmall { .. })), "{refused:?}");
    }

    #[test]
    fn nothing_that_boots_or_could_be_taken_for_the_system_is_put_on_a_data_disk() {
        assert_eq!(check_data_image(&data()), Ok(()));
        type Change = fn(&mut Manifest);
        let table: [(Change, &str); 6] = [
            (|m| m.partitions[0].role = PartitionRole::Root, "partition 1 is a root"),
            (|m| m.partitions[0].role = PartitionRole::Esp, "partition 1 is an EFI"),
            (|m| m.partitions[1].role = PartitionRole::BiosBoot, "partition 14 is a BIOS"),
            (
                |m| m.partitions[1].type_guid = uuid::uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
                "partition 14 is a root file system by its type",
            ),
            (|m| m.partitions[0].type_guid = NODE_PARTITION_TYPE, "a node's own"),
            (|m| m.partitions.clear(), "no partitions"),
        ];
        for (change, why) in table {
            let mut manifest = data();
            change(&mut manifest);
            let refused = laid_out(&manifest, 60 * MIB, Grow).unwrap_err().to_string();
            assert!(refused.contains(why) && refused.contains("--no-root"), "{why}: {refused}");
        }
    }
}
