//! Is the installed image what its manifest says? Immutable partitions byte for byte, immutable files
//! by kind, owner, mode and content. What a running system rightly changes is not looked at.

mod cache;
mod compare;
mod files;
mod folders;
mod foreign;
mod in_place;
mod partitions;
mod ramdisk;
mod table;

pub use cache::FileCache;
pub use compare::{Difference, compare_entry, digest_of_file};
pub use in_place::check_in_place;
pub(crate) use partitions::digest_of_range;
pub(crate) use ramdisk::root_place;
pub use ramdisk::{ImageCheckRequest, check_from_ramdisk};
pub(crate) use table::DiskSource;

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

/// One thing that was measured; the caller adds time, boot and trust.
pub type Measured = (Subject, ReadingKey, Outcome<ReadingValue>);
