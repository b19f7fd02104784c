//! Whether the way from power-on into the running kernel is proven by a TPM 2.0: what the machine is asked,
//! what its answers mean, and what follows from them. Bytes in, answers out; the TPM is reached by the agent,
//! signatures are checked with what the service brings along.
//!
//! | file | what |
//! |---|---|
//! | [`register`] | the registers that are asked for, their names, and which of them are compared |
//! | [`event_log`] | the firmware's log, and the registers that it amounts to (rules L1 to L6) |
//! | [`command`] | the two commands that make a quote, and their answers |
//! | [`key`] | the attestation key (rules K1 to K4) and its signatures |
//! | [`quote`] | what the TPM signed |
//! | [`proof`] | all of it together (rules Q1 to Q7) |
//! | [`comparison`] | the registers of this boot against those recorded (rules B1 to B5) |
//! | [`golden`] | what is recorded for all nodes of a hardware model (rules G1 to G4) |
//! | [`system`] | the boot of the running system (rules S1 to S7) |
//! | [`endorsement`] | the endorsement key that a TPM is born with (rules E1, E2) |
//! | [`certificate`] | its maker's certificate (rules E3, E4) |
//! | [`credential`] | a secret that only a TPM with both keys can read (rule E5) |
//! | [`enrolment`] | the commands that read the one and open the other |
//!
//! E6 is the service's: a secret counts once, in the session that it was made for, and only for the attestation
//! key that it was made for.
//!
//! Sources: TCG PC Client Platform Firmware Profile 1.06 (PFP), TPM 2.0 Library parts 1 to 3, TCG EK Credential
//! Profile for TPM 2.0 2.5.

#![forbid(unsafe_code)]

pub mod certificate;
pub mod command;
pub mod comparison;
pub mod credential;
pub mod endorsement;
pub mod enrolment;
pub mod event_log;
pub mod golden;
pub mod key;
pub mod proof;
pub mod quote;
pub mod register;
pub mod system;

mod bytes;
#[cfg(test)]
mod recorded;
