//! Looking: each file reads one source and says what was there, without judging it.
//!
//! Every probe keeps reading (files, ioctls) apart from parsing (bytes to facts), and turns a failure
//! into [`contract::reading::Outcome::Unreadable`] with the reason. Nothing is left out because it
//! could not be read.

pub mod ata_facts;
pub mod ata_port;
pub mod ata_security;
pub mod ata_self_test;
pub mod ata_smart;
pub mod boot_state;
pub mod burn_in;
pub mod catalogue;
pub mod check;
pub mod composition;
pub mod content_signatures;
pub mod crash_records;
pub mod cuda_library;
pub mod data_partitions;
pub mod deep;
pub mod disk_health;
pub mod disk_id;
pub mod disk_names;
pub mod disk_speed;
pub mod disks;
pub mod evidence;
pub mod fabric;
pub mod file_system_errors;
pub mod file_systems;
pub mod firmware;
pub mod gpu_test;
pub mod gpus;
pub mod inventory;
pub mod kernel;
pub mod kernel_log;
pub mod known_answer;
pub mod locking;
pub mod machine;
pub mod memory_errors;
pub mod memory_modules;
pub mod memory_test;
pub mod nics;
pub mod node_data;
pub mod nvme_admin;
pub mod nvme_facts;
pub mod nvme_self_test;
pub mod nvme_smart;
pub mod nvml;
pub mod nvml_library;
pub mod pcie;
pub mod processor;
pub mod question;
pub mod raid;
pub mod raw_read;
pub mod scsi_facts;
pub mod scsi_generic;
pub mod scsi_health;
pub mod scsi_settle;
pub mod sensors;
pub mod shared_library;
pub mod smbios;
pub mod source;
pub mod tpm;
pub mod xid;

#[cfg(test)]
pub mod fake_ata;
#[cfg(test)]
pub mod fake_nvme;
#[cfg(test)]
pub mod fake_scsi;
#[cfg(test)]
pub mod recorded;
#[cfg(test)]
pub mod server_tree;
