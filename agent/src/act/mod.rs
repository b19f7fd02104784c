//! Acting: the only code of the agent that writes to disks. It starts from a permit.

pub mod device;
pub mod disk;
pub mod kexec;
pub mod meter;
pub mod mount;
mod nvme_format;
pub mod restore;
pub mod rooted;
pub mod scan;
pub mod service;
pub mod work;
pub mod write_image;

#[cfg(test)]
mod fake_device;
