//! Asking for a burn-in: `POST /v1/nodes/REF/burn-in` carries a [`BurnInRequest`] and gives a
//! [`ReimageReply`](crate::operator_api::ReimageReply).
//!
//! And finding a partner for the network between two nodes that are burned in: `POST /v1/agent/burn-in-partner`
//! carries a [`PartnerRequest`] and gives a [`PartnerReply`]. The agent asks again until it has one, or is told
//! that there is nobody.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::secret::Secret;

/// The longest burn-in; the session in the ramdisk lasts two hours.
pub const BURN_IN_MINUTES_MAX: u32 = 60;

/// Let a node work under load in the ramdisk, compare it with its like, and write nothing to its disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurnInRequest {
    /// For how long, 1 to [`BURN_IN_MINUTES_MAX`].
    pub minutes: u32,
}

/// The TCP port at which the partner that is told to [`PartnerRole::Listen`] does so, for as long as the two test.
/// It is fixed, so that nobody who asks can have another node knock at a port of his choice.
pub const PARTNER_PORT: u16 = 8447;

/// With so many partners a node tests the network at most: with the second it is known which of the first two
/// was slow.
pub const PARTNERS_MAX: usize = 2;

/// A node in a burn-in asks for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnerRequest {
    /// Whom it has tested with, or tried to, in this burn-in; at most [`PARTNERS_MAX`].
    pub tried: Vec<NodeId>,
    /// Rate of the link that it speaks over, in megabits a second, where it is known.
    pub link_megabits: Option<u64>,
}

/// Whom to test the network with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "partner")]
pub enum PartnerReply {
    /// Others of the pool are burned in, and none of them asks yet; ask again after this long.
    Wait {
        /// Milliseconds.
        poll_after_millis: u64,
    },
    /// No other node of the pool is burned in that was not tried.
    Nobody,
    /// This one, now.
    Found(Partnership),
}

/// Two nodes that test the network between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partnership {
    /// The other node.
    pub node: NodeId,
    /// Where the other node was seen to come from. Nobody else is spoken to.
    pub address: IpAddr,
    /// Where the one who asks was seen to come from.
    pub own_address: IpAddr,
    /// What the one who asks does.
    pub role: PartnerRole,
    /// Known to these two alone, drawn for this once: 32 bytes in hexadecimal.
    pub secret: Secret,
    /// Rate of the other node's link as it says, in megabits a second.
    pub link_megabits: Option<u64>,
    /// They have so long, in milliseconds from now.
    pub ends_in_millis: u64,
}

/// Who of two partners connects to whom. They send in this order too: the one who listens first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartnerRole {
    /// Listens at its own address and [`PARTNER_PORT`].
    Listen,
    /// Connects to the other's address and [`PARTNER_PORT`].
    Connect,
}
