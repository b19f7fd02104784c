//! How large a manifest becomes at least, counted while files are listed: names, links and attributes
//! of an image that anybody made may be small in it and long when they are written out, since one inode
//! may have many names.

use super::RootError;
use crate::attributes::ExtendedAttribute;
use crate::manifest::{EntryKind, MANIFEST_BYTES_MAX};

/// An extent is never written in fewer bytes: its three fields have names of 11 and more letters.
const EXTENT_BYTES: usize = 50;

/// What has been listed so far.
#[derive(Debug, Default)]
pub(super) struct Described {
    bytes: usize,
}

impl Described {
    /// Counts a path, before what stands there is looked at.
    ///
    /// # Errors
    /// [`RootError::TooMuch`] if no manifest holds this.
    pub(super) fn add_path(&mut self, path: &str) -> Result<(), RootError> {
        self.add(path.len())
    }

    /// Counts what stands at a path that was counted.
    ///
    /// # Errors
    /// [`RootError::TooMuch`] if no manifest holds this.
    pub(super) fn add_rest(
        &mut self,
        attributes: &[ExtendedAttribute],
        kind: &EntryKind,
    ) -> Result<(), RootError> {
        for attribute in attributes {
            // Values are hexadecimal.
            self.add(attribute.name.len() + 2 * attribute.value.0.len())?;
        }
        match kind {
            EntryKind::Directory => Ok(()),
            EntryKind::Symlink { target } => self.add(target.len()),
            EntryKind::File { extents, .. } => self.add(extents.len() * EXTENT_BYTES),
        }
    }

    fn add(&mut self, bytes: usize) -> Result<(), RootError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MANIFEST_BYTES_MAX { Err(RootError::TooMuch) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use contract::id::Digest;

    use super::Described;
    use crate::attributes::{AttributeValue, ExtendedAttribute};
    use crate::manifest::{EntryKind, Extent, ImmutableEntry};

    #[test]
    fn what_is_counted_is_never_more_than_what_is_written() {
        let extent = Extent { file_offset: 0, image_offset: 1, length_bytes: 2 };
        let file = |extents: usize| EntryKind::File {
            size_bytes: 1,
            digest: Digest::of(b""),
            extents: vec![extent; extents],
        };
        let link = EntryKind::Symlink { target: "x".repeat(300) };
        for kind in [EntryKind::Directory, link, file(0), file(1), file(1000)] {
            let value = AttributeValue(vec![7; 600]);
            let attributes = vec![ExtendedAttribute { name: "user.a".to_owned(), value }];
            let mut described = Described::default();
            described.add_path("/usr").unwrap();
            described.add_rest(&attributes, &kind).unwrap();
            let entry = ImmutableEntry { path: "/usr".to_owned(), mode: 0, uid: 0, gid: 0, attributes, kind };
            let written = serde_json::to_string(&entry).unwrap().len();
            assert!(described.bytes <= written && described.bytes * 5 > written * 4 - 800, "{written}");
        }
    }
}
