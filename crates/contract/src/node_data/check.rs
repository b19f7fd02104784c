//! Whether node data are what they say. Nothing that is refused is quoted: it may be a secret that
//! stands in the wrong place.

use std::net::IpAddr;

use crate::node_data::{NodeData, NodeInterface, NodeUser};

/// How many users there may be.
const USERS_MAX: usize = 64;
/// How many keys one user may have.
const KEYS_MAX: usize = 64;
/// How many groups one user may be in.
const GROUPS_MAX: usize = 32;
/// How many network interfaces there may be.
const INTERFACES_MAX: usize = 64;
/// How many addresses, name servers or domains one interface may have.
const ADDRESSES_MAX: usize = 16;
/// The longest public key in bytes; RSA with 16384 bits needs 2800.
const KEY_BYTES_MAX: usize = 8 << 10;
/// The longest user data in bytes.
const USER_DATA_BYTES_MAX: usize = 128 << 10;
/// The kinds of keys that current OpenSSH takes.
const KEY_KINDS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Why node data are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct NodeDataError {
    /// Which field, such as `users[0].name`.
    pub field: String,
    /// What is wrong and what is accepted; never what was given.
    pub why: &'static str,
}

type Checked = Result<(), NodeDataError>;

fn ensure(holds: bool, field: &str, why: &'static str) -> Checked {
    if holds { Ok(()) } else { Err(NodeDataError { field: field.to_owned(), why }) }
}

impl NodeData {
    /// Checks lengths, characters and what must agree.
    ///
    /// # Errors
    /// [`NodeDataError`] names the first field that is wrong.
    pub fn check(&self) -> Checked {
        if let Some(name) = &self.host_name {
            let why = "a host name has labels of 1 to 63 letters, digits and dashes, joined by dots, at most 253 characters";
            ensure(is_domain(name), "host_name", why)?;
        }
        check_keys("authorized_keys", &self.authorized_keys)?;
        ensure(self.users.len() <= USERS_MAX, "users", "at most 64 users")?;
        for (at, user) in self.users.iter().enumerate() {
            check_user(&format!("users[{at}]"), user)?;
            let again = self.users[..at].iter().any(|other| other.name == user.name);
            ensure(!again, &format!("users[{at}].name"), "another user has this name")?;
        }
        ensure(self.interfaces.len() <= INTERFACES_MAX, "interfaces", "at most 64 interfaces")?;
        for (at, interface) in self.interfaces.iter().enumerate() {
            check_interface(&format!("interfaces[{at}]"), interface)?;
            let before = &self.interfaces[..at];
            let again = before.iter().any(|other| other.mac == interface.mac);
            ensure(!again, &format!("interfaces[{at}].mac"), "another interface has this address")?;
            let named = before
                .iter()
                .enumerate()
                .any(|(other, before)| before.name_at(other) == interface.name_at(at));
            ensure(!named, &format!("interfaces[{at}].name"), "another interface has this name")?;
        }
        if let Some(text) = &self.user_data {
            let text = text.reveal();
            ensure(text.len() <= USER_DATA_BYTES_MAX, "user_data", "at most 128 KiB")?;
            let why = "cloud-init knows user data by their first line, which begins with # (#cloud-config, #!/bin/sh, …)";
            ensure(text.starts_with('#'), "user_data", why)?;
        }
        Ok(())
    }
}

fn check_user(field: &str, user: &NodeUser) -> Checked {
    let name = "a name is 1 to 32 of a-z, 0-9, - and _, and begins with a letter or _";
    ensure(is_user_name(&user.name), &format!("{field}.name"), name)?;
    ensure(user.groups.len() <= GROUPS_MAX, &format!("{field}.groups"), "at most 32 groups")?;
    for (at, group) in user.groups.iter().enumerate() {
        ensure(is_user_name(group), &format!("{field}.groups[{at}]"), name)?;
    }
    if let Some(shell) = &user.shell {
        let plain = shell.chars().all(|c| c.is_ascii_alphanumeric() || "/_.+-".contains(c));
        let why = "a shell is an absolute path of letters, digits and / _ . + -";
        ensure(shell.starts_with('/') && plain && shell.len() <= 255, &format!("{field}.shell"), why)?;
    }
    check_keys(&format!("{field}.authorized_keys"), &user.authorized_keys)?;
    if let Some(hash) = &user.password_hash {
        let why = "a password is given as crypt(5) has it ($y$…, $6$…; `mkpasswd` makes one), never itself";
        ensure(is_crypt_hash(hash.reveal()), &format!("{field}.password_hash"), why)?;
    }
    Ok(())
}

