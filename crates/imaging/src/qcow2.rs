//! Whether a qcow2 file is whole and stands alone, before anything of it is believed (QEMU
//! documentation, "qcow2").
//!
//! Readers of qcow2 take what lies behind the end of the file for zeros. For an image that was cut off
//! by a broken transfer this would mean importing holes. So every cluster that the tables name must
//! lie inside the file.

use std::collections::HashSet;
use std::io;

use crate::source::ReadAt;

/// The first bytes of a qcow2 file.
pub const MAGIC: &[u8; 4] = b"QFI\xfb";

/// The largest first-level table in bytes (the limit of QEMU itself).
const L1_BYTES_MAX: u64 = 32 << 20;

/// The bits of a table entry that say where a cluster is.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const READS_AS_ZEROS: u64 = 1;

// Incompatible features.
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const EXTENDED_L2: u64 = 1 << 4;

/// Why a qcow2 file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Qcow2Error {
    /// A newer or older form.
    #[error("it is a qcow2 image of unknown version {0}; write it anew with: qemu-img convert -O qcow2")]
    Version(u32),
    /// It has a backing file or keeps its data in another file.
    #[error(
        "it is a qcow2 image that refers to another file, which is not followed; make it whole with: qemu-img convert -O qcow2"
    )]
    RefersElsewhere,
    /// Its writer marked it so.
    #[error("it is a qcow2 image marked corrupt; repair it with: qemu-img check -r all")]
    MarkedCorrupt,
    /// Entries of 16 bytes.
    #[error("it is a qcow2 image with extended tables; write it plainly with: qemu-img convert -O qcow2")]
    ExtendedTables,
    /// Nobody here has its key.
    #[error("it is an encrypted qcow2 image; decrypt it with: qemu-img convert")]
    Encrypted,
    /// No cluster that QEMU makes.
    #[error("it is a qcow2 image with clusters of 2^{0} bytes, which no tool makes; fetch it again")]
    ClusterSize(u32),
    /// More than any disk needs.
    #[error("it is a qcow2 image with a table of {0} entries, more than QEMU allows; fetch it again")]
    TableSize(u64),
    /// The tables name bytes that are not there.
    #[error(
        "it is a qcow2 image that is cut off: parts of it lie behind the end of the file; fetch it again"
    )]
    CutOff,
    /// A table or a cluster that no writer puts there.
    #[error(
        "it is a qcow2 image that names {0}, which is no cluster's place in it; repair it with: qemu-img check -r all"
    )]
    Misplaced(u64),
    /// The file cannot be read.
    #[error("could not read {length_bytes} bytes at {offset}; check the disk that it is on")]
    Read {
        /// From where, in bytes.
        offset: u64,
        /// How many bytes.
        length_bytes: usize,
        /// What the system said.
        source: io::Error,
    },
}

struct Layout {
    cluster_bits: u32,
    l1_offset: u64,
    l1_entries: u64,
    file_bytes: u64,
}

/// Checks a qcow2 file.
///
/// # Errors
/// [`Qcow2Error`] if it is cut off, damaged, encrypted, or refers to other files.
pub fn check<S: ReadAt + ?Sized>(file: &S) -> Result<(), Qcow2Error> {
    let layout = check_header(file)?;
    // A table that is not there must not cost the memory of one that is.
    let l1_bytes = layout.l1_entries * 8;
    if layout.l1_offset.saturating_add(l1_bytes) > layout.file_bytes {
        return Err(Qcow2Error::CutOff);
    }
    let mut l1 = vec![0; usize::try_from(l1_bytes).map_err(|_| Qcow2Error::TableSize(layout.l1_entries))?];
    check_place(layout.l1_offset, &layout)?;
    read(file, layout.l1_offset, &mut l1)?;
    let mut l2 = vec![0; 1 << layout.cluster_bits];
    // Tables that are named again are not read again, so no more is read than the file has.
    let mut seen = HashSet::new();
    for entry in l1.chunks_exact(8) {
        let offset = u64_at(entry, 0) & OFFSET_MASK;
        if offset != 0 && seen.insert(offset) {
            check_place(offset, &layout)?;
            read(file, offset, &mut l2)?;
            check_l2(&l2, &layout)?;
        }
    }
    Ok(())
}

fn check_header<S: ReadAt + ?Sized>(file: &S) -> Result<Layout, Qcow2Error> {
    let mut header = [0; 104];
    read(file, 0, &mut header[..72])?;
    let version = u32_at(&header, 4);
    if !matches!(version, 2 | 3) {
        return Err(Qcow2Error::Version(version));
    }
    if version == 3 {
        read(file, 72, &mut header[72..])?;
    }
    let features = u64_at(&header, 72);
    if u64_at(&header, 8) != 0 || features & DATA_FILE != 0 {
        return Err(Qcow2Error::RefersElsewhere);
    }
    if features & CORRUPT != 0 {
        return Err(Qcow2Error::MarkedCorrupt);
    }
    if features & EXTENDED_L2 != 0 {
        return Err(Qcow2Error::ExtendedTables);
    }
    if u32_at(&header, 32) != 0 {
        return Err(Qcow2Error::Encrypted);
    }
    let cluster_bits = u32_at(&header, 20);
    if !(9..=21).contains(&cluster_bits) {
        return Err(Qcow2Error::ClusterSize(cluster_bits));
    }
    let l1_entries = u64::from(u32_at(&header, 36));
    if l1_entries * 8 > L1_BYTES_MAX {
        return Err(Qcow2Error::TableSize(l1_entries));
    }
    Ok(Layout { cluster_bits, l1_offset: u64_at(&header, 40), l1_entries, file_bytes: file.size_bytes() })
}

