//! A fake NVMe controller over NVMe/TCP, which the kernel's own host driver attaches.
//!
//! The machine's agent then finds a real `/dev/nvmeXn1` and sends its real commands through the real
//! kernel, to a device whose sanitize works, fails, hangs or lies as a test says ([`lies::Lies`]).
//!
//! ```text
//!  server (sockets) ─► connection (PDUs of one queue) ─► subsystem (commands)
//!                        wire: bytes of PDUs               │ sanitize: the state machine
//!                        command: bytes of entries         │ medium: what is stored
//!                                                          │ identify, logs: what it says of itself
//! ```
//!
//! Only the server touches sockets and clocks; everything below takes bytes and the time.
//!
//! Sources: NVM Express Base Specification 1.4 (sections 5, 8.15), NVMe over Fabrics 1.1, NVMe/TCP
//! Transport Specification 1.0.

pub mod attach;
pub mod command;
pub mod connection;
pub mod identify;
pub mod lies;
pub mod medium;
pub mod sanitize;
pub mod server;
pub mod site;
pub mod subsystem;
pub mod wire;

#[cfg(test)]
mod tests;
