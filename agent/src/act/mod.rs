//! Acting: the only code of the agent that writes to disks. It starts from a permit.

pub mod attributes;
pub mod begun;
mod boot_entries;
pub mod buffers;
pub mod carry_out;
pub mod device;
mod device_commands;
pub mod disk;
pub mod erase;
mod file_system_check;
pub mod grow_root;
pub mod kexec;
pub mod meter;
pub mod mount;
mod others;
mod put_back;
mod read_ahead;
pub mod repair_files;
pub mod repair_partitions;
pub mod restore;
pub mod rooted;
pub mod scan;
mod seed;
pub mod segments;
pub mod service;
pub mod work;
pub mod write_image;

#[cfg(test)]
pub mod fake_device;
#[cfg(test)]
pub mod fixture;
#[cfg(test)]
pub mod loop_fixture;
#[cfg(test)]
pub mod recording_disk;
