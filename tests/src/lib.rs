//! The laboratory: the real binaries in a private network, and virtual machines that boot from it.
//!
//! A [`lab::Lab`] is a network namespace with a bridge and a folder; both are gone when it is dropped,
//! and what a killed run left behind is swept by the next one. In it run the real `reprieve-bootsvc`,
//! the real `reprieve` command and QEMU machines ([`machine`]) with BIOS
//! or UEFI, a network card and disks, and nothing else: they come up from the network.
//!
//! Nothing here sleeps for luck: every wait names what it waits for and has a deadline ([`wait`]).
//! Everything needs root, because it makes namespaces, taps and loop mounts.

pub mod artefacts;
pub mod dhcp_client;
pub mod direct_boot;
pub mod disk;
pub mod guest;
pub mod lab;
pub mod login;
pub mod machine;
pub mod moments;
pub mod namespace;
pub mod nvme_tcp;
pub mod operator;
pub mod process;
pub mod qmp;
pub mod scenario;
pub mod scripted_agent;
pub mod service;
pub mod site_dhcp;
pub mod small_image;
pub mod tcmu;
pub mod wait;
