//! What belongs to one node and not to its image: its name, who may log in, its network.
//!
//! The service keeps it, `imaging::seed` renders it into the files of cloud-init's NoCloud, and it
//! reaches the machine in the seed partition. It belongs to the tenant that the node had when it was
//! set: another tenant's machine never gets it.
//!
//! | call | carries |
//! |---|---|
//! | `PUT /v1/nodes/REF/data` | [`NodeData`] → [`NodeDataView`] |
//! | `GET /v1/nodes/REF/data` | → [`NodeDataView`], which shows no secret |
//! | `DELETE /v1/nodes/REF/data` | → empty |
//! | `GET /v1/agent/node-data` | ramdisk, under an order that writes it → [`SeedFiles`] |

mod check;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::check::NodeDataError;
use crate::id::{Digest, MacAddress, NodeId, TenantId, UnixMillis};
use crate::secret::Secret;

/// The longest node data as JSON, in bytes.
pub const NODE_DATA_BYTES_MAX: usize = 256 << 10;

/// What belongs to one node and not to its image. What is left out is left to the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeData {
    /// The machine's name, with or without a domain (RFC 1123, section 2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// SSH public keys for the image's own user, as they stand in `authorized_keys`, without options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorized_keys: Vec<String>,
    /// More users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<NodeUser>,
    /// The network interfaces. Without any the image decides, which mostly means DHCP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<NodeInterface>,
    /// User data for cloud-init besides: anything that it knows by its first line (`#cloud-config`,
    /// `#!`, …). It may hold secrets, so it is never shown again and never served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<Secret>,
}

/// A user of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeUser {
    /// Login name.
    pub name: String,
    /// Groups besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Whether it may become root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo: Option<Sudo>,
    /// Login shell, an absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// SSH public keys, without options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorized_keys: Vec<String>,
    /// Password as crypt(5) has it (`$y$…`, `$6$…`). Without one no password opens the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<Secret>,
}

/// How a user may become root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sudo {
    /// With its own password.
    Password,
    /// Without a password.
    NoPassword,
}

/// A network interface, known by its hardware address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeInterface {
    /// Hardware address.
    pub mac: MacAddress,
    /// What it is called from then on; `nic0`, `nic1`, … by its place in the list without one. Debian's
    /// cloud-init finds an interface only by a name that it gave itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Ask DHCP for an IPv4 address.
    #[serde(default)]
    pub dhcp4: bool,
    /// Ask DHCP for an IPv6 address.
    #[serde(default)]
    pub dhcp6: bool,
    /// Fixed addresses with the length of their prefix, such as `192.0.2.5/24`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The way out, at most one for IPv4 and one for IPv6.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub name_servers: Vec<IpAddr>,
    /// Domains that short names are looked up in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search_domains: Vec<String>,
    /// Largest packet in bytes, without the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_bytes: Option<u32>,
}

/// What the service keeps for a node, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDataView {
    /// Whose it is.
    pub node: NodeId,
    /// The tenant that it belongs to: the one that the node had when it was set.
    pub tenant: TenantId,
    /// When it was set.
    pub changed_at: UnixMillis,
    /// Digest of the volume that the node should have now; none while it has no image, or another
    /// tenant than the data belong to.
    pub wanted: Option<Digest>,
    /// Digest of the volume that was written and read back last; none if nothing is known to
    /// stand there.
    pub written: Option<Digest>,
    /// The data. Secrets are left out.
    pub data: NodeData,
    /// Users that have a password.
    pub users_with_password: Vec<String>,
    /// Length of the user data in bytes; none if there are none.
    pub user_data_bytes: Option<u64>,
}

impl NodeInterface {
    /// What the interface at this place in the list is called.
    #[must_use]
    pub fn name_at(&self, place: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("nic{place}"))
    }
}

impl NodeData {
    /// The same without its secrets: password hashes and user data.
    #[must_use]
    pub fn without_secrets(&self) -> Self {
        let mut data = self.clone();
        data.user_data = None;
        data.users.iter_mut().for_each(|user| user.password_hash = None);
        data
    }

    /// The users that have a password.
    #[must_use]
    pub fn users_with_password(&self) -> Vec<String> {
        let with_password = self.users.iter().filter(|user| user.password_hash.is_some());
        with_password.map(|user| user.name.clone()).collect()
    }
}

/// The files of cloud-init's NoCloud for one node and one image, as they stand in the seed volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedFiles {
    /// `meta-data`: instance id and host name.
    pub meta_data: String,
    /// `user-data`: users, keys, and what was given besides.
    pub user_data: Secret,
    /// `network-config`, version 2; none where the image decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_config: Option<String>,
}

#[cfg(test)]
mod tests;
