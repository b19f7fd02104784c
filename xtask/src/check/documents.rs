//! docs/commands.md is what the programs say about themselves.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command::output;
use crate::{paths, toolchain};

const PROGRAMS: &[&str] = &["reprieve", "reprieve-bootsvc", "reprieve-agent"];
const DOCUMENT: &str = "docs/commands.md";
const DEPTH_MAX: usize = 4;

/// Compares docs/commands.md with the programs' help; with `fix`, writes it.
pub fn check(fix: bool) -> Result<()> {
    let mut text =
        "# Commands\n\nWritten by `cargo xtask check --fix` from what the programs say about themselves.\n"
            .to_owned();
    for name in PROGRAMS {
        let program = toolchain::build_native(name, "dev")?;
        describe(&program, &[name], &mut text)?;
    }
    let file = paths::repository().join(DOCUMENT);
    if std::fs::read_to_string(&file).is_ok_and(|current| current == text) {
        return Ok(());
    }
    if !fix {
        bail!("{DOCUMENT} is not what --help says; `cargo xtask check --fix` writes it");
    }
    println!("  writing {DOCUMENT}");
    paths::write_whole(&file, text.as_bytes())
}

/// Adds a command's help, then that of its subcommands.
fn describe(program: &Path, words: &[&str], text: &mut String) -> Result<()> {
    let name = words.join(" ");
    let help = output(
        &format!("asking for the help of {name}"),
        Command::new(program).args(words.iter().skip(1)).arg("--help").env("COLUMNS", "100").env_clear(),
    )?;
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let heading = "#".repeat(words.len() + 1);
    text.push_str(&format!("\n{heading} {name}\n\n```text\n{}\n```\n", help.join("\n").trim()));
    if words.len() >= DEPTH_MAX {
        return Ok(());
    }
    for subcommand in subcommands(&help) {
        let mut words = words.to_vec();
        words.push(subcommand);
        describe(program, &words, text)?;
    }
    Ok(())
}

/// The names in a help text's list of commands.
fn subcommands<'a>(help: &[&'a str]) -> Vec<&'a str> {
    help.iter()
        .skip_while(|line| **line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Continued descriptions are indented further than names.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subcommands_are_found() {
        let help = [
            "About",
            "",
            "Commands:",
            "  node   Nodes",
            "         continued",
            "  help   Print",
            "",
            "Options:",
            "  -h",
        ];
        assert_eq!(subcommands(&help), ["node"]);
        assert!(subcommands(&["Options:", "  -h"]).is_empty());
    }
}
