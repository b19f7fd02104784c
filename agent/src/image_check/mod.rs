//! Is the installed image what its manifest says? Immutable partitions byte for byte, immutable files
//! by kind, owner, mode and content. What a running system rightly changes is not looked at.

mod cache;
mod compare;
mod files;
mod in_place;
mod partitions;
mod ramdisk;
mod table;

pub use cache::FileCache;
pub use compare::{Difference, compare_entry};
pub use in_place::check_in_place;
pub use ramdisk::{ImageCheckRequest, check_from_ramdisk};

use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

/// One thing that was measured; the caller adds time, boot and trust.
pub type Measured = (Subject, ReadingKey, Outcome<ReadingValue>);
