//! ATA: the bytes of the commands that erase, and what a disk says of itself.
//!
//! Layouts are those of ATA Command Set 4 (ACS-4: IDENTIFY DEVICE, Sanitize Device, Security,
//! Accessible Max Address) and, for what is obsolete there and alive in old disks, ATA/ATAPI-7 (READ
//! NATIVE MAX ADDRESS EXT, DEVICE CONFIGURATION IDENTIFY). Commands travel in ATA PASS-THROUGH (16)
//! of SCSI/ATA Translation (SAT-5).
//!
//! - [`identify`]: IDENTIFY DEVICE, word by word.
//! - [`pass_through`]: a command as a CDB, and the registers that come back in the sense data. Nothing
//!   here counts as done because the kernel's call succeeded: a disk that refuses a command can answer
//!   with a success of the transport.
//! - [`sanitize`]: SANITIZE DEVICE.
//! - [`security`]: the security feature set, with the password that we set and how it goes away again.
//! - [`hidden`]: areas that the disk hides.

pub mod hidden;
pub mod identify;
pub mod pass_through;
pub mod sanitize;
pub mod security;

#[cfg(test)]
mod tests;
