//! Root file systems in ext4: inodes, extents, links, attributes of an image that anybody made.
#![no_main]

use imaging::ext4::Ext4;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(file_system) = Ext4::open(data.to_vec()) else { return };
    for number in 0..64 {
        if let Ok(inode) = file_system.inode(number) {
            let _ = file_system.byte_runs(&inode);
            let _ = file_system.symlink_target(&inode);
        }
    }
});
