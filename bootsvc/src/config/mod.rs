//! The configuration, in three stages: what a file says ([`fragment`]), what file and flags say
//! together with the defaults ([`input`]), and what the service runs with ([`settings`]). Only the
//! last stage is seen by the rest of the service, and it cannot be made from anything contradictory.

pub mod fragment;
pub mod input;
pub mod settings;

use std::path::Path;

use anyhow::Context as _;

pub use fragment::Fragment;
pub use input::{Flags, Input};
pub use settings::{
    BootSettings, DhcpMode, DhcpSettings, Ipv4Range, Ipv4Subnet, Reservation, Settings, TftpSettings,
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
