//! `[[bmc]]` and `[bmc_polling]`: which management controllers are asked, and how often. Nothing is asked that does
//! not stand here, nothing without TLS, and nobody whose certificate is not known beforehand.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use contract::id::NodeId;
use hyper::Uri;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use uuid::Uuid;

/// No service has more controllers to ask.
const CONTROLLERS_MAX: usize = 20_000;
/// Longest name of a user.
const USER_CHARACTERS_MAX: usize = 64;

/// One `[[bmc]]`, word for word.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BmcFragment {
    /// The node that it belongs to, by its id.
    pub node: Option<NodeId>,
    /// Or by its serial number.
    pub serial: Option<String>,
    /// Or by its SMBIOS UUID.
    pub system_uuid: Option<Uuid>,
    /// Such as `https://192.0.2.9`.
    pub address: String,
    /// The user; one that may only read is enough.
    pub user: String,
    /// The file with its password, readable by its owner alone.
    pub password_file: PathBuf,
    /// The CA whose certificates are believed, PEM.
    pub ca: Option<PathBuf>,
    /// Or the SHA-256 of the controller's own certificate (DER), hexadecimal.
    pub certificate_sha256: Option<String>,
}

/// `[bmc_polling]`, word for word.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PollingFragment {
    /// How often each controller is asked.
    pub interval_seconds: Option<u64>,
    /// How many are asked at the same time.
    pub at_once_max: Option<usize>,
    /// How long an answer may take.
    pub answer_seconds: Option<u64>,
}

/// Which node a controller belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// The node with this id.
    Node(NodeId),
    /// The one with this serial number.
    Serial(String),
    /// The one with this SMBIOS UUID.
    SystemUuid(Uuid),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {node}"),
            Self::Serial(serial) => write!(f, "serial number {serial}"),
            Self::SystemUuid(uuid) => write!(f, "system UUID {uuid}"),
        }
    }
}

/// How a controller proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// By a certificate of this CA, with the controller's address in it.
    Ca(PathBuf),
    /// By exactly this certificate.
    Certificate([u8; 32]),
}

/// One controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BmcSettings {
    /// Which node it belongs to.
    pub whose: Whose,
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who asks.
    pub user: String,
    /// Where the password is.
    pub password_file: PathBuf,
    /// How it proves who it is.
    pub proof: Proof,
}

impl BmcSettings {
    /// Host and port as a request names them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 443 { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for BmcSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proof = match &self.proof {
            Proof::Ca(path) => format!("CA {}", path.display()),
            Proof::Certificate(_) => "certificate pinned".to_owned(),
        };
        write!(f, "{} at https://{}, user {}, {proof}", self.whose, self.authority(), self.user)
    }
}

/// How controllers are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollingSettings {
    /// How often each.
    pub interval: Duration,
    /// How many at the same time.
    pub at_once_max: usize,
    /// How long an answer may take.
    pub answer_max: Duration,
}

/// All that stands in a configuration about controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllersSettings {
    /// The controllers.
    pub controllers: Vec<BmcSettings>,
    /// How they are asked.
    pub polling: PollingSettings,
}

impl fmt::Display for ControllersSettings {
    /// How the configuration was understood.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for controller in &self.controllers {
            writeln!(f, "bmc               {controller}")?;
        }
        let PollingSettings { interval, at_once_max, .. } = &self.polling;
        match self.controllers.len() {
            0 => writeln!(f, "bmc               none"),
            count => writeln!(
                f,
                "bmc polling       {count}, each every {} s, {at_once_max} at once",
                interval.as_secs()
            ),
        }
    }
}

/// The key that cannot be used, and why.
pub type Wrong = (String, String);

/// Makes settings of what a file says.
///
/// # Errors
/// The key, and what is wrong with it.
pub fn settings(fragments: &[BmcFragment], polling: PollingFragment) -> Result<ControllersSettings, Wrong> {
    if fragments.len() > CONTROLLERS_MAX {
        return Err(("bmc".to_owned(), format!("there may be at most {CONTROLLERS_MAX}")));
    }
    let mut seen = BTreeSet::new();
    let mut controllers = Vec::new();
    for (at, fragment) in fragments.iter().enumerate() {
        let controller = controller(fragment).map_err(|(key, why)| (format!("bmc[{at}].{key}"), why))?;
        if !seen.insert(controller.whose.clone()) {
            return Err((format!("bmc[{at}]"), format!("{} has a controller already", controller.whose)));
        }
        controllers.push(controller);
    }
    Ok(ControllersSettings { controllers, polling: polling_settings(polling)? })
}

