//! Images as data: chunks, the signed manifest, where an image's bytes go on a disk, and what a node
//! keeps in its own partition.
//!
//! Nothing here opens a file or a device. Bytes come in through [`source::ReadAt`] or as slices, and
//! everything that comes in is hostile until it has been parsed: every reader is bounded, every
//! number is checked before it is used, and nothing panics.
#![forbid(unsafe_code)]

pub mod attributes;
pub mod btrfs;
pub mod chunk;
pub mod delta;
pub mod ext4;
pub mod file_system;
pub mod gpt;
pub mod layout;
pub mod manifest;
pub mod node_record;
pub mod partitions;
pub mod qcow2;
pub mod root_files;
pub mod seed;
pub mod signed;
pub mod source;
mod validate;
pub mod xfs;
