//! Building our own programs: the static agent for the ramdisk, and the programs of packages.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{find, output, run};
use crate::paths;

const MUSL_TARGET: &str = "x86_64-unknown-linux-musl";
const GNU_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Which target a static program is built for, and what rustc must be told to make it static.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StaticTarget {
    triple: &'static str,
    flags: Option<&'static str>,
}

/// The musl target; where it cannot be installed (no network), glibc linked statically.
fn static_target() -> Result<StaticTarget> {
    let musl = StaticTarget { triple: MUSL_TARGET, flags: None };
    if has_standard_library(MUSL_TARGET)? {
        return Ok(musl);
    }
    println!("  rustup target add {MUSL_TARGET}");
    if find("rustup").is_some() {
        // The answer is what the compiler finds afterwards, not how rustup ended.
        let _ = Command::new("rustup").args(["target", "add", MUSL_TARGET]).status();
    }
    if has_standard_library(MUSL_TARGET)? {
        return Ok(musl);
    }
    println!("  target {MUSL_TARGET} cannot be had: the agent is linked statically against glibc instead");
    Ok(StaticTarget { triple: GNU_TARGET, flags: Some("-C target-feature=+crt-static") })
}

fn has_standard_library(triple: &str) -> Result<bool> {
    let folder = output(
        &format!("asking the compiler for target {triple}"),
        Command::new("rustc").args(["--print", "target-libdir", "--target", triple]),
    )?;
    Ok(PathBuf::from(folder.trim()).is_dir())
}

/// Builds a package's program of the same name statically with a cargo profile; gives the program's file.
pub fn build_static(package: &str, profile: &str) -> Result<PathBuf> {
    build_static_program(package, package, profile)
}

/// Builds one of a package's programs statically with a cargo profile; gives the program's file.
pub fn build_static_program(package: &str, name: &str, profile: &str) -> Result<PathBuf> {
    build_static_featured(package, name, profile, &[])
}

/// The same, for a program that there is only with a feature.
pub fn build_static_program_with(package: &str, name: &str, profile: &str, feature: &str) -> Result<PathBuf> {
    build_static_featured(package, name, profile, &["--features", feature])
}

/// Builds the agent of the ramdisk with a feature that it is not shipped with. It gets a name of its
/// own, so that nobody takes it for the one that is.
pub fn build_agent_with(feature: &str) -> Result<PathBuf> {
    let name = "reprieve-agent";
    let program = build_static_featured(name, name, "ramdisk", &["--features", feature])?;
    let named = program.with_file_name(format!("{name}-{feature}"));
    std::fs::rename(&program, &named).with_context(|| format!("renaming {}", program.display()))?;
    Ok(named)
}

fn build_static_featured(package: &str, name: &str, profile: &str, features: &[&str]) -> Result<PathBuf> {
    let target = static_target()?;
    println!("  building {name} for {} (profile {profile})", target.triple);
    let mut cargo = cargo();
    cargo.args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        package,
        "--bin",
        name,
        "--profile",
        profile,
        "--target",
        target.triple,
    ]);
    cargo.args(features);
    cargo.env("CC_x86_64_unknown_linux_musl", "musl-gcc");
    // The TLS library would time the processor for a second source of randomness, which costs more than
    // a second at every start of the ramdisk. The kernel's own, waited for until it is seeded, is enough.
    cargo.env("AWS_LC_SYS_NO_JITTER_ENTROPY", "1");
    if let Some(flags) = target.flags {
        cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", flags);
    }
    run(&format!("building {name}"), &mut cargo)?;
    let program = paths::target().join(target.triple).join(profile_folder(profile)).join(name);
    if !program.is_file() {
        bail!("cargo built {name}, but {} is not there", program.display());
    }
    Ok(program)
}

/// Builds a package's program for this machine with a cargo profile; gives the program's file.
pub fn build_native(package: &str, profile: &str) -> Result<PathBuf> {
    println!("  building {package} (profile {profile})");
    let mut cargo = cargo();
    cargo.args(["build", "--quiet", "--locked", "--package", package, "--profile", profile]);
    run(&format!("building {package}"), &mut cargo)?;
    let program = paths::target().join(profile_folder(profile)).join(package);
    if !program.is_file() {
        bail!("cargo built {package}, but {} is not there", program.display());
    }
    Ok(program)
}

/// A cargo that works in this checkout and does not take over what an outer cargo set.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(paths::repository());
    cargo
}

fn profile_folder(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

/// A program that asks for a dynamic loader cannot be the first process of a ramdisk without one.
pub fn require_static(program: &std::path::Path) -> Result<()> {
    let bytes = std::fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    if has_interpreter(&bytes) {
        bail!(
            "{} is not static: it names a dynamic loader, which the ramdisk does not have",
            program.display()
        );
    }
    Ok(())
}

/// Whether a 64-bit little-endian ELF file has a `PT_INTERP` program header (ELF-64 object file format, §6).
fn has_interpreter(elf: &[u8]) -> bool {
    const PROGRAM_HEADER_INTERPRETER: u32 = 3;
    let word = |at: usize, length: usize| -> Option<u64> {
        let bytes = elf.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    };
    let headers = (|| {
        let offset = usize::try_from(word(32, 8)?).ok()?;
        let size = usize::try_from(word(54, 2)?).ok()?;
        let count = usize::try_from(word(56, 2)?).ok()?;
        Some((offset, size, count))
    })();
    // What cannot be understood is treated as not static.
    let Some((offset, size, count)) = headers else { return true };
    (0..count).any(|index| word(offset + index * size, 4) == Some(u64::from(PROGRAM_HEADER_INTERPRETER)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_found_and_rubbish_is_not_static() {
        let mut elf = vec![0_u8; 64 + 56];
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 1;
        assert!(!has_interpreter(&elf));
        elf[64] = 3;
        assert!(has_interpreter(&elf));
        assert!(has_interpreter(b"no ELF"));
    }
}
