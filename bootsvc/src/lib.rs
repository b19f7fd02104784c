//! The boot service: tells machines what to boot, judges what they report, and signs what may be
//! done to them. The binary is `main.rs`; this library is what its tests use.

pub mod attestation;
pub mod baselines;
pub mod bearer;
pub mod bmc;
pub mod ca;
pub mod certificates;
pub mod clock;
pub mod command_lines;
pub mod config;
pub mod counters;
pub mod dhcp;
pub mod http;
pub mod images;
pub mod jobs;
pub mod judging;
pub mod ledger;
pub mod live;
pub mod models;
pub mod network;
pub mod node_data;
pub mod partners;
mod peers;
pub mod policies;
pub mod readiness;
pub mod refusal;
pub mod serve;
pub mod service;
pub mod store;
pub mod tftp;
pub mod tidying;
pub mod waves;
mod withheld;
