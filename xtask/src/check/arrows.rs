//! Which package may use which: an allow-list, so that a new arrow is a decision and not an accident.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::command::output;
use crate::paths;

/// Packages and those of ours that they may use. ARCHITECTURE.md draws the same.
const ALLOWED: &[(&str, &[&str])] = &[
    ("contract", &[]),
    ("attest", &["contract"]),
    ("netboot", &["contract"]),
    ("verdict", &["contract"]),
    ("redfish", &["contract"]),
    ("imaging", &["contract"]),
    ("erasure", &["contract"]),
    ("fleetsim", &["contract", "verdict"]),
    ("reprieve-agent", &["attest", "contract", "erasure", "imaging", "verdict"]),
    ("reprieve-bootsvc", &["attest", "contract", "erasure", "imaging", "netboot", "redfish", "verdict"]),
    ("reprieve", &["contract", "erasure", "imaging", "verdict"]),
    ("reprieve-tests", &["contract"]),
    ("reprieve-fuzz", &["attest", "contract", "erasure", "imaging", "netboot", "redfish", "verdict"]),
    ("xtask", &["reprieve-tests"]),
];

/// Packages without sockets, files, processes, clocks and randomness.
pub const PURE: &[&str] = &["contract", "attest", "netboot", "verdict", "imaging", "erasure", "redfish"];

/// Libraries that would bring those into a pure package. Its tests may use them.
const NOT_IN_PURE: &[&str] = &[
    "async-tftp",
    "axum",
    "getrandom",
    "hyper",
    "hyper-util",
    "imago",
    "memmap2",
    "nix",
    "rand",
    "reqwest",
    "rtnetlink",
    "rustls",
    "socket2",
    "sqlx",
    "tempfile",
    "tokio",
    "tracing",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// None for an ordinary dependency.
    kind: Option<String>,
    /// Only packages of this workspace have one.
    path: Option<String>,
}

/// Compares the packages' dependencies with the allow-list.
pub fn check() -> Result<()> {
    let text = output(
        "asking cargo for the packages",
        Command::new("cargo").current_dir(paths::repository()).args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--locked",
        ]),
    )?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("reading what cargo says about the packages")?;
    let wrong: Vec<String> = metadata.packages.iter().flat_map(wrong_arrows).collect();
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

fn wrong_arrows(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
        return vec![format!(
            "{name}: not in the allow-list of xtask/src/check/arrows.rs; add it with what it may use"
        )];
    };
    let mut wrong = Vec::new();
    for dependency in &package.dependencies {
        let used = dependency.name.as_str();
        if dependency.path.is_some() && !allowed.contains(&used) {
            wrong.push(format!("{name} uses {used}: that arrow is not in ARCHITECTURE.md's code map"));
        }
        if PURE.contains(&name) && dependency.kind.as_deref() != Some("dev") && NOT_IN_PURE.contains(&used) {
            wrong.push(format!(
                "{name} uses {used}: a pure crate takes facts and the time as arguments instead"
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, used: &str, is_ours: bool, kind: Option<&str>) -> Package {
        let dependency = Dependency {
            name: used.to_owned(),
            kind: kind.map(str::to_owned),
            path: is_ours.then(|| "somewhere".to_owned()),
        };
        Package { name: name.to_owned(), dependencies: vec![dependency] }
    }

    #[test]
    fn only_allowed_arrows_pass() {
        assert!(wrong_arrows(&package("reprieve-agent", "verdict", true, None)).is_empty());
        assert_eq!(wrong_arrows(&package("reprieve-agent", "netboot", true, None)).len(), 1);
        assert_eq!(wrong_arrows(&package("verdict", "erasure", true, Some("dev"))).len(), 1);
        assert_eq!(wrong_arrows(&package("unknown", "serde", false, None)).len(), 1);
    }

    #[test]
    fn pure_packages_touch_the_world_only_in_tests() {
        assert_eq!(wrong_arrows(&package("verdict", "tokio", false, None)).len(), 1);
        assert!(wrong_arrows(&package("imaging", "tempfile", false, Some("dev"))).is_empty());
        assert!(wrong_arrows(&package("reprieve-bootsvc", "tokio", false, None)).is_empty());
    }
}
