//! What the superblock says (`struct btrfs_super_block`).

use super::tree::TreeRoot;
use super::{BtrfsError, damaged, read, u16_at, u32_at, u64_at};
use crate::source::ReadAt;

/// Where it stands, in bytes.
pub const SUPERBLOCK_OFFSET: u64 = 0x1_0000;
const SUPERBLOCK_BYTES: usize = 4096;
const MAGIC: &[u8] = b"_BHRfS_M";
const SYSTEM_CHUNKS_OFFSET: usize = 811;
const SYSTEM_CHUNKS_BYTES_MAX: usize = 2048;

// Incompatible features (`BTRFS_FEATURE_INCOMPAT_*`): mixed back references, default subvolume, mixed
// groups, LZO, zstd, large metadata, more links, small metadata items, no holes, a metadata UUID of its
// own, simple quotas. They change nothing in what is read here, or are read.
const KNOWN: u64 = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x100 | 0x200 | 0x400 | 0x1_0000;

/// What a superblock says.
#[derive(Debug, Clone)]
pub struct Superblock {
    /// Its log holds changes that are not yet in place.
    pub has_log: bool,
    /// How many devices it spans.
    pub device_count: u64,
    pub(super) root_tree: TreeRoot,
    pub(super) chunk_tree: TreeRoot,
    pub(super) node_bytes: u32,
    pub(super) sector_bytes: u32,
    /// The directory of the tree of roots, which names the default subvolume.
    pub(super) root_directory: u64,
    /// The chunks that hold the tree of chunks.
    pub(super) system_chunks: Vec<u8>,
    device_number: u64,
    device_bytes: u64,
    features_incompatible: u64,
}

impl Superblock {
    /// Reads it, and checks what later code relies on.
    ///
    /// # Errors
    /// [`BtrfsError`] if there is none, or one that makes no sense.
    pub fn read<S: ReadAt>(source: &S) -> Result<Self, BtrfsError> {
        let mut bytes = vec![0; SUPERBLOCK_BYTES];
        if source.size_bytes() < SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES as u64 {
            return Err(BtrfsError::NotBtrfs);
        }
        read(source, SUPERBLOCK_OFFSET, &mut bytes)?;
        if &bytes[64..72] != MAGIC {
            return Err(BtrfsError::NotBtrfs);
        }
        let system_bytes = usize::try_from(u32_at(&bytes, 160)).unwrap_or(usize::MAX);
        let superblock = Self {
            has_log: u64_at(&bytes, 96) != 0,
            device_count: u64_at(&bytes, 136),
            root_tree: TreeRoot { address: u64_at(&bytes, 80), level: bytes[198] },
            chunk_tree: TreeRoot { address: u64_at(&bytes, 88), level: bytes[199] },
            node_bytes: u32_at(&bytes, 148),
            sector_bytes: u32_at(&bytes, 144),
            root_directory: u64_at(&bytes, 128),
            system_chunks: bytes[SYSTEM_CHUNKS_OFFSET..][..system_bytes.min(SYSTEM_CHUNKS_BYTES_MAX)]
                .to_vec(),
            // The device's own item: its number, its size, …
            device_number: u64_at(&bytes, 201),
            device_bytes: u64_at(&bytes, 201 + 8),
            features_incompatible: u64_at(&bytes, 188),
        };
        let sizes_fit = (4096..=65_536).contains(&superblock.node_bytes)
            && superblock.node_bytes.is_power_of_two()
            && (4096..=65_536).contains(&superblock.sector_bytes)
            && superblock.sector_bytes.is_power_of_two()
            && system_bytes <= SYSTEM_CHUNKS_BYTES_MAX
            && u64_at(&bytes, 48) == SUPERBLOCK_OFFSET
            && u16_at(&bytes, 196) < 16;
        if !sizes_fit {
            return Err(damaged("its superblock makes no sense"));
        }
        if superblock.device_count == 1 && superblock.device_bytes > source.size_bytes() {
            return Err(damaged("it is larger than its partition: the image is cut off"));
        }
        Ok(superblock)
    }

    /// The number that the file system gives to the device it was read from.
    #[must_use]
    pub fn device_number(&self) -> u64 {
        self.device_number
    }

    /// How many bytes of the device it has.
    #[must_use]
    pub fn device_bytes(&self) -> u64 {
        self.device_bytes
    }

    /// The unit in which it counts space, in bytes; never none.
    #[must_use]
    pub fn sector_bytes(&self) -> u64 {
        self.sector_bytes.into()
    }

    /// Whether its files can be listed.
    pub(super) fn check_listed(&self) -> Result<(), BtrfsError> {
        if self.device_count != 1 {
            let what = format!("{} devices", self.device_count);
            return Err(BtrfsError::Unsupported { what, hint: "make the image with one" });
        }
        let unknown = self.features_incompatible & !KNOWN;
        if unknown != 0 {
            let hint = "make the image with the usual features of mkfs.btrfs";
            return Err(BtrfsError::Unsupported { what: format!("the features {unknown:#x}"), hint });
        }
        if self.has_log {
            return Err(BtrfsError::NeedsRecovery);
        }
        Ok(())
    }
}
