//! Which method delivers which level on which disk, and how an erase is proven.
//!
//! Pure: the binary writes and reads; this crate says what to write and read next and what it means.
//!
//! - [`method`]: the table from disk and level to method, or the reason why there is none.
//! - [`sample`]: which blocks are read back, and what share of un-erased data that finds.
//! - [`markers`]: blocks written before the erase that must be gone afterwards.
//! - [`command`]: the commands with which a device erases itself.
//! - [`nvme`], [`ata`], [`scsi`]: the bytes of those commands, and what devices say of themselves.
//! - [`opal`]: whether a self-encrypting disk is locked.
//! - [`content`]: what a block that was read back looks like.
//! - [`coverage`]: which parts of a disk are not erased, or erased on the device's word alone.
//! - [`run`]: the erase as a state machine that ends in [`Erased`] or [`NotErased`].
//! - [`certificate`]: the signed proof, chained per disk, and its check without the service.
//! - [`record`]: what was done and seen, for the certificate.
#![forbid(unsafe_code)]

pub mod ata;
pub mod certificate;
pub mod command;
pub mod content;
pub mod coverage;
#[cfg(test)]
mod lying_devices;
pub mod markers;
pub mod method;
mod not_erased;
pub mod nvme;
pub mod opal;
pub mod record;
pub mod run;
pub mod sample;
pub mod scsi;

pub use record::EraseRecord;
pub use run::{EraseRun, Erased, NotErased};
