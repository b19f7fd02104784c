//! What the partitions of an image are for, told from their types.

use uuid::{Uuid, uuid};

use crate::gpt::{Gpt, Partition};
use crate::manifest::{ManifestPartition, PartitionRole};

/// EFI system partition (UEFI specification, "GPT Partition Entry").
const ESP: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// GRUB's BIOS boot partition.
const BIOS_BOOT: Uuid = uuid!("21686148-6449-6e6f-744e-656564454649");
/// Root by architecture: x86-64, arm64 (UAPI group, Discoverable Partitions Specification).
const ROOTS: [Uuid; 2] =
    [uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"), uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae")];
/// Swap (UAPI group, Discoverable Partitions Specification).
pub(crate) const SWAP: Uuid = uuid!("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f");
/// Linux file systems of any purpose.
const LINUX_DATA: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");

/// Why it cannot be told which partition is the root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionsError {
    /// The named root is not there.
    #[error("there is no partition {number}; the image has {present}")]
    NoSuchRoot {
        /// Its number.
        number: u32,
        /// The numbers there are, in words.
        present: String,
    },
    /// Several may be the root.
    #[error("partitions {candidates} may each be the root; say which one is (--root-partition)")]
    AmbiguousRoot {
        /// Their numbers, in words.
        candidates: String,
    },
}

/// The partitions of an image as its manifest lists them. The root is `root` if that is given, else the
/// only one with a root's type, else the only one with a Linux file system; if there is none, none.
/// Nothing is marked immutable yet: that takes the digest of the partition's bytes.
///
/// # Errors
/// [`PartitionsError`] if the root is not there or not unique.
pub fn describe(table: &Gpt, root: Option<u32>) -> Result<Vec<ManifestPartition>, PartitionsError> {
    let root = match root {
        Some(number) if table.partitions.iter().any(|partition| partition.number == number) => Some(number),
        Some(number) => {
            return Err(PartitionsError::NoSuchRoot { number, present: numbers(&table.partitions) });
        }
        None => find_root(&table.partitions)?,
    };
    Ok(described(table, root))
}

/// The partitions of an image that has no root, whatever their types: one for a data disk.
#[must_use]
pub fn describe_without_root(table: &Gpt) -> Vec<ManifestPartition> {
    described(table, None)
}

fn described(table: &Gpt, root: Option<u32>) -> Vec<ManifestPartition> {
    let sector = u64::from(table.sector_bytes);
    let in_bytes = |partition: &Partition| ManifestPartition {
        number: partition.number,
        type_guid: partition.type_guid,
        unique_guid: partition.unique_guid,
        name: partition.name.clone(),
        first_byte: partition.first_sector.saturating_mul(sector),
        length_bytes: (partition.last_sector - partition.first_sector + 1).saturating_mul(sector),
        attributes: partition.attributes,
        role: if root == Some(partition.number) { PartitionRole::Root } else { role(partition.type_guid) },
        immutable: None,
    };
    table.partitions.iter().map(in_bytes).collect()
}

/// Whether a partition must be bit-identical to the image if the image does not say otherwise: what
/// firmware and boot loader read, which a running system has no reason to change.
#[must_use]
pub fn immutable_by_default(role: PartitionRole) -> bool {
    matches!(role, PartitionRole::BiosBoot | PartitionRole::Esp)
}

/// Whether a partition with this type is swap.
#[must_use]
pub fn is_swap(type_guid: Uuid) -> bool {
    type_guid == SWAP
}

/// Whether a partition with this type says of itself that it is a system's root.
#[must_use]
pub(crate) fn is_root_type(type_guid: Uuid) -> bool {
    ROOTS.contains(&type_guid)
}

fn role(type_guid: Uuid) -> PartitionRole {
    match type_guid {
        ESP => PartitionRole::Esp,
        BIOS_BOOT => PartitionRole::BiosBoot,
        _ => PartitionRole::Other,
    }
}

fn find_root(partitions: &[Partition]) -> Result<Option<u32>, PartitionsError> {
    let with_type = |types: &[Uuid]| -> Vec<Partition> {
        partitions.iter().filter(|partition| types.contains(&partition.type_guid)).cloned().collect()
    };
    for candidates in [with_type(&ROOTS), with_type(&[LINUX_DATA])] {
        match candidates.as_slice() {
            [] => {}
            [only] => return Ok(Some(only.number)),
            several => return Err(PartitionsError::AmbiguousRoot { candidates: numbers(several) }),
        }
    }
    Ok(None)
}

fn numbers(partitions: &[Partition]) -> String {
    let numbers: Vec<String> = partitions.iter().map(|partition| partition.number.to_string()).collect();
    if numbers.is_empty() { "none".to_owned() } else { numbers.join(", ") }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{
        BIOS_BOOT, ESP, LINUX_DATA, PartitionsError, ROOTS, describe, describe_without_root,
        immutable_by_default,
    };
    use crate::gpt::{Gpt, Partition};
    use crate::manifest::PartitionRole;

    fn table(types: &[Uuid]) -> Gpt {
        let partition = |(number, type_guid): (u32, &Uuid)| Partition {
            number,
            type_guid: *type_guid,
            unique_guid: Uuid::from_u128(u128::from(number)),
            first_sector: u64::from(number) * 100,
            last_sector: u64::from(number) * 100 + 9,
            attributes: 0,
            name: String::new(),
        };
        let partitions = (1..).zip(types).map(partition).collect();
        Gpt { sector_bytes: 512, disk_guid: Uuid::nil(), backup_sector: 10_000, partitions }
    }

    #[test]
    fn roles_come_from_types_and_the_root_is_found() {
        let described = describe(&table(&[LINUX_DATA, ROOTS[0], BIOS_BOOT, ESP]), None).unwrap();
        let roles: Vec<PartitionRole> = described.iter().map(|partition| partition.role).collect();
        let expected =
            [PartitionRole::Other, PartitionRole::Root, PartitionRole::BiosBoot, PartitionRole::Esp];
        assert_eq!(roles, expected);
        assert_eq!((described[1].first_byte, described[1].length_bytes), (200 * 512, 10 * 512));
        let immutable: Vec<bool> = roles.into_iter().map(immutable_by_default).collect();
        assert_eq!(immutable, [false, false, true, true]);
    }

    #[test]
    fn an_ambiguous_or_missing_root_is_said() {
        let two = table(&[LINUX_DATA, LINUX_DATA]);
        let ambiguous = PartitionsError::AmbiguousRoot { candidates: "1, 2".to_owned() };
        assert_eq!(describe(&two, None), Err(ambiguous));
        let data = describe_without_root(&two);
        assert!(data.len() == 2 && data.iter().all(|partition| partition.role == PartitionRole::Other));
        assert_eq!(describe(&two, Some(2)).unwrap()[1].role, PartitionRole::Root);
        assert!(matches!(describe(&two, Some(9)), Err(PartitionsError::NoSuchRoot { .. })));
        let none = describe(&table(&[ESP]), None).unwrap();
        assert!(none.iter().all(|partition| partition.role != PartitionRole::Root));
    }
}
