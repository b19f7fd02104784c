//! The configuration, in three stages: what a file says ([`fragment`]), what file and flags say
//! together with the defaults ([`input`]), and what the service runs with ([`settings`]). Only the
//! last stage is seen by the rest of the service, and it cannot be made from anything contradictory.

pub mod fragment;
pub mod input;
pub mod ipv4;
pub mod settings;

use std::path::Path;

use anyhow::Context as _;

pub use fragment::Fragment;
pub use input::{Flags, Input};
pub use ipv4::{Ipv4Range, Ipv4Subnet};
pub use settings::{
    BootSettings, DhcpMode, DhcpSettings, Reservation, RollbackSettings, Settings, TftpSettings,
};

/// Reads the file, if there is one, and makes settings of it and the flags.
///
/// # Errors
/// Names the file, the line and the key that cannot be used.
pub fn load(file: Option<&Path>, flags: &Flags) -> anyhow::Result<Settings> {
    let fragment = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("could not read the configuration {}", path.display()))?;
            Fragment::parse(&text).with_context(|| format!("the configuration {}", path.display()))?
        }
        None => Fragment::default(),
    };
    let input = Input::merge(fragment, flags);
    let settings = Settings::try_from(input).context("the configuration contradicts itself")?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let fragment = Fragment::parse(text).map_err(|error| error.to_string())?;
        Settings::try_from(Input::merge(fragment, &Flags::default())).map_err(|error| error.to_string())
    }

    const DHCP: &str = "[[dhcp]]\ninterface = \"br0\"\nmode = \"authoritative\"\naddress = \"192.0.2.1\"\n\
        subnet = \"192.0.2.0/24\"\npool = [\"192.0.2.100-192.0.2.200\"]\n";

    const RELAYED: &str = "[[dhcp]]\ninterface = \"br0\"\nmode = \"authoritative\"\naddress = \"192.0.2.1\"\n\
        subnet = \"198.51.100.0/24\"\nrelayed = true\nrouter = \"198.51.100.1\"\npool = [\"198.51.100.9-198.51.100.99\"]\n";

    #[test]
    fn a_network_behind_a_relay_is_a_second_block_of_the_interface() {
        let settings = settings(&format!("{DHCP}{RELAYED}")).unwrap();
        let config = crate::dhcp::DhcpConfig::from_settings(&settings.dhcp, 8080).unwrap();
        assert_eq!(config.interfaces.len(), 1);
        let crate::dhcp::Mode::Authoritative { scopes } = &config.interfaces[0].mode else { panic!("proxy") };
        assert_eq!(scopes.len(), 2);
    }

    #[test]
    fn the_documented_example_is_understood() {
        let text = include_str!("../../../docs/configuration.md");
        let example = text.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let settings = settings(example).unwrap();
        assert_eq!((settings.dhcp.len(), settings.tftp.listen.len()), (2, 1));
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_its_key() {
        let table = [
            ("stat_directory = \"x\"\n".to_owned(), "line 1"),
            ("[http]\nlisten = []\n".to_owned(), "http.listen"),
            ("[http]\nport = 1\n".to_owned(), "line 2"),
            (
                "[http]\nlisten = [\"192.0.2.1:1\"]\n[api]\nlisten = [\"192.0.2.1:1\"]\n".to_owned(),
                "api.listen",
            ),
            ("[boot]\nattempts_max = 0\n".to_owned(), "boot.attempts_max"),
            ("[boot]\nextra_kernel_arguments = \"a\\nb\"\n".to_owned(), "boot.extra_kernel_arguments"),
            (
                "[boot]\nextra_kernel_arguments = \"quiet ${net0/mac}\"\n".to_owned(),
                "boot.extra_kernel_arguments",
            ),
            ("[boot]\nfirst_report_minutes = 1\n".to_owned(), "boot.first_report_minutes"),
            ("[store]\nkeep_days = 3\n".to_owned(), "store.keep_days"),
            ("[rollback]\nautomatic = 1\n".to_owned(), "line 2"),
            ("[tftp]\ntransfers_max = 0\n".to_owned(), "tftp.transfers_max"),
            (DHCP.replace("192.0.2.200", "192.0.3.200"), "dhcp[0].pool"),
            (DHCP.replace("192.0.2.100-", "192.0.2.1-"), "own address"),
            (DHCP.replace("192.0.2.100-192.0.2.200", "192.0.2.9-192.0.2.8"), "dhcp[0].pool"),
            (DHCP.replace("192.0.2.0/24", "192.0.2.1/24"), "dhcp[0].subnet"),
            (DHCP.replace("192.0.2.0/24", "192.0.2.0/33"), "dhcp[0].subnet"),
            (DHCP.replace("address = \"192.0.2.1\"", "address = \"198.51.100.1\""), "dhcp[0].address"),
            (DHCP.replace("pool = [\"192.0.2.100-192.0.2.200\"]", "lease_seconds = 3600"), "dhcp[0].pool"),
            (format!("{DHCP}lease_seconds = 1\n"), "dhcp[0].lease_seconds"),
            (DHCP.replace("br0", "a-name-that-is-too-long"), "dhcp[0].interface"),
            (format!("{DHCP}relayed = true\n"), "dhcp[0].relayed"),
            (format!("{DHCP}{}", RELAYED.replace("router = \"198.51.100.1\"\n", "")), "dhcp[1].router"),
        ];
        for (text, named) in table {
            let error = settings(&text).unwrap_err();
            assert!(error.contains(named), "{text}\n{error}");
        }
        assert!(settings(DHCP).is_ok());
    }

    #[test]
    fn a_file_is_named_in_its_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "[api]\nlissen = 1\n").unwrap();
        let error = format!("{:#}", load(Some(&path), &Flags::default()).unwrap_err());
        assert!(error.contains("c.toml") && error.contains("line 2") && error.contains("lissen"), "{error}");
    }

    #[test]
    fn flags_alone_are_enough() {
        let flags = Flags {
            listen_address: Some("192.0.2.1".parse().unwrap()),
            interface: Some("br0".to_owned()),
            dhcp: Some(fragment::ModeFragment::Authoritative),
            pool_range: vec!["192.0.2.100-192.0.2.200".to_owned()],
            state: Some("/tmp/state".into()),
            ..Flags::default()
        };
        let settings = load(None, &flags).unwrap();
        assert_eq!(settings.http, ["192.0.2.1:8080".parse().unwrap()]);
        assert_eq!(settings.tftp.listen, ["192.0.2.1:69".parse().unwrap()]);
        assert_eq!(settings.dhcp[0].subnet.to_string(), "192.0.2.0/24");
    }
}
