//! HTTP: plain for what firmware and ramdisks fetch (checked by digest and signature), TLS for the API.
//!
//! | file | what |
//! |---|---|
//! | [`listen`] | sockets, connections, limits |
//! | [`plain`] | scripts, loaders, kernel, ramdisk, manifests, chunks |
//! | [`agent`] | the agent's API |
//! | [`operator`] | the technician's API |
//! | `nodes`, `jobs` | what is known of nodes and jobs, and what people say to them |
//! | `requests` | what a technician asks of a node, and what makes a job |
//! | [`certificates`] | the technician's API for erasing |
//! | [`imports`] | the technician's API for images |
//! | [`metadata`] | what belongs to one node, without secrets, for cloud-init over plain HTTP |
//! | [`node_data`] | what belongs to one node: the technician's and the agent's calls |
//! | [`blast_radius`] | what too many nodes want at once |
//! | `ledger` | what became of verdicts, and what they saved |
//! | [`policy`] | which policy is in force, what another would change, what a verdict was made of |
//! | `model` | the model that verdicts are made with |
//! | `waves` | an image that goes to a pool in stages |
//! | [`body`] | bodies in, JSON and refusals out |
//! | [`content`] | ranges and caching headers |
//! | [`endpoints`] | the addresses that a client is told |

pub mod agent;
pub mod blast_radius;
pub mod body;
pub mod boot_trust;
pub mod certificates;
pub mod content;
pub mod endpoints;
pub mod imports;
mod jobs;
mod ledger;
pub mod listen;
pub mod metadata;
mod model;
pub mod node_data;
mod nodes;
pub mod operator;
pub mod plain;
pub mod policy;
mod requests;
mod waves;
