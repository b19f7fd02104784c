//! What makes a manifest consistent. Everything that later code relies on is checked here, once.

use crate::attributes::are_sound;
use crate::chunk::CHUNK_BYTES;
use crate::manifest::{
    DISK_BYTES_MAX, EntryKind, Extent, ImmutableEntry, MANIFEST_BYTES_MAX, MANIFEST_VERSION, Manifest,
    ManifestPartition, PartitionRole, RootManifest,
};

/// The number of entries in a partition table that all tools make (UEFI specification, "GPT Header").
pub(crate) const PARTITIONS_MAX: u32 = 128;

/// Names of partitions: 36 UTF-16 units (UEFI specification, "GPT Partition Entry").
pub(crate) const PARTITION_NAME_UNITS_MAX: usize = 36;

/// The longest path in bytes (`PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;

/// The kinds of root file systems whose files are listed, as `mount -t` takes them.
const FILE_SYSTEMS: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// The longest name of a subvolume, in bytes, with the folders that it is in.
const SUBVOLUME_BYTES_MAX: usize = 255;

/// Why bytes are not a manifest, or a manifest cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It could not be written as JSON.
    #[error("could not encode the manifest")]
    Encode(#[source] serde_json::Error),
    /// It is not JSON, or has missing, unknown or malformed fields.
    #[error("the manifest cannot be understood")]
    Decode(#[source] serde_json::Error),
    /// It is not in the canonical form.
    #[error("the manifest is not in its canonical form; it was not made by this program")]
    NotCanonical,
    /// It is too large.
    #[error("the manifest is {bytes} bytes long, more than the {MANIFEST_BYTES_MAX} that are allowed")]
    TooLarge {
        /// Its size in bytes, uncompressed.
        bytes: usize,
    },
    /// It was made by another version.
    #[error(
        "the manifest has version {found}; this program knows version {MANIFEST_VERSION}; import the image again"
    )]
    Version {
        /// The version that it has.
        found: u32,
    },
    /// It contradicts itself.
    #[error("the manifest contradicts itself: {what}")]
    Inconsistent {
        /// Which rule is broken, and by what.
        what: String,
    },
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), ManifestError> {
    if holds { Ok(()) } else { Err(ManifestError::Inconsistent { what: what() }) }
}

impl Manifest {
    pub(crate) fn validate(&self) -> Result<(), ManifestError> {
        if self.version != MANIFEST_VERSION {
            return Err(ManifestError::Version { found: self.version });
        }
        check(is_name(&self.name), || format!("{:?} is not a name", cut(&self.name)))?;
        check(matches!(self.sector_bytes, 512 | 4096), || format!("sectors of {} bytes", self.sector_bytes))?;
        let size_fits = self.disk_bytes > 0
            && self.disk_bytes <= DISK_BYTES_MAX
            && self.disk_bytes.is_multiple_of(u64::from(self.sector_bytes));
        check(size_fits, || format!("a disk of {} bytes", self.disk_bytes))?;
        check(self.chunk_bytes as usize == CHUNK_BYTES, || format!("chunks of {} bytes", self.chunk_bytes))?;
        let expected = self.disk_bytes.div_ceil(CHUNK_BYTES as u64);
        check(self.chunk_count() == expected, || {
            format!("{} chunks where its size makes {expected}", self.chunk_count())
        })?;
        self.validate_partitions()?;
        let content_fits = self.root.is_some() || self.content.is_empty();
        check(content_fits, || "content of files that there are not".to_owned())?;
        self.root.as_ref().map_or(Ok(()), |root| self.validate_root(root))
    }

    fn validate_partitions(&self) -> Result<(), ManifestError> {
        check(!self.partitions.is_empty(), || "no partitions".to_owned())?;
        let ordered = self.partitions.windows(2).all(|pair| pair[0].number < pair[1].number);
        check(ordered, || "partitions are not ordered by number".to_owned())?;
        for partition in &self.partitions {
            self.validate_partition(partition)?;
        }
        let mut by_place: Vec<&ManifestPartition> = self.partitions.iter().collect();
        by_place.sort_by_key(|partition| partition.first_byte);
        let overlap = by_place.windows(2).find(|pair| pair[0].end_byte() > pair[1].first_byte);
        if let Some([a, b]) = overlap {
            let what = format!("partitions {} and {} overlap", a.number, b.number);
            return Err(ManifestError::Inconsistent { what });
        }
        let mut guids: Vec<_> = self.partitions.iter().map(|partition| partition.unique_guid).collect();
        guids.sort_unstable();
        guids.dedup();
        check(guids.len() == self.partitions.len(), || "two partitions have the same GUID".to_owned())
    }

    fn validate_partition(&self, partition: &ManifestPartition) -> Result<(), ManifestError> {
        let number = partition.number;
        let numbered = (1..=PARTITIONS_MAX).contains(&number);
        check(numbered, || format!("a partition with number {number}"))?;
        let known = !partition.type_guid.is_nil() && !partition.unique_guid.is_nil();
        check(known, || format!("partition {number} has no GUID"))?;
        let units = partition.name.encode_utf16().count();
        let named = units <= PARTITION_NAME_UNITS_MAX && !partition.name.contains('\0');
        check(named, || format!("partition {number} has a name that is too long"))?;
        let sector = u64::from(self.sector_bytes);
        let table_end = crate::gpt::first_usable_byte(self.sector_bytes);
        let inside = partition.length_bytes > 0
            && partition.first_byte >= table_end
            && partition.first_byte.is_multiple_of(sector)
            && partition.length_bytes.is_multiple_of(sector)
            && partition
                .first_byte
                .checked_add(partition.length_bytes)
                .is_some_and(|end| end <= self.disk_bytes);
        check(inside, || format!("partition {number} does not lie inside the disk"))
    }

