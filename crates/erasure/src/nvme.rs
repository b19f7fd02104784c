//! NVMe: the bytes of the commands that erase, and what a controller says of itself.
//!
//! Layouts are those of the NVM Express Base Specification 2.0 (Identify Controller, Get Log Page,
//! Sanitize) and the NVM Command Set Specification (Identify Namespace, Format NVM).
//!
//! - [`identify`]: what controller and namespace can do.
//! - [`sanitize_log`]: the Sanitize Status log page, 81h: what a sanitize is doing.
//! - [`separate_memory`]: replay-protected memory and boot partitions, which no erase reaches.
//! - [`firmware_log`]: the Firmware Slot Information log page, 03h: whether a firmware waits.
//! - [`admin`]: the admin commands, dword by dword.
//! - [`status`]: completion status in words.

pub mod admin;
pub mod firmware_log;
pub mod identify;
pub mod sanitize_log;
pub mod separate_memory;
pub mod status;

#[cfg(test)]
mod tests;
