//! A fake SCSI or ATA disk behind the kernel's `target_core_user`: a real `/dev/sdX` in the machine,
//! whose commands are answered outside of it.
//!
//! The machine's agent sends its real commands through the real kernel, to a disk whose sanitize works,
//! fails, hangs or lies as a test says ([`lies::Lies`]). Because the disk is outside, it keeps what it
//! stores and how far its sanitize is when the machine loses its power.
//!
//! ```text
//!  inside the machine                              outside
//!  /dev/sda ─► tcm_loop ─► target_core_user        server (sockets) ─► disk: SCSI commands
//!                              │ ring                  ▲                │ command: bytes of commands
//!                              ▼                       │                │ describe: what it says of itself
//!                          handler ───── TCP (wire) ───┘                │ sanitize: the state machine
//! ```
//!
//! [`site`] is a machine of this kind with the real agent in it; [`commands`] one that sends single
//! commands as the agent would, for what no agent would send to such a disk: ATA commands.
//!
//! Only `handler`, `target` and `server` touch the world; everything else takes bytes and the time.
//!
//! Sources: SCSI Primary Commands 5, SCSI Block Commands 4, SCSI/ATA Translation 5, ACS-4.

pub mod ata;
pub mod command;
pub mod commands;
pub mod describe;
pub mod disk;
pub mod handler;
pub mod lies;
pub mod ring;
pub mod sanitize;
pub mod sense;
pub mod server;
pub mod site;
pub mod target;
pub mod wire;

#[cfg(test)]
mod tests;
