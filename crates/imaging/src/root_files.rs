//! The immutable files of an image's root file system: what they are, and where their bytes lie.

use std::collections::BTreeSet;
use std::io;

use contract::id::Digest;

use crate::btrfs::Btrfs;
use crate::ext4::Ext4;
use crate::file_system::{Facts, FileSystem, InodeKind};
use crate::manifest::{EntryKind, Extent, ImmutableEntry, ManifestPartition, RootManifest};
use crate::source::{Part, ReadAt};
use crate::validate::{covers, is_path};
use crate::xfs::Xfs;
use described::Described;

pub use beside::ContentBeside;
pub use digest::digest_file;
pub use error::RootError;

/// What is immutable if the image does not say otherwise: the operating system's programs and what
/// boots it. The short paths are links into `/usr` on every current distribution; where they are not,
/// they are the same programs. `/usr/local` is under it on purpose: it stands first in everybody's
/// `PATH`.
pub const DEFAULT_IMMUTABLE_PATHS: [&str; 7] = ["/bin", "/boot", "/lib", "/lib32", "/lib64", "/sbin", "/usr"];

/// What may change all the same: GRUB writes into this file when it boots.
pub const DEFAULT_EXCLUDED_PATHS: [&str; 1] = ["/boot/grub/grubenv"];

/// The most entries that a manifest can have: five times a large desktop.
const ENTRIES_MAX: usize = 1_000_000;

/// Which paths are immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// These and everything under them. A path that does not exist has no entry; should it appear on
    /// a node, it is foreign.
    pub immutable_paths: Vec<String>,
    /// But not these, nor anything under them.
    pub excluded_paths: Vec<String>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            immutable_paths: DEFAULT_IMMUTABLE_PATHS.map(str::to_owned).to_vec(),
            excluded_paths: DEFAULT_EXCLUDED_PATHS.map(str::to_owned).to_vec(),
        }
    }
}

/// Lists and digests everything under the immutable paths of a root whose files lie in the image as they
/// are read. `progress` is told after each file how many bytes of it were read.
///
/// # Errors
/// [`RootError`] if anything there could not be read or described; nothing is left out silently.
pub fn read_root<S: ReadAt>(
    image: &S,
    partition: &ManifestPartition,
    selection: &Selection,
    progress: &mut dyn FnMut(u64),
) -> Result<RootManifest, RootError> {
    let nowhere = "there is no place beside the image for it".to_owned();
    let mut keep = |_: &[u8]| Err(io::Error::other(nowhere.clone()));
    read_root_beside(image, partition, selection, &mut ContentBeside::new(0, &mut keep), progress)
}

