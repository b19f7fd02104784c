//! Whether the way from power-on into the running kernel is proven by a TPM 2.0: what the machine is asked,
//! what its answers mean, and what follows from them. Bytes in, answers out; the TPM is reached by the agent,
//! signatures are checked with what the service brings along.
//!
//! | file | what |
//! |---|---|
//! | [`register`] | the registers that are asked for, their names, and which of them are compared |
//! | [`event_log`] | the firmware's log, and the registers that it amounts to (rules L1 to L6) |
//! | [`command`] | the two commands that the agent sends, and their answers |
//! | [`key`] | the attestation key (rules K1 to K4) and its signatures |
//! | [`quote`] | what the TPM signed |
//! | [`proof`] | all of it together (rules Q1 to Q6) |
//! | [`comparison`] | the registers of this boot against those recorded (rules B1 to B4) |
//!
//! Sources: TCG PC Client Platform Firmware Profile 1.06 (PFP), TPM 2.0 Library parts 1 to 3.

#![forbid(unsafe_code)]

pub mod command;
pub mod comparison;
pub mod event_log;
pub mod key;
pub mod proof;
pub mod quote;
pub mod register;

mod bytes;
#[cfg(test)]
mod recorded;
