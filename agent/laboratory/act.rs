//! The agent's files that give a disk its commands.

#[path = "../src/act/device_commands/ata.rs"]
pub mod ata;
#[path = "../src/act/device_commands/scsi.rs"]
pub mod scsi;
