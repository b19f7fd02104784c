//! The three files of NoCloud. They are YAML to cloud-init, and JSON is YAML: every value is written by
//! the JSON writer, so nothing in a value can become structure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::id::{Digest, ImageId, MacAddress, NodeId};
use contract::node_data::{NodeData, NodeInterface, NodeUser, SeedFiles, Sudo};
use contract::secret::Secret;
use serde::Serialize;

/// The longest line of base64 (RFC 2045, section 6.8).
const BASE64_LINE_BYTES: usize = 76;

#[derive(Serialize)]
struct MetaData<'a> {
    #[serde(rename = "instance-id")]
    instance_id: String,
    #[serde(rename = "local-hostname", skip_serializing_if = "Option::is_none")]
    local_hostname: Option<&'a str>,
}

#[derive(Serialize)]
struct CloudConfig<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    ssh_authorized_keys: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<CloudUser<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum CloudUser<'a> {
    /// The word `default`: the image's own user.
    Default(&'static str),
    Named(NamedUser<'a>),
}

#[derive(Serialize)]
struct NamedUser<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    sudo: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<&'a str>,
    lock_passwd: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hashed_passwd: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    ssh_authorized_keys: &'a [String],
}

#[derive(Serialize)]
struct NetworkConfig<'a> {
    version: u32,
    ethernets: BTreeMap<String, Ethernet<'a>>,
}

#[derive(Serialize)]
struct Ethernet<'a> {
    #[serde(rename = "match")]
    matched: Match,
    #[serde(rename = "set-name")]
    set_name: String,
    dhcp4: bool,
    dhcp6: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    addresses: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway6: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nameservers: Option<NameServers<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
}

#[derive(Serialize)]
struct Match {
    macaddress: MacAddress,
}

#[derive(Serialize)]
struct Route {
    to: &'static str,
    via: String,
}

#[derive(Serialize)]
struct NameServers<'a> {
    addresses: Vec<String>,
    search: &'a [String],
}

/// The files for one node and one image. The instance id is another one whenever `instance` or the image
/// change, so that cloud-init configures the machine again. It is not made from the data, because some are
/// shown it who may not guess at their secrets; so `instance` must be drawn anew when they change.
///
/// # Errors
/// Only if the JSON writer fails, which the types rule out; passed on rather than assumed.
pub fn render(
    data: &NodeData,
    node: NodeId,
    image: ImageId,
    instance: Digest,
) -> Result<SeedFiles, serde_json::Error> {
    let identity = Digest::of(&serde_json::to_vec(&(node, image, instance))?).to_string();
    let short = identity.get(..16).unwrap_or(&identity);
    let meta_data = MetaData {
        instance_id: format!("reprieve-{node}-{short}"),
        local_hostname: data.host_name.as_deref(),
    };
    Ok(SeedFiles {
        meta_data: line_by_line(&meta_data)?,
        user_data: Secret::new(user_data(data, short)?),
        network_config: match data.interfaces.as_slice() {
            [] => None,
            interfaces => Some(line_by_line(&network_config(interfaces))?),
        },
    })
}

fn line_by_line<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|text| text + "\n")
}

/// Ours, theirs, or both as parts of one MIME message, ours first: what is said later counts.
fn user_data(data: &NodeData, boundary: &str) -> Result<String, serde_json::Error> {
    let ours = format!("#cloud-config\n{}", line_by_line(&cloud_config(data))?);
    let says_anything = !data.authorized_keys.is_empty() || !data.users.is_empty();
    let Some(theirs) = &data.user_data else { return Ok(ours) };
    if !says_anything {
        return Ok(theirs.reveal().to_owned());
    }
    let boundary = format!("reprieve-{boundary}");
    let mut message =
        format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\nMIME-Version: 1.0\n\n");
    // cloud-init tells by its first line what text/plain is.
    for (kind, text) in [("text/cloud-config", ours.as_str()), ("text/plain", theirs.reveal())] {
        message.push_str(&format!(
            "--{boundary}\nContent-Type: {kind}; charset=\"utf-8\"\nContent-Transfer-Encoding: base64\n\n{}\n",
            in_lines(&STANDARD.encode(text))
        ));
    }
    message.push_str(&format!("--{boundary}--\n"));
    Ok(message)
}

fn in_lines(base64: &str) -> String {
    let mut lines = String::with_capacity(base64.len() + base64.len() / BASE64_LINE_BYTES + 1);
    for (at, character) in base64.chars().enumerate() {
        if at > 0 && at % BASE64_LINE_BYTES == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    lines
}

fn cloud_config(data: &NodeData) -> CloudConfig<'_> {
    let mut users: Vec<CloudUser<'_>> = data.users.iter().map(|user| CloudUser::Named(named(user))).collect();
    if !users.is_empty() && !data.authorized_keys.is_empty() {
        users.insert(0, CloudUser::Default("default"));
    }
    CloudConfig { ssh_authorized_keys: &data.authorized_keys, users }
}

fn named(user: &NodeUser) -> NamedUser<'_> {
    NamedUser {
        name: &user.name,
        groups: &user.groups,
        sudo: user.sudo.map(|sudo| match sudo {
            Sudo::Password => "ALL=(ALL:ALL) ALL",
            Sudo::NoPassword => "ALL=(ALL:ALL) NOPASSWD:ALL",
        }),
        shell: user.shell.as_deref(),
        lock_passwd: user.password_hash.is_none(),
        hashed_passwd: user.password_hash.as_ref().map(Secret::reveal),
        ssh_authorized_keys: &user.authorized_keys,
    }
}

fn network_config(interfaces: &[NodeInterface]) -> NetworkConfig<'_> {
    let named = interfaces.iter().enumerate().map(|(place, interface)| {
        let name = interface.name_at(place);
        (name.clone(), ethernet(interface, name))
    });
    NetworkConfig { version: 2, ethernets: named.collect() }
}

fn ethernet(interface: &NodeInterface, set_name: String) -> Ethernet<'_> {
    // cloud-init 22.4 knows no `default`, and makes ::/64 of ::/0; `gateway6` is old and good everywhere.
    let gateway = |v4: bool| interface.gateways.iter().find(|ip| ip.is_ipv4() == v4).map(ToString::to_string);
    let routes = gateway(true).map(|via| Route { to: "0.0.0.0/0", via });
    let name_servers = !interface.name_servers.is_empty() || !interface.search_domains.is_empty();
    Ethernet {
        matched: Match { macaddress: interface.mac },
        set_name,
        dhcp4: interface.dhcp4,
        dhcp6: interface.dhcp6,
        addresses: &interface.addresses,
        routes: routes.into_iter().collect(),
        gateway6: gateway(false),
        nameservers: name_servers.then(|| NameServers {
            addresses: interface.name_servers.iter().map(ToString::to_string).collect(),
            search: &interface.search_domains,
        }),
        mtu: interface.mtu_bytes,
    }
}
