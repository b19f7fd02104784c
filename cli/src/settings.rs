//! Where the service is and who we are: flags and environment first, then the configuration file.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use contract::secret::Secret;
use serde::Deserialize;

use crate::arguments::Connection;

/// The largest token file in bytes; anything longer is not a token.
const TOKEN_BYTES_MAX: u64 = 4096;

/// The configuration file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    service: Option<String>,
    ca: Option<PathBuf>,
    token_file: Option<PathBuf>,
}

/// What is needed to speak to the service.
#[derive(Debug)]
pub struct Settings {
    /// Address, without a slash at the end.
    pub service: String,
    /// The CA certificate, PEM; none only for plain HTTP on this machine.
    pub ca: Option<Vec<u8>>,
    /// The operator token.
    pub token: Secret,
}

impl Settings {
    /// Puts together what flags, environment and configuration file say.
    ///
    /// # Errors
    /// If something is missing, unknown or cannot be read, with what to do.
    pub fn load(connection: &Connection) -> anyhow::Result<Self> {
        let path = configuration_path();
        let file = match &path {
            Some(path) => read_file(path)?,
            None => File::default(),
        };
        let file_name =
            path.map_or_else(|| "the configuration file".to_owned(), |path| path.display().to_string());
        let missing = |what: &str, flag: &str, variable: &str, key: &str| {
            format!("{what} is not known; give {flag}, set {variable} or write {key} into {file_name}")
        };
        let service = connection.service.clone().or(file.service).with_context(|| {
            missing("the service's address", "--service URL", "REPRIEVE_SERVICE", "service")
        })?;
        let service = service.trim_end_matches('/').to_owned();
        let encrypted = check_address(&service)?;
        let token_file = connection.token_file.clone().or(file.token_file).with_context(|| {
            missing("the operator token", "--token-file FILE", "REPRIEVE_TOKEN_FILE", "token_file")
        })?;
        let ca = match connection.ca.clone().or(file.ca) {
            Some(path) => Some(
                std::fs::read(&path)
                    .with_context(|| format!("could not read the CA certificate {}", path.display()))?,
            ),
            None if encrypted => {
                anyhow::bail!(missing("the service's CA certificate", "--ca FILE", "REPRIEVE_CA", "ca"))
            }
            None => None,
        };
        Ok(Self { service, ca, token: read_token(&token_file)? })
    }
}

/// Whether the address is encrypted. Plain HTTP would show the token to everybody on the way, so it
/// is accepted only where there is no way.
fn check_address(service: &str) -> anyhow::Result<bool> {
    if service.starts_with("https://") {
        return Ok(true);
    }
    let local = ["http://127.0.0.1", "http://[::1]", "http://localhost"];
    let is_local = |start: &str| {
        service.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    };
    anyhow::ensure!(
        local.into_iter().any(is_local),
        "the service's address {service:?} is not encrypted; write it like https://192.0.2.1:8443"
    );
    Ok(false)
}

/// `$XDG_CONFIG_HOME/reprieve/config.toml`, by default under `~/.config`.
pub fn configuration_path() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(folder.join("reprieve/config.toml"))
}

fn read_file(path: &Path) -> anyhow::Result<File> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text).with_context(|| format!("{} cannot be understood", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(error) => Err(error).with_context(|| format!("could not read {}", path.display())),
    }
}

fn parse(text: &str) -> Result<File, toml::de::Error> {
    toml::from_str(text)
}

fn read_token(path: &Path) -> anyhow::Result<Secret> {
    let read = || -> std::io::Result<String> {
        use std::io::Read as _;
        let mut text = String::new();
        std::fs::File::open(path)?.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().with_context(|| format!("could not read the token file {}", path.display()))?;
    let token = text.trim();
    let sound = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    anyhow::ensure!(
        sound,
        "the token file {} holds no token; write the operator token into it",
        path.display()
    );
    Ok(Secret::new(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{check_address, parse, read_token};

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        assert!(parse("service = \"https://a\"\n").is_ok());
        let error = parse("servise = \"https://a\"\n").err().unwrap().to_string();
        assert!(error.contains("servise"), "{error}");
    }

    #[test]
    fn the_token_never_crosses_a_network_in_the_clear() {
        assert!(check_address("https://192.0.2.1:8443").unwrap());
        assert!(!check_address("http://127.0.0.1:80").unwrap());
        for address in ["http://192.0.2.1", "http://127.0.0.1.example.org", "ftp://x", "192.0.2.1"] {
            assert!(check_address(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_token_file_without_a_token_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(read_token(file.path()).is_err());
        std::fs::write(file.path(), "secret\n").unwrap();
        assert_eq!(read_token(file.path()).unwrap().reveal(), "secret");
        std::fs::write(file.path(), "two words").unwrap();
        assert!(read_token(file.path()).is_err());
    }
}