/// As [`read_root`]; the content of files that do not lie in the image as they are read is put beside it.
///
/// # Errors
/// As [`read_root`], and if the content cannot be kept.
pub fn read_root_beside<S: ReadAt>(
    image: &S,
    partition: &ManifestPartition,
    selection: &Selection,
    beside: &mut ContentBeside<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<RootManifest, RootError> {
    let number = partition.number;
    let paths = Paths {
        immutable: ordered(&selection.immutable_paths)?,
        excluded: ordered(&selection.excluded_paths)?,
    };
    let source = Part::new(image, partition.first_byte, partition.length_bytes)
        .map_err(|_| RootError::Outside { partition: number })?;
    let fail =
        |source| RootError::FileSystem { partition: number, path: "the superblock".to_owned(), source };
    let known = known_file_system(&source).map_err(|(offset, source)| RootError::Read {
        path: "the superblock of the root file system".to_owned(),
        offset: partition.first_byte.saturating_add(offset),
        source,
    })?;
    match known {
        Some(Known::Xfs) => {
            let file_system = Xfs::open(source).map_err(|error| fail(error.into()))?;
            list(image, partition, &file_system, paths, beside, progress)
        }
        Some(Known::Btrfs) => {
            let file_system = Btrfs::open(source).map_err(|error| fail(error.into()))?;
            list(image, partition, &file_system, paths, beside, progress)
        }
        None => {
            let file_system = Ext4::open(source).map_err(|error| fail(error.into()))?;
            list(image, partition, &file_system, paths, beside, progress)
        }
    }
}

/// The selected paths, ordered.
struct Paths {
    immutable: Vec<String>,
    excluded: Vec<String>,
}

fn list<S: ReadAt, F: FileSystem>(
    image: &S,
    partition: &ManifestPartition,
    file_system: &F,
    paths: Paths,
    beside: &mut ContentBeside<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<RootManifest, RootError> {
    let mut walk = Walk {
        image,
        partition,
        file_system,
        paths: &paths,
        entries: Vec::new(),
        directories: BTreeSet::new(),
        content_bytes: 0,
        described: Described::default(),
        beside,
        progress,
    };
    for path in &paths.immutable {
        // What lies under another immutable path is walked with that one.
        let walked = paths
            .immutable
            .iter()
            .any(|other| other != path && covers(std::slice::from_ref(other), &[], path));
        if walked || !covers(&paths.immutable, &paths.excluded, path) {
            continue;
        }
        if let Some(inode) = walk.find(path)? {
            walk.tree(path.clone(), F::facts(&inode).number)?;
        }
    }
    let mut entries = walk.entries;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(RootManifest {
        partition: partition.number,
        file_system: F::KIND.to_owned(),
        subvolume: file_system.subvolume(),
        immutable_paths: paths.immutable,
        excluded_paths: paths.excluded,
        attributes_recorded: true,
        entries,
    })
}

/// A file system that is known by its superblock's magic.
#[derive(Clone, Copy)]
enum Known {
    Xfs,
    Btrfs,
}

/// Magic numbers: XFS Algorithms & Data Structures, "Superblocks"; btrfs on-disk format, "Superblock".
/// None stands in a partition too small for it. An error is where the medium could not be read, and why.
fn known_file_system<S: ReadAt>(source: &S) -> Result<Option<Known>, (u64, io::Error)> {
    const KNOWN: [(u64, &[u8], Known); 2] = [(0, b"XFSB", Known::Xfs), (0x1_0040, b"_BHRfS_M", Known::Btrfs)];
    for (offset, magic, kind) in KNOWN {
        let mut bytes = vec![0; magic.len()];
        if offset + bytes.len() as u64 <= source.size_bytes() {
            source.read_at(offset, &mut bytes).map_err(|error| (offset, error))?;
            if bytes == magic {
                return Ok(Some(kind));
            }
        }
    }
    Ok(None)
}

fn ordered(paths: &[String]) -> Result<Vec<String>, RootError> {
    if let Some(path) = paths.iter().find(|path| !is_path(path)) {
        return Err(RootError::Path { path: path.clone() });
    }
    let ordered: BTreeSet<String> = paths.iter().cloned().collect();
    Ok(ordered.into_iter().collect())
}

struct Walk<'a, 'b, S, F> {
    image: &'a S,
    partition: &'a ManifestPartition,
    file_system: &'a F,
    paths: &'a Paths,
    entries: Vec<ImmutableEntry>,
    /// Directories seen; one that is seen twice would make the walk endless.
    directories: BTreeSet<u64>,
    content_bytes: u64,
    described: Described,
    beside: &'a mut ContentBeside<'b>,
    progress: &'a mut dyn FnMut(u64),
}

impl<S: ReadAt, F: FileSystem> Walk<'_, '_, S, F> {
    fn fail(&self, path: &str, source: F::Error) -> RootError {
        RootError::FileSystem {
            partition: self.partition.number,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    fn unsupported<T>(&self, path: &str, what: &'static str) -> Result<T, RootError> {
        Err(RootError::Unsupported { path: path.to_owned(), what })
    }

    fn inode(&self, path: &str, number: u64) -> Result<F::Inode, RootError> {
        self.file_system.inode(number).map_err(|source| self.fail(path, source))
    }

    /// The inode at a path, links not followed; none if there is none.
    fn find(&self, path: &str) -> Result<Option<F::Inode>, RootError> {
        let mut inode = self.inode("/", self.file_system.root_inode())?;
        for part in path.split('/').skip(1) {
            if F::facts(&inode).kind != InodeKind::Directory {
                return Ok(None);
            }
            let names = self.file_system.names(&inode).map_err(|source| self.fail(path, source))?;
            let Some(found) = names.into_iter().find(|entry| entry.name == part.as_bytes()) else {
                return Ok(None);
            };
            inode = self.inode(path, found.inode)?;
        }
        Ok(Some(inode))
    }

    /// Everything from `path`, which is not excluded, down.
    fn tree(&mut self, path: String, inode: u64) -> Result<(), RootError> {
        self.described.add_path(&path)?;
        let mut waiting = vec![(path, inode)];
        while let Some((path, number)) = waiting.pop() {
            if self.entries.len() >= ENTRIES_MAX {
                return Err(RootError::TooMuch);
            }
            let inode = self.inode(&path, number)?;
            let kind = self.entry_kind(&path, &inode)?;
            if kind == EntryKind::Directory {
                self.children(&path, &inode, &mut waiting)?;
            }
            let attributes =
                self.file_system.attributes_of(&inode).map_err(|source| self.fail(&path, source))?;
            let Facts { mode, uid, gid, .. } = F::facts(&inode);
            self.described.add_rest(&attributes, &kind)?;
            self.entries.push(ImmutableEntry { path, mode, uid, gid, attributes, kind });
        }
        Ok(())
    }

    /// What is in a folder, without what is excluded: of that nothing is looked at.
    fn children(
        &mut self,
        path: &str,
        inode: &F::Inode,
        waiting: &mut Vec<(String, u64)>,
    ) -> Result<(), RootError> {
        if !self.directories.insert(F::facts(inode).number) {
            return self.unsupported(path, "is a directory that is in two places");
        }
        for entry in self.file_system.names(inode).map_err(|source| self.fail(path, source))? {
            let child = match String::from_utf8(entry.name) {
                Ok(name) => format!("{path}/{name}"),
                Err(_) => return self.unsupported(path, "has a name in it that is not UTF-8"),
            };
            if !covers(&self.paths.immutable, &self.paths.excluded, &child) {
                continue;
            }
            if !is_path(&child) || waiting.len() >= ENTRIES_MAX {
                return Err(RootError::TooMuch);
            }
            self.described.add_path(&child)?;
            waiting.push((child, entry.inode));
        }
        Ok(())
    }

    fn entry_kind(&mut self, path: &str, inode: &F::Inode) -> Result<EntryKind, RootError> {
        match F::facts(inode).kind {
            InodeKind::Directory => Ok(EntryKind::Directory),
            InodeKind::Special => self.unsupported(path, "is a device, pipe or socket"),
            InodeKind::Symlink => {
                let target = self.file_system.target(inode).map_err(|source| self.fail(path, source))?;
                match String::from_utf8(target) {
                    Ok(target) if !target.contains('\0') => Ok(EntryKind::Symlink { target }),
                    _ => self.unsupported(path, "is a link whose target is not UTF-8"),
                }
            }
            InodeKind::File => self.file(path, inode),
        }
    }

    fn file(&mut self, path: &str, inode: &F::Inode) -> Result<EntryKind, RootError> {
        let size_bytes = F::facts(inode).size_bytes;
        self.content_bytes = self.content_bytes.saturating_add(size_bytes);
        if self.content_bytes > self.partition.length_bytes.saturating_mul(4) {
            return Err(RootError::TooMuch);
        }
        let runs = if size_bytes == 0 { Ok(Some(Vec::new())) } else { self.file_system.runs(inode) };
        let Some(runs) = runs.map_err(|source| self.fail(path, source))? else {
            return self.file_beside(path, inode);
        };
        let extents: Vec<Extent> = runs
            .into_iter()
            .map(|run| Extent {
                file_offset: run.file_offset,
                image_offset: self.partition.first_byte + run.offset,
                length_bytes: run.length_bytes,
            })
            .collect();
        let digest = digest_file(self.image, size_bytes, &extents)
            .map_err(|(offset, source)| RootError::Read { path: path.to_owned(), offset, source })?;
        (self.progress)(size_bytes);
        Ok(EntryKind::File { size_bytes, digest, extents })
    }

    /// A file whose content does not lie in the image as it is read.
    fn file_beside(&mut self, path: &str, inode: &F::Inode) -> Result<EntryKind, RootError> {
        let size_bytes = F::facts(inode).size_bytes;
        let keep = |source| RootError::Keep { path: path.to_owned(), source };
        let image_offset = self.beside.begin(path, size_bytes).map_err(keep)?;
        let mut hasher = blake3::Hasher::new();
        let mut kept = Ok(());
        let read = self.file_system.content(inode, &mut |bytes| {
            hasher.update(bytes);
            kept = self.beside.add(bytes);
            kept.as_ref().map_err(|error| error.kind().into()).copied()
        });
        kept.map_err(keep)?;
        read.map_err(|source| self.fail(path, source))?;
        self.beside.finish().map_err(keep)?;
        (self.progress)(size_bytes);
        let extents = vec![Extent { file_offset: 0, image_offset, length_bytes: size_bytes }];
        Ok(EntryKind::File { size_bytes, digest: Digest(*hasher.finalize().as_bytes()), extents })
    }
}

mod beside;
mod described;
mod digest;
mod error;

#[cfg(test)]
mod attribute_tests;
#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod tests;
