//! What the agent, the boot service and the technician's command say to each other.
//!
//! This crate holds names (ids), facts (readings, inventory, evidence), judgements (decision, plan),
//! authority (order) and the messages that carry them. It holds no logic beyond reading and writing
//! them: whoever judges is `verdict`, whoever acts is a binary.
//!
//! Nothing here depends on any other crate of ours.
#![forbid(unsafe_code)]

pub mod agent_api;
pub mod assignment;
pub mod blast_radius;
pub mod bmc;
pub mod boot_key;
pub mod boot_proof;
pub mod burn_in;
pub mod certificate_api;
pub mod command_line;
pub mod data_image;
pub mod decision;
pub mod evidence;
pub mod gpu_test;
pub mod history;
pub mod id;
pub mod image_api;
pub mod inventory;
pub mod kept_partition;
pub mod ledger;
pub mod model_api;
pub mod node_data;
pub mod operator_api;
pub mod order;
pub mod os_disk;
pub mod outlook;
pub mod plan;
pub mod policy_api;
pub mod reading;
pub mod reading_key;
pub mod root_size;
pub mod secret;
pub mod wave;
