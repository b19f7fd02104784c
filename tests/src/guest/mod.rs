//! What the laboratory puts into a machine beside the real ramdisk, and what runs there first.
//!
//! - [`archive`]: on the outside, the ramdisk with a second archive behind it.
//! - [`site`]: a site whose machine has no disk but the one that was put there.
//! - [`start`]: on the inside, what every first process of the laboratory does.

pub mod archive;
pub mod site;
pub mod start;
