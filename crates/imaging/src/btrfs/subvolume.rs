//! Which subvolume is the root.
//!
//! The one that is mounted if nobody says which: the default one. Where that is the top level and holds
//! no system, the subvolume in it whose own `/etc/fstab` says that it is the root.

use super::inode::{Inode, NAME_ITEM, name_items};
use super::tree::{Key, TreeRoot};
use super::{Btrfs, BtrfsError, damaged, u64_at};
use crate::file_system::InodeKind;
use crate::source::ReadAt;

const ROOT_ITEM: u8 = 132;
const NAME_BY_NUMBER: u8 = 96;
const TOP_LEVEL: u64 = 5;
const DEFAULT_NAME: &[u8] = b"default";
/// A root's item has at least its tree's place and level.
const ROOT_ITEM_BYTES: usize = 239;

/// Subvolumes in the top level that are looked at.
const CANDIDATES_MAX: usize = 64;
/// The largest `/etc/fstab` that is read, in bytes.
const TABLE_BYTES_MAX: u64 = 64 << 10;

impl<S: ReadAt> Btrfs<S> {
    /// Finds the root's subvolume and goes into it.
    pub(super) fn find_root(&mut self) -> Result<(), BtrfsError> {
        let default = self.default_subvolume()?;
        self.enter(default)?;
        if default != TOP_LEVEL || self.find("usr")?.is_some() {
            return Ok(());
        }
        let candidates = self.subvolumes()?;
        let mut found = Vec::new();
        for (name, number) in candidates {
            self.enter(number)?;
            if self.file_system_table()?.is_some_and(|table| names_root(&table, &name)) {
                found.push((name, number));
            }
        }
        match found.as_slice() {
            [(name, number)] => {
                self.enter(*number)?;
                self.subvolume_path = Some(name.clone());
                Ok(())
            }
            _ => Err(BtrfsError::Unsupported {
                what: format!("{} subvolumes whose /etc/fstab says that they are the root", found.len()),
                hint: "make the root's subvolume the default one (btrfs subvolume set-default)",
            }),
        }
    }

    fn enter(&mut self, number: u64) -> Result<(), BtrfsError> {
        let mut found = None;
        let (from, until) = (Key::first(number, ROOT_ITEM), Key::last(number, ROOT_ITEM));
        self.scan(self.superblock.root_tree, from, until, &mut |_, item| {
            found = item
                .get(..ROOT_ITEM_BYTES)
                .map(|item| (u64_at(item, 168), TreeRoot { address: u64_at(item, 176), level: item[238] }));
            Ok(())
        })?;
        let (root_inode, tree) = found.ok_or_else(|| damaged(format!("there is no subvolume {number}")))?;
        (self.root_inode, self.subvolume) = (root_inode, tree);
        Ok(())
    }

    /// What a mount without a choice gives.
    fn default_subvolume(&self) -> Result<u64, BtrfsError> {
        let directory = self.superblock.root_directory;
        let mut default = TOP_LEVEL;
        let (from, until) = (Key::first(directory, NAME_ITEM), Key::last(directory, NAME_ITEM));
        self.scan(self.superblock.root_tree, from, until, &mut |_, item| {
            let entries = name_items(item).ok_or_else(|| damaged("the list of subvolumes makes no sense"))?;
            if let Some(entry) = entries.iter().find(|entry| entry.name == DEFAULT_NAME) {
                default = entry.location.object;
            }
            Ok(())
        })?;
        Ok(default)
    }

    /// The subvolumes that stand in the one that was entered, by name.
    fn subvolumes(&self) -> Result<Vec<(String, u64)>, BtrfsError> {
        let mut found = Vec::new();
        let (from, until) =
            (Key::first(self.root_inode, NAME_BY_NUMBER), Key::last(self.root_inode, NAME_BY_NUMBER));
        self.scan(self.subvolume, from, until, &mut |_, item| {
            let entries = name_items(item).ok_or_else(|| damaged("the top level makes no sense"))?;
            for entry in entries.into_iter().filter(|entry| entry.location.kind == ROOT_ITEM) {
                if let Ok(name) = String::from_utf8(entry.name.to_vec())
                    && found.len() < CANDIDATES_MAX
                {
                    found.push((name, entry.location.object));
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The inode with this path below the root of the subvolume that was entered; none if there is none.
    fn find(&self, path: &str) -> Result<Option<Inode>, BtrfsError> {
        let mut inode = self.inode(self.root_inode)?;
        for part in path.split('/') {
            if inode.facts.kind != InodeKind::Directory {
                return Ok(None);
            }
            let names = self.directory(&inode)?;
            let Some(found) = names.iter().find(|name| name.name == part.as_bytes()) else { return Ok(None) };
            inode = self.inode(found.inode)?;
        }
        Ok(Some(inode))
    }

    fn file_system_table(&self) -> Result<Option<String>, BtrfsError> {
        let Some(inode) = self.find("etc/fstab")? else { return Ok(None) };
        if inode.facts.kind != InodeKind::File || inode.facts.size_bytes > TABLE_BYTES_MAX {
            return Ok(None);
        }
        let mut text = Vec::new();
        self.read_content(&inode, &mut |bytes| {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(String::from_utf8(text).ok())
    }
}

/// Whether this `fstab(5)` mounts the subvolume with this name at `/`.
fn names_root(table: &str, name: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [device, "/", "btrfs", options, ..] = fields.as_slice() else { return false };
        !device.starts_with('#')
            && options
                .split(',')
                .filter_map(|option| option.strip_prefix("subvol="))
                .any(|subvolume| subvolume.trim_start_matches('/') == name)
    })
}

#[cfg(test)]
mod tests {
    use super::names_root;

    #[test]
    fn the_table_names_the_root_by_its_subvolume() {
        let table = "# UUID=1 / btrfs subvol=old 0 0\n#\nUUID=1 / btrfs subvol=root,compress=zstd:1 0 0\nUUID=1 /home btrfs subvol=home 0 0\n";
        assert!(names_root(table, "root"));
        for other in ["old", "home", "roo", ""] {
            assert!(!names_root(table, other), "{other}");
        }
        assert!(names_root("/dev/vda2 / btrfs defaults,subvol=/@ 0 1", "@"));
        assert!(!names_root("/dev/vda2 / ext4 subvol=root", "root"));
    }
}