fn polling_settings(fragment: PollingFragment) -> Result<PollingSettings, Wrong> {
    let within = |key: &str, given: u64, range: std::ops::RangeInclusive<u64>| {
        let wrong =
            || (format!("bmc_polling.{key}"), format!("must be {} to {}", range.start(), range.end()));
        if range.contains(&given) { Ok(given) } else { Err(wrong()) }
    };
    // A controller is a small computer that has other work: once in two minutes, and few at once.
    let interval = within("interval_seconds", fragment.interval_seconds.unwrap_or(120), 30..=3_600)?;
    let at_once = fragment.at_once_max.unwrap_or(8);
    within("at_once_max", at_once as u64, 1..=64)?;
    let answer = within("answer_seconds", fragment.answer_seconds.unwrap_or(20), 1..=120)?;
    Ok(PollingSettings {
        interval: Duration::from_secs(interval),
        at_once_max: at_once,
        answer_max: Duration::from_secs(answer),
    })
}

fn controller(fragment: &BmcFragment) -> Result<BmcSettings, (&'static str, String)> {
    let wrong = |key: &'static str, why: &str| (key, why.to_owned());
    let whose = match (fragment.node, &fragment.serial, fragment.system_uuid) {
        (Some(node), None, None) => Whose::Node(node),
        (None, Some(serial), None) if is_name(serial, 200) => Whose::Serial(serial.clone()),
        (None, None, Some(uuid)) => Whose::SystemUuid(uuid),
        _ => return Err(wrong("node", "name exactly one of node, serial and system_uuid")),
    };
    let (host, port) = address(&fragment.address).map_err(|why| ("address", why))?;
    if !is_name(&fragment.user, USER_CHARACTERS_MAX) || fragment.user.contains(':') {
        return Err(wrong("user", "must be 1 to 64 characters without control characters and without ':'"));
    }
    let proof = match (&fragment.ca, &fragment.certificate_sha256) {
        (Some(ca), None) => Proof::Ca(ca.clone()),
        (None, Some(digest)) => {
            Proof::Certificate(fingerprint(digest).map_err(|why| ("certificate_sha256", why))?)
        }
        _ => {
            let why = "name exactly one of ca and certificate_sha256; a controller that proves nothing is not asked";
            return Err(wrong("ca", why));
        }
    };
    Ok(BmcSettings {
        whose,
        host,
        port,
        user: fragment.user.clone(),
        password_file: fragment.password_file.clone(),
        proof,
    })
}

fn is_name(text: &str, characters_max: usize) -> bool {
    !text.is_empty() && text.chars().count() <= characters_max && !text.chars().any(char::is_control)
}

