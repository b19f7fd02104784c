//! Root file systems in XFS: everything that an import reads of an image that anybody made. The smallest
//! XFS is larger than a fuzzer's inputs, so that an input is a list of changes to one: three bytes for
//! where, eight bytes for what.
#![no_main]

use std::io;
use std::sync::OnceLock;

use imaging::source::ReadAt;
use imaging::xfs::Xfs;
use libfuzzer_sys::fuzz_target;

/// Where the first inodes, folders and trees stand.
const CHANGED_BYTES_MAX: usize = 512 << 10;
const CHANGES_MAX: usize = 64;

fn base() -> &'static [u8] {
    static BASE: OnceLock<Vec<u8>> = OnceLock::new();
    BASE.get_or_init(|| {
        let file = std::env::var_os("FUZZ_BASE").unwrap_or_default();
        std::fs::read(file).unwrap_or_default()
    })
}

struct Changed<'a>(&'a [u8]);

impl ReadAt for Changed<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        base().read_at(offset, buffer)?;
        for change in self.0.chunks_exact(11).take(CHANGES_MAX) {
            let at = usize::from(change[0]) << 16 | usize::from(change[1]) << 8 | usize::from(change[2]);
            for (index, byte) in change[3..].iter().enumerate() {
                let place = ((at % CHANGED_BYTES_MAX + index) as u64).checked_sub(offset);
                let slot = place.and_then(|place| buffer.get_mut(usize::try_from(place).ok()?));
                if let Some(slot) = slot {
                    *slot = *byte;
                }
            }
        }
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        base().len() as u64
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(file_system) = Xfs::look(Changed(data)) else { return };
    let _ = file_system.is_log_clean();
    for number in 128..144 {
        if let Ok(inode) = file_system.inode(number) {
            let _ = (file_system.byte_runs(&inode), file_system.attributes(&inode));
            let _ = (file_system.directory(&inode), file_system.symlink_target(&inode));
        }
    }
});
