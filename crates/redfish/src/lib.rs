//! What a management controller (BMC) is asked over Redfish, and what its answers mean. Bytes in, what is wrong
//! with the machine out; the network is the service's affair.
//!
//! | file | what |
//! |---|---|
//! | [`look`] | which questions are asked in which order, within which bounds |
//! | `visit` | what each answer leads to |
//! | [`link`] | which of the controller's links are followed |
//! | [`identity`] | whether the controller speaks of the machine that is meant |
//! | `condition` | what is said of one sensor, fan, power supply or group of them |
//! | `document` | one answer, and what can be taken out of it |
//!
//! Sources: DMTF DSP0266 (Redfish Specification) 1.20, DSP0268 (Redfish Data Model), schemas Chassis, ComputerSystem,
//! Thermal, Power (deprecated since 2020.4, and what most controllers still speak), ThermalSubsystem,
//! PowerSubsystem, Fan, PowerSupply, Sensor. Controllers are tolerated where they leave things out, and believed in
//! nothing that they do not say.

#![forbid(unsafe_code)]

pub mod identity;
pub mod link;
pub mod look;

mod condition;
mod document;
mod visit;

#[cfg(test)]
mod tests;