/// Host and port of `https://HOST[:PORT]`.
fn address(text: &str) -> Result<(String, u16), String> {
    let uri: Uri = text.parse().map_err(|_| "is no address; write it like https://192.0.2.9".to_owned())?;
    if uri.scheme_str() != Some("https") {
        return Err("must begin with https://; a password is sent over nothing else".to_owned());
    }
    let plain = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().filter(|authority| plain && !authority.as_str().contains('@'));
    let Some(authority) = authority else {
        return Err("must be https://HOST or https://HOST:PORT and nothing more".to_owned());
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if ServerName::try_from(host.as_str()).is_err() {
        return Err(format!("{host:?} is no name and no address"));
    }
    Ok((host, authority.port_u16().unwrap_or(443)))
}

/// SHA-256 in hexadecimal, with or without the colons that other programs print.
fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let mut digest = [0; 32];
    hex::decode_to_slice(&digits, &mut digest)
        .map_err(|_| "must be the SHA-256 of the certificate, 64 hexadecimal digits".to_owned())?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    const PIN: &str =
        "certificate_sha256 = \"0101010101010101010101010101010101010101010101010101010101010101\"";

    fn read(text: &str) -> Result<BmcSettings, String> {
        let fragment: BmcFragment = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        controller(&fragment).map_err(|(key, why)| format!("{key}: {why}"))
    }

    fn with(whose: &str, address: &str, proof: &str) -> Result<BmcSettings, String> {
        read(&format!(
            "{whose}\naddress = {address:?}\nuser = \"watcher\"\npassword_file = \"/etc/p\"\n{proof}"
        ))
    }

    #[test]
    fn a_controller_is_asked_over_tls_and_known_beforehand_or_not_at_all() {
        let good = with("serial = \"SN-1\"", "https://192.0.2.9", PIN).unwrap();
        assert_eq!(
            (good.host.as_str(), good.port, good.authority().as_str()),
            ("192.0.2.9", 443, "192.0.2.9")
        );
        let ipv6 = with("serial = \"SN-1\"", "https://[2001:db8::9]:8443/", "ca = \"/etc/ca.pem\"").unwrap();
        assert_eq!((ipv6.host.as_str(), ipv6.authority().as_str()), ("2001:db8::9", "[2001:db8::9]:8443"));
        assert!(with("serial = \"SN-1\"", "https://bmc-1.example", PIN).is_ok());
        let node = "node = \"00000000-0000-0000-0000-000000000001\"";
        for (whose, address, proof, named) in [
            ("serial = \"SN-1\"", "http://192.0.2.9", PIN, "https://"),
            ("serial = \"SN-1\"", "192.0.2.9", PIN, "address"),
            ("serial = \"SN-1\"", "https://user:secret@192.0.2.9", PIN, "nothing more"),
            ("serial = \"SN-1\"", "https://192.0.2.9/redfish", PIN, "nothing more"),
            ("serial = \"SN-1\"", "https://bad host", PIN, "address"),
            ("serial = \"SN-1\"", "https://192.0.2.9", "", "proves nothing"),
            ("serial = \"SN-1\"", "https://192.0.2.9", &format!("{PIN}\nca = \"/a\""), "exactly one"),
            ("serial = \"SN-1\"", "https://192.0.2.9", "certificate_sha256 = \"01\"", "64 hexadecimal"),
            ("serial = \"SN-1\"", "https://192.0.2.9", &format!("{PIN}\ninsecure = true"), "unknown field"),
            (&format!("{node}\nserial = \"SN-1\""), "https://192.0.2.9", PIN, "exactly one"),
            ("", "https://192.0.2.9", PIN, "exactly one"),
        ] {
            let error = with(whose, address, proof).unwrap_err();
            assert!(error.contains(named), "{whose} {address} {proof}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_key() {
        let one = |serial: &str| -> BmcFragment {
            let text = format!(
                "serial = {serial:?}\naddress = \"https://192.0.2.9\"\nuser = \"u\"\npassword_file = \"p\"\n{PIN}"
            );
            toml::from_str(&text).unwrap()
        };
        let polling = |text: &str| toml::from_str::<PollingFragment>(text).unwrap();
        let error = settings(&[one("A"), one("A")], polling("")).unwrap_err();
        assert_eq!(error.0, "bmc[1]");
        for (text, key) in [
            ("interval_seconds = 5", "bmc_polling.interval_seconds"),
            ("at_once_max = 0", "bmc_polling.at_once_max"),
            ("answer_seconds = 0", "bmc_polling.answer_seconds"),
        ] {
            assert_eq!(settings(&[], polling(text)).unwrap_err().0, key);
        }
        let mut user = one("A");
        user.user = "a:b".to_owned();
        assert_eq!(settings(&[one("B"), user], polling("")).unwrap_err().0, "bmc[1].user");
        let shown = settings(&[one("A")], polling("")).unwrap().to_string();
        assert!(
            shown.contains("serial number A at https://192.0.2.9, user u, certificate pinned"),
            "{shown}"
        );
        assert!(shown.contains("1, each every 120 s, 8 at once"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), tail in "[ -~]{0,30}") {
            let _ = address(&text);
            if let Ok((host, _)) = address(&format!("https://{tail}")) {
                assert!(!host.contains(['@', '/', '?']));
            }
            let _ = fingerprint(&text);
        }
    }
}
