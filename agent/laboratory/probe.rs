//! The agent's files that ask a disk what it can do.

#[path = "../src/probe/ata_facts.rs"]
pub mod ata_facts;
#[path = "../src/probe/ata_port.rs"]
pub mod ata_port;
#[path = "../src/probe/ata_security.rs"]
pub mod ata_security;
#[path = "../src/probe/scsi_facts.rs"]
pub mod scsi_facts;
#[path = "../src/probe/scsi_generic.rs"]
pub mod scsi_generic;
