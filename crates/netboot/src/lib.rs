//! What a machine that asks the network gets for an answer, without sockets, files or clocks.
//!
//! [`directive::boot_decision`] is the one decision that DHCP, TFTP and HTTP ask. [`client`] tells
//! clients apart, [`answer`] and [`loader`] say what each is offered, [`script`] writes iPXE's
//! scripts, [`dhcp`] holds the exchange, the leases and the addressing of replies.
#![forbid(unsafe_code)]

pub mod answer;
pub mod client;
pub mod dhcp;
pub mod directive;
pub mod loader;
pub mod script;