    fn validate_root(&self, root: &RootManifest) -> Result<(), ManifestError> {
        let partition = self.partition(root.partition).filter(|found| found.role == PartitionRole::Root);
        let Some(partition) = partition else {
            let what = format!("partition {} is not its root", root.partition);
            return Err(ManifestError::Inconsistent { what });
        };
        check(FILE_SYSTEMS.contains(&root.file_system.as_str()), || {
            format!("a root of type {:?}", cut(&root.file_system))
        })?;
        let named =
            root.subvolume.as_ref().is_none_or(|name| is_subvolume(name) && root.file_system == "btrfs");
        check(named, || "a subvolume that makes no sense".to_owned())?;
        for list in [&root.immutable_paths, &root.excluded_paths] {
            let ordered = list.windows(2).all(|pair| pair[0] < pair[1]);
            check(ordered, || "lists of paths are not ordered".to_owned())?;
            for path in list {
                check(is_path(path), || format!("{:?} is not an absolute path", cut(path)))?;
            }
        }
        let out_of_order = root.entries.windows(2).find(|pair| pair[0].path >= pair[1].path);
        check(out_of_order.is_none(), || "files are not ordered by path".to_owned())?;
        root.entries.iter().try_for_each(|entry| self.validate_entry(entry, partition, root))
    }
}

impl ManifestPartition {
    /// The byte after its last. The manifest it comes from has been checked, so nothing overflows;
    /// saturating all the same.
    #[must_use]
    pub fn end_byte(&self) -> u64 {
        self.first_byte.saturating_add(self.length_bytes)
    }
}

impl Manifest {
    fn validate_entry(
        &self,
        entry: &ImmutableEntry,
        partition: &ManifestPartition,
        root: &RootManifest,
    ) -> Result<(), ManifestError> {
        let path = &entry.path;
        check(is_path(path), || format!("{:?} is not an absolute path", cut(path)))?;
        check(root.covers(path), || format!("{:?} is not under an immutable path", cut(path)))?;
        check(entry.mode <= 0o7777, || format!("{:?} has mode {:o}", cut(path), entry.mode))?;
        let sound = are_sound(&entry.attributes) && (root.attributes_recorded || entry.attributes.is_empty());
        check(sound, || format!("{:?} has attributes that make no sense", cut(path)))?;
        match &entry.kind {
            EntryKind::Directory => Ok(()),
            EntryKind::Symlink { target } => {
                let fits = !target.is_empty() && target.len() <= PATH_BYTES_MAX && !target.contains('\0');
                check(fits, || format!("{:?} is a link to nothing", cut(path)))
            }
            EntryKind::File { size_bytes, extents, .. } => {
                let fits = self.extents_fit(extents, *size_bytes, partition);
                check(fits, || format!("{:?} has extents that do not fit it", cut(path)))
            }
        }
    }

    /// Whether the extents are ordered, do not overlap in the file, and lie inside the file and inside the
    /// partition or the content beside the disk.
    fn extents_fit(&self, extents: &[Extent], size_bytes: u64, partition: &ManifestPartition) -> bool {
        let mut file_end = 0;
        extents.iter().all(|extent| {
            let in_order = extent.length_bytes > 0 && extent.file_offset >= file_end;
            let Some(end) = extent.file_offset.checked_add(extent.length_bytes) else { return false };
            file_end = end;
            let image_end = extent.image_offset.checked_add(extent.length_bytes);
            let in_partition = extent.image_offset >= partition.first_byte
                && image_end.is_some_and(|image_end| image_end <= partition.end_byte());
            in_order
                && end <= size_bytes
                && (in_partition || self.is_content(extent.image_offset, extent.length_bytes))
        })
    }
}

/// Whether this can be given to `mount -o subvol=`.
fn is_subvolume(name: &str) -> bool {
    (1..=SUBVOLUME_BYTES_MAX).contains(&name.len()) && !name.contains([',', '\0', '\\'])
}

impl RootManifest {
    /// Whether a path must never change: it is under an immutable path and not under an excluded one.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        covers(&self.immutable_paths, &self.excluded_paths, path)
    }

    /// Whether something at this path would be foreign: it is a plain path into the immutable area, and
    /// the image has nothing there.
    #[must_use]
    pub fn is_foreign(&self, path: &str) -> bool {
        is_path(path) && self.covers(path) && self.entry(path).is_none()
    }

    /// Whether there is anything of the image below this path.
    #[must_use]
    pub fn has_below(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let from = self.entries.partition_point(|entry| entry.path < below);
        self.entries.get(from).is_some_and(|entry| entry.path.starts_with(&below))
    }

    /// The entry with this path.
    #[must_use]
    pub fn entry(&self, path: &str) -> Option<&ImmutableEntry> {
        let at = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        self.entries.get(at)
    }
}

/// Whether `path` is under one of `immutable` and under none of `excluded`.
pub(crate) fn covers(immutable: &[String], excluded: &[String], path: &str) -> bool {
    let under = |list: &[String]| list.iter().any(|above| is_under(path, above));
    under(immutable) && !under(excluded)
}

/// Whether `path` is `above` or below it.
fn is_under(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether this is an absolute path in its shortest form: no empty, `.` or `..` parts, not `/` itself.
pub(crate) fn is_path(path: &str) -> bool {
    let whole_part = |part: &str| !matches!(part, "" | "." | "..");
    path.len() <= PATH_BYTES_MAX
        && !path.contains('\0')
        && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(whole_part))
}

/// Whether this can be an image's name: 1 to 64 letters, digits, `-`, `_` or `.`, not beginning with
/// `.` or `-`.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&name.len()) && name.chars().all(allowed) && !name.starts_with(['.', '-'])
}

/// Text from outside, cut for an error message.
fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}
