//! Root file systems in XFS: everything that an import reads of an image that anybody made, and what a
//! node looks at before it mounts one.
#![no_main]

use imaging::xfs::Xfs;
use libfuzzer_sys::fuzz_target;

#[path = "../changed.rs"]
mod changed;

fuzz_target!(|data: &[u8]| {
    if let Ok(file_system) = Xfs::look(changed::Changed(data)) {
        let _ = file_system.is_log_clean();
    }
    changed::read_everything(data);
});
