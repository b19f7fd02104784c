//! The entries of a manifest folder by folder, so that each folder is found and opened once.

use std::collections::HashMap;

use imaging::manifest::{EntryKind, ImmutableEntry, RootManifest};

/// How many entries of one folder are one piece of work; large folders keep several threads busy.
const PIECE_ENTRIES: usize = 128;

/// One folder and what the image has in it.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    /// Its path.
    pub(super) path: &'a str,
    /// Its own entry; none for folders above the immutable paths.
    pub(super) entry: Option<&'a ImmutableEntry>,
    /// What is in it, ordered by name.
    pub(super) entries: Vec<&'a ImmutableEntry>,
}

/// A part of one folder's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Which folder.
    pub(super) folder: usize,
    /// First of its entries.
    pub(super) from: usize,
    /// The one after the last.
    pub(super) until: usize,
}

/// All folders that the manifest has entries in, and those that it has as entries.
pub(super) fn folders(manifest: &RootManifest) -> Vec<Folder<'_>> {
    let mut found = Folders::default();
    for entry in &manifest.entries {
        let above = match entry.path.rsplit_once('/') {
            Some((above, _)) if !above.is_empty() => above,
            _ => "/",
        };
        found.at(above).entries.push(entry);
        if matches!(entry.kind, EntryKind::Directory) {
            found.at(&entry.path).entry = Some(entry);
        }
    }
    found.list
}

#[derive(Default)]
struct Folders<'a> {
    list: Vec<Folder<'a>>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Folders<'a> {
    fn at(&mut self, path: &'a str) -> &mut Folder<'a> {
        let place = *self.places.entry(path).or_insert_with(|| {
            self.list.push(Folder { path, entry: None, entries: Vec::new() });
            self.list.len() - 1
        });
        &mut self.list[place]
    }
}

/// The work in all folders. The first piece of a folder is there even if the folder is empty: what
/// the image does not have is looked for with it.
pub(super) fn pieces(folders: &[Folder<'_>]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (folder, content) in folders.iter().enumerate() {
        let count = content.entries.len();
        for from in (0..count.max(1)).step_by(PIECE_ENTRIES) {
            pieces.push(Piece { folder, from, until: count.min(from + PIECE_ENTRIES) });
        }
    }
    pieces
}

impl Folder<'_> {
    /// Whether the image has this name here.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        let name_of = |entry: &ImmutableEntry| {
            let path = entry.path.as_bytes();
            path.len() - path.iter().rev().take_while(|byte| **byte != b'/').count()
        };
        self.entries.binary_search_by(|entry| entry.path.as_bytes()[name_of(entry)..].cmp(name)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[(&str, bool)]) -> RootManifest {
        let entry = |&(path, is_folder): &(&str, bool)| ImmutableEntry {
            path: path.to_owned(),
            mode: 0,
            uid: 0,
            gid: 0,
            attributes: Vec::new(),
            kind: if is_folder {
                EntryKind::Directory
            } else {
                EntryKind::Symlink { target: "x".to_owned() }
            },
        };
        RootManifest {
            partition: 1,
            file_system: "ext4".to_owned(),
            subvolume: None,
            immutable_paths: Vec::new(),
            excluded_paths: Vec::new(),
            attributes_recorded: true,
            entries: paths.iter().map(entry).collect(),
        }
    }

    #[test]
    fn every_entry_is_in_its_folder_once_and_names_are_found() {
        let manifest = manifest(&[
            ("/bin", false),
            ("/usr", true),
            ("/usr/a", true),
            ("/usr/a-b", false),
            ("/usr/a/x", false),
            ("/usr/b", true),
        ]);
        let folders = folders(&manifest);
        let shown: Vec<(&str, bool, usize)> =
            folders.iter().map(|one| (one.path, one.entry.is_some(), one.entries.len())).collect();
        assert_eq!(shown, [("/", false, 2), ("/usr", true, 3), ("/usr/a", true, 1), ("/usr/b", true, 0)]);
        for name in ["a", "a-b", "b"] {
            assert!(folders[1].has(name.as_bytes()), "{name}");
        }
        for name in [&b"x"[..], b"", b"a-", b"\xff", b"usr"] {
            assert!(!folders[1].has(name));
        }
        assert_eq!(pieces(&folders).len(), 4);
    }

    #[test]
    fn a_large_folder_is_worked_on_in_pieces() {
        let names: Vec<String> = (0..300).map(|number| format!("/usr/{number:03}")).collect();
        let mut paths = vec![("/usr", true)];
        paths.extend(names.iter().map(|name| (name.as_str(), false)));
        let manifest = manifest(&paths);
        let pieces: Vec<(usize, usize)> = pieces(&folders(&manifest))
            .iter()
            .filter(|piece| piece.folder == 1)
            .map(|piece| (piece.from, piece.until))
            .collect();
        assert_eq!(pieces, [(0, 128), (128, 256), (256, 300)]);
    }
}
