//! The agent's files that give a disk its commands, and that drive an erase.

#[path = "../src/act/device_commands/ata.rs"]
pub mod ata;
#[path = "../src/act/begun.rs"]
pub mod begun;
#[path = "../src/act/device.rs"]
pub mod device;
#[path = "../src/act/erase.rs"]
pub mod erase;
#[path = "../src/act/meter.rs"]
pub mod meter;
#[path = "../src/act/read_ahead.rs"]
pub mod read_ahead;
#[path = "../src/act/device_commands/scsi.rs"]
pub mod scsi;
#[path = "../src/act/service.rs"]
pub mod service;
