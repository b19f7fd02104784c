//! SCSI: the bytes of the commands that erase, and what a disk says of itself.
//!
//! Layouts are those of SCSI Primary Commands 5 (INQUIRY, REQUEST SENSE, REPORT SUPPORTED OPERATION
//! CODES, sense data), SCSI Block Commands 4 (SANITIZE, WRITE SAME) and SCSI/ATA Translation 5 (VPD page 89h).
//!
//! - [`health`]: what a disk says of its health.
//! - [`inquiry`]: who answers for a disk.
//! - [`sense`]: sense data of both formats, and the progress in them.
//! - [`opcodes`]: which commands a disk has.
//! - [`sanitize`][]: the SANITIZE command.
//! - [`vpd`]: vital product data.
//! - [`write_same`]: the WRITE SAME command.

pub mod health;
pub mod inquiry;
pub mod opcodes;
pub mod sanitize;
pub mod sense;
pub mod vpd;
pub mod write_same;

#[cfg(test)]
mod tests;