/// Clusters, and tables among them, begin at multiples of their size.
fn check_place(offset: u64, layout: &Layout) -> Result<(), Qcow2Error> {
    match offset.is_multiple_of(1 << layout.cluster_bits) {
        true => Ok(()),
        false => Err(Qcow2Error::Misplaced(offset)),
    }
}

fn check_l2(table: &[u8], layout: &Layout) -> Result<(), Qcow2Error> {
    let cluster_bytes = 1_u64 << layout.cluster_bits;
    for bytes in table.chunks_exact(8) {
        let entry = u64_at(bytes, 0);
        let offset = entry & OFFSET_MASK;
        let is_inside = if entry & COMPRESSED != 0 {
            // The length is in sectors and may go past the end; where it starts may not.
            let offset_bits = 62 - (layout.cluster_bits - 8);
            entry & ((1 << offset_bits) - 1) < layout.file_bytes
        } else {
            check_place(offset, layout)?;
            offset == 0
                || entry & READS_AS_ZEROS != 0
                || offset.saturating_add(cluster_bytes) <= layout.file_bytes
        };
        if !is_inside {
            return Err(Qcow2Error::CutOff);
        }
    }
    Ok(())
}

fn read<S: ReadAt + ?Sized>(file: &S, offset: u64, buffer: &mut [u8]) -> Result<(), Qcow2Error> {
    file.read_at(offset, buffer).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => Qcow2Error::CutOff,
        _ => Qcow2Error::Read { offset, length_bytes: buffer.len(), source },
    })
}

// Callers pass buffers of fixed size.

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use proptest::prelude::{any, prop, proptest};

    use super::{MAGIC, Qcow2Error, check};
    use crate::source::ReadAt;

    const CLUSTER: usize = 512;

    /// A file of version 3 with one first-level entry and one cluster of data.
    fn smallest() -> Vec<u8> {
        with_clusters(CLUSTER)
    }

    fn with_clusters(cluster: usize) -> Vec<u8> {
        let mut file = vec![0; 4 * cluster];
        file[..4].copy_from_slice(MAGIC);
        file[4..8].copy_from_slice(&3_u32.to_be_bytes());
        file[20..24].copy_from_slice(&cluster.ilog2().to_be_bytes());
        file[36..40].copy_from_slice(&1_u32.to_be_bytes());
        file[40..48].copy_from_slice(&(cluster as u64).to_be_bytes());
        file[cluster..cluster + 8].copy_from_slice(&(2 * cluster as u64).to_be_bytes());
        file[2 * cluster..2 * cluster + 8].copy_from_slice(&(3 * cluster as u64).to_be_bytes());
        file
    }

    /// A file that counts how many bytes are read of it.
    struct Counting {
        file: Vec<u8>,
        read_bytes: Cell<usize>,
    }

    impl ReadAt for Counting {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.read_bytes.set(self.read_bytes.get() + buffer.len());
            self.file.read_at(offset, buffer)
        }

        fn size_bytes(&self) -> u64 {
            self.file.size_bytes()
        }
    }

    #[test]
    fn a_table_that_is_named_by_every_entry_is_read_once() {
        let mut file = smallest();
        file[36..40].copy_from_slice(&64_u32.to_be_bytes());
        for entry in 1..64 {
            file.copy_within(CLUSTER..CLUSTER + 8, CLUSTER + entry * 8);
        }
        let counting = Counting { file, read_bytes: Cell::new(0) };
        assert!(check(&counting).is_ok());
        assert!(counting.read_bytes.get() <= counting.file.len(), "{}", counting.read_bytes.get());
    }

    #[test]
    fn tables_and_clusters_begin_where_clusters_do() {
        let file = with_clusters(4096);
        assert!(check(&file).is_ok());
        // The place of the first-level table, its entry, and the entry that it leads to.
        for at in [40, 4096, 2 * 4096] {
            let mut misplaced = file.clone();
            misplaced[at + 6] += 2;
            let said = check(&misplaced).map_err(|error| error.to_string());
            assert!(said.as_ref().is_err_and(|said| said.contains("no cluster's place")), "{at}: {said:?}");
        }
    }

    #[test]
    fn what_stands_alone_and_is_whole_is_read_and_each_cut_of_it_is_not() {
        let file = smallest();
        assert!(check(&file).is_ok());
        for length in 0..file.len() {
            assert!(matches!(check(&file[..length]), Err(Qcow2Error::CutOff)), "{length} bytes");
        }
    }

    #[test]
    fn each_thing_that_cannot_be_followed_has_its_own_words() {
        let with = |at: usize, bytes: &[u8]| {
            let mut file = smallest();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            check(&file).map_err(|error| error.to_string())
        };
        let rows: [(usize, &[u8], &str); 7] = [
            (7, &[4], "unknown version 4"),
            (15, &[9], "refers to another file"),
            (79, &[1 << 1], "marked corrupt"),
            (79, &[1 << 2], "refers to another file"),
            (79, &[1 << 4], "extended tables"),
            (35, &[1], "encrypted"),
            (23, &[63], "2^63 bytes"),
        ];
        for (at, bytes, words) in rows {
            let said = with(at, bytes).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
        assert!(with(36, &[0xff]).unwrap_err().contains("more than QEMU allows"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_checked_without_harm(
            changes in prop::collection::vec((0_usize..2048, any::<u8>()), 0..16),
            length in 0_usize..2049,
        ) {
            let mut file = smallest();
            for (at, byte) in changes {
                file[at] = byte;
            }
            let _ = check(&file[..length]);
        }
    }
}