fn check_keys(field: &str, keys: &[String]) -> Checked {
    ensure(keys.len() <= KEYS_MAX, field, "at most 64 keys")?;
    for (at, key) in keys.iter().enumerate() {
        let why = "a key is one line: its kind (such as ssh-ed25519), its base64 and a comment, without options before it";
        ensure(is_public_key(key), &format!("{field}[{at}]"), why)?;
    }
    Ok(())
}

fn check_interface(field: &str, interface: &NodeInterface) -> Checked {
    let name = interface.name.as_ref().is_none_or(|name| is_interface_name(name));
    let why = "a name is 1 to 15 of a-z, 0-9, - and _, and begins with a letter";
    ensure(name, &format!("{field}.name"), why)?;
    let configured = interface.dhcp4 || interface.dhcp6 || !interface.addresses.is_empty();
    ensure(configured, field, "an interface needs dhcp4, dhcp6 or addresses")?;
    let few = interface.addresses.len().max(interface.name_servers.len()).max(interface.search_domains.len())
        <= ADDRESSES_MAX;
    ensure(few, field, "at most 16 addresses, name servers and domains")?;
    for (at, address) in interface.addresses.iter().enumerate() {
        let why = "an address has the length of its prefix, such as 192.0.2.5/24 or 2001:db8::5/64";
        ensure(is_interface_address(address), &format!("{field}.addresses[{at}]"), why)?;
    }
    let of_family = |v4: bool| interface.gateways.iter().filter(|ip| ip.is_ipv4() == v4).count();
    let gateways = format!("{field}.gateways");
    ensure(of_family(true) <= 1 && of_family(false) <= 1, &gateways, "one for IPv4 and one for IPv6")?;
    let has_address = |gateway: &IpAddr| {
        interface.addresses.iter().any(|address| address.contains(':') == gateway.is_ipv6())
    };
    let why = "a gateway needs a fixed address of its kind; DHCP and router advertisements bring their own";
    ensure(interface.gateways.iter().all(has_address), &gateways, why)?;
    for (at, domain) in interface.search_domains.iter().enumerate() {
        ensure(is_domain(domain), &format!("{field}.search_domains[{at}]"), "not a domain")?;
    }
    let mtu = interface.mtu_bytes.is_none_or(|bytes| (576..=65535).contains(&bytes));
    ensure(mtu, &format!("{field}.mtu_bytes"), "from 576 to 65535")
}

/// RFC 1123, section 2.1.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn is_user_name(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    first && plain && text.len() <= 32
}

/// The kernel has room for 15 bytes.
fn is_interface_name(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_lowercase());
    let plain = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    first && plain && text.len() <= 15
}

fn is_public_key(text: &str) -> bool {
    let mut words = text.splitn(3, ' ');
    let kind = words.next().is_some_and(|kind| KEY_KINDS.contains(&kind));
    let body = words.next().is_some_and(|body| {
        body.len() >= 16 && body.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c))
    });
    // YAML takes neither of the last two, and would refuse everything else with them.
    let breaks = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    kind && body && text.len() <= KEY_BYTES_MAX && !text.chars().any(breaks)
}

/// crypt(5): `$id$parameters$salt$hash`.
fn is_crypt_hash(text: &str) -> bool {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "./$,=_-".contains(c));
    let known = ["$y$", "$gy$", "$7$", "$2b$", "$6$", "$5$"].iter().any(|prefix| text.starts_with(prefix));
    plain && known && (20..=384).contains(&text.len())
}

fn is_interface_address(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else { return false };
    let digits = prefix.len() <= 3 && prefix.chars().all(|c| c.is_ascii_digit());
    match (address.parse::<IpAddr>(), prefix.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(prefix)) => digits && (1..=32).contains(&prefix),
        (Ok(IpAddr::V6(_)), Ok(prefix)) => digits && (1..=128).contains(&prefix),
        _ => false,
    }
}
