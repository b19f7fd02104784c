//! iPXE's boot programs from Debian's newer `ipxe` package: HTTPS, arm64 and `autoexec.ipxe` are in them.

use anyhow::{Context, Result};
use std::path::PathBuf;

use crate::apt::{self, PrivateApt};
use crate::paths;

/// The release whose package has what this release's lacks.
const SUITE: &str = "trixie";

/// Names under which the service serves them, and the package's names.
const LOADERS: &[(&str, &str)] = &[
    ("undionly.kpxe", "undionly.kpxe"),
    ("ipxe.efi", "ipxe-amd64.efi"),
    ("snponly.efi", "snponly.efi"),
    ("ipxe-arm64.efi", "ipxe-arm64.efi"),
];

/// The boot programs: the names under which they are served, and their files.
pub fn loaders() -> Result<Vec<(&'static str, PathBuf)>> {
    let folder = ensure()?;
    Ok(LOADERS.iter().map(|(name, _)| (*name, folder.join(name))).collect())
}

/// Makes sure that `build/ipxe/` holds the boot programs; gives the folder.
pub fn ensure() -> Result<PathBuf> {
    let folder = paths::build("ipxe");
    if LOADERS.iter().all(|(name, _)| folder.join(name).is_file()) {
        return Ok(folder);
    }
    println!("fetching iPXE's boot programs");
    let package = PrivateApt::of_suite(SUITE)?.download("ipxe", &paths::build("download/ipxe"))?;
    let unpacked = paths::build("download/ipxe/unpacked");
    apt::unpack(&package, &unpacked)?;
    for (name, original) in LOADERS {
        let file = unpacked.join("usr/lib/ipxe").join(original);
        let bytes = std::fs::read(&file)
            .with_context(|| format!("reading {}: the ipxe package no longer has it", file.display()))?;
        paths::write_whole(&folder.join(name), &bytes)?;
    }
    Ok(folder)
}
