//! Whether a qcow2 file is whole and stands alone, before anything of it is believed (QEMU
//! documentation, "qcow2").
//!
//! Readers of qcow2 take what lies behind the end of the file for zeros. For an image that was cut off
//! by a broken transfer this would mean importing holes. So every cluster that the tables name must
//! lie inside the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use anyhow::Context as _;

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

struct Layout {
    cluster_bits: u32,
    l1_offset: u64,
    l1_entries: u64,
    file_bytes: u64,
}

/// Checks a qcow2 file.
///
/// # Errors
/// If it is cut off, damaged, encrypted, or refers to other files.
pub fn check(file: &File) -> anyhow::Result<()> {
    let layout = check_header(file)?;
    let mut l1 = vec![0; usize::try_from(layout.l1_entries * 8)?];
    read(file, layout.l1_offset, &mut l1)?;
    let mut l2 = vec![0; 1 << layout.cluster_bits];
    for entry in l1.chunks_exact(8) {
        let offset = u64_at(entry, 0) & OFFSET_MASK;
        if offset != 0 {
            read(file, offset, &mut l2)?;
            check_l2(&l2, &layout)?;
        }
    }
    Ok(())
}

fn check_header(file: &File) -> anyhow::Result<Layout> {
    let mut header = [0; 104];
    read(file, 0, &mut header[..72])?;
    let version = u32_at(&header, 4);
    anyhow::ensure!(matches!(version, 2 | 3), "it is a qcow2 image of unknown version {version}");
    if version == 3 {
        read(file, 72, &mut header[72..])?;
    }
    let features = u64_at(&header, 72);
    let alone = u64_at(&header, 8) == 0 && features & DATA_FILE == 0;
    anyhow::ensure!(
        alone,
        "it is a qcow2 image that refers to another file, which is not followed; make it whole with: qemu-img convert -O qcow2"
    );
    anyhow::ensure!(
        features & CORRUPT == 0,
        "it is a qcow2 image marked corrupt; repair it with: qemu-img check -r all"
    );
    anyhow::ensure!(
        features & EXTENDED_L2 == 0,
        "it is a qcow2 image with extended tables; write it plainly with: qemu-img convert -O qcow2"
    );
    anyhow::ensure!(
        u32_at(&header, 32) == 0,
        "it is an encrypted qcow2 image; decrypt it with: qemu-img convert"
    );
    let cluster_bits = u32_at(&header, 20);
    anyhow::ensure!(
        (9..=21).contains(&cluster_bits),
        "it is a qcow2 image with clusters of 2^{cluster_bits} bytes"
    );
    let l1_entries = u64::from(u32_at(&header, 36));
    anyhow::ensure!(
        l1_entries * 8 <= L1_BYTES_MAX,
        "it is a qcow2 image with a table of {l1_entries} entries"
    );
    Ok(Layout {
        cluster_bits,
        l1_offset: u64_at(&header, 40),
        l1_entries,
        file_bytes: file.metadata().context("could not see how large it is")?.len(),
    })
}

fn check_l2(table: &[u8], layout: &Layout) -> anyhow::Result<()> {
    let cluster_bytes = 1_u64 << layout.cluster_bits;
    let inside = |bytes: &[u8]| {
        let entry = u64_at(bytes, 0);
        if entry & COMPRESSED != 0 {
            // The length is in sectors and may go past the end; where it starts may not.
            let offset_bits = 62 - (layout.cluster_bits - 8);
            return entry & ((1 << offset_bits) - 1) < layout.file_bytes;
        }
        let offset = entry & OFFSET_MASK;
        offset == 0
            || entry & READS_AS_ZEROS != 0
            || offset.saturating_add(cluster_bytes) <= layout.file_bytes
    };
    anyhow::ensure!(table.chunks_exact(8).all(inside), CUT_OFF);
    Ok(())
}

const CUT_OFF: &str =
    "it is a qcow2 image that is cut off: parts of it lie behind the end of the file; fetch it again";

fn read(file: &File, offset: u64, buffer: &mut [u8]) -> anyhow::Result<()> {
    match file.read_exact_at(buffer, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => anyhow::bail!(CUT_OFF),
        other => other.with_context(|| format!("could not read {} bytes at {offset}", buffer.len())),
    }
}

// Callers pass buffers of fixed size.

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}
