//! Why an image cannot be laid out on a disk.

/// Why an image cannot be laid out on a disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The disk is too small.
    #[error(
        "the disk has {disk_bytes} bytes and the image {image:?} needs {needed_bytes}; choose a larger disk"
    )]
    DiskTooSmall {
        /// Name of the image.
        image: String,
        /// What there is, in bytes.
        disk_bytes: u64,
        /// What is needed, in bytes.
        needed_bytes: u64,
    },
    /// The image was made for another sector size.
    #[error(
        "the image {image:?} was made for sectors of {image_sector_bytes} bytes and the disk has {disk_sector_bytes}; import an image made for such disks"
    )]
    SectorSize {
        /// Name of the image.
        image: String,
        /// What the image was made for, in bytes.
        image_sector_bytes: u32,
        /// What the disk has, in bytes.
        disk_sector_bytes: u32,
    },
    /// The first chunk is not the image's.
    #[error(
        "the first chunk of the image {image:?} has {found_bytes} bytes where {expected_bytes} are needed"
    )]
    FirstChunk {
        /// Name of the image.
        image: String,
        /// What was given, in bytes.
        found_bytes: usize,
        /// What is needed, in bytes.
        expected_bytes: usize,
    },
    /// All partition numbers are taken.
    #[error("128 partitions are taken on the disk for the image {image:?}; ours need two more numbers")]
    NoNumberLeft {
        /// Name of the image.
        image: String,
    },
    /// A kept partition lies where the image goes.
    #[error(
        "partition {number} begins at byte {first_byte}, and the image {image:?} reaches to {image_end_bytes}; move the data away and ask for a wipe, or choose a smaller image"
    )]
    Overlap {
        /// Number of the kept partition.
        number: u32,
        /// Where it begins, in bytes.
        first_byte: u64,
        /// Name of the image.
        image: String,
        /// Where the image's bytes end, in bytes.
        image_end_bytes: u64,
    },
    /// A kept partition cannot stand in the new table as it stood in the old one.
    #[error(
        "partition {number} cannot be kept as it is: {why}; change it in the running system, or ask for a wipe"
    )]
    NotKept {
        /// Number of the kept partition.
        number: u32,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The kept partitions leave no room for ours.
    #[error(
        "no free space of {needed_bytes} bytes is left behind the image {image:?} and between the partitions that are kept; make room, or ask for a wipe"
    )]
    NoSpace {
        /// Name of the image.
        image: String,
        /// What ours need in one piece, in bytes.
        needed_bytes: u64,
    },
    /// The root partition cannot have the size that was asked for.
    #[error(
        "the root partition of the image {image:?} cannot have {wanted_bytes} bytes: {why}; assign another size (`--root`)"
    )]
    RootSize {
        /// Name of the image.
        image: String,
        /// What was asked for, in bytes.
        wanted_bytes: u64,
        /// Why not.
        why: &'static str,
    },
    /// The last partition of a data disk cannot have the size that was asked for.
    #[error(
        "the last partition of the image {image:?} cannot have {wanted_bytes} bytes: {why}; assign another size (`--data-size`)"
    )]
    LastPartitionSize {
        /// Name of the image.
        image: String,
        /// What was asked for, in bytes.
        wanted_bytes: u64,
        /// Why not.
        why: &'static str,
    },
    /// The image is none for a data disk.
    #[error(
        "the image {image:?} is none for a data disk: {why}; assign one without a system (`reprieve image import --no-root`)"
    )]
    NotData {
        /// Name of the image.
        image: String,
        /// What it has that no data disk may have.
        why: String,
    },
}
