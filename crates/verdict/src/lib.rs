//! Judges a node from evidence, plans what follows, and guards the plan's execution.
//!
//! Everything here is a pure function of what is handed in: evidence, the service's facts about the
//! node, the policy, the model and a time. The same input gives the same bytes, on the agent and on the service.
//!
//! - [`policy`]: thresholds, each with its source.
//! - [`model`]: what fails how often, what an action costs; [`learning`]: whether the fleet's outcomes make a
//!   better one.
//! - [`judge`]: three axes, one action, with reasons.
//! - [`plan`]: exact disks, methods and order of what follows.
//! - [`already_clean`]: which disks may be proven clean instead of being erased.
//! - [`situation`]: a machine and what must follow, as a person writes it down.
//! - [`permit`]: what turns a signed order and a plan into the right to write.
//! - [`golden_values`]: what links and versions a machine had when a person found it right.
//! - [`gpu_test`]: what came of working the GPUs, for a look that cannot see it.
//! - [`peers`]: what is compared with other nodes' parts of the same model.
//! - [`blast_radius`]: how many nodes may want the same at once before a person has to look.
//! - [`savings`]: what verdicts save against wiping always, and sums with their spread.
//! - [`explain`]: a decision in words; [`replay`]: the same decision again, compared byte for byte.
//! - [`waves`]: an image that goes to a pool in stages.
#![forbid(unsafe_code)]

pub mod already_clean;
pub mod baseline;
pub mod blast_radius;
mod civil;
mod combine;
mod command_line;
mod cost;
mod counterfactual;
mod data_images;
#[cfg(test)]
mod data_images_tests;
mod delivers;
pub mod explain;
mod facts;
mod forecast;
pub mod golden_values;
pub mod gpu_test;
#[cfg(test)]
mod hardware_properties;
mod history;
pub mod judge;
mod kept;
#[cfg(test)]
mod kept_tests;
pub mod learning;
pub mod model;
#[cfg(test)]
mod order_properties;
pub mod os_disk;
#[cfg(test)]
mod outlook_tests;
pub mod peers;
pub mod permit;
#[cfg(test)]
mod permit_tests;
pub mod plain;
pub mod plan;
#[cfg(test)]
mod plan_tests;
pub mod policy;
#[cfg(test)]
mod properties;
mod readiness;
pub mod recall;
mod refusal;
mod remedy;
pub mod replay;
mod rules;
pub mod savings;
#[cfg(test)]
mod scenarios;
pub mod situation;
#[cfg(test)]
mod testing;
pub mod waves;
