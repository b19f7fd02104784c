//! `reprieve completions` and `man`: what packages install beside the command.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::Ending;
use crate::arguments::Arguments;

/// `reprieve completions SHELL`.
pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<Ending> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "reprieve", &mut text);
    crate::output::print(String::from_utf8_lossy(&text).trim_end())?;
    Ok(Ending::Good)
}

/// `reprieve man DIRECTORY`.
pub fn man(directory: &Path) -> anyhow::Result<Ending> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("could not make the folder {}", directory.display()))?;
    clap_mangen::generate_to(Arguments::command(), directory)
        .with_context(|| format!("could not write manual pages into {}", directory.display()))?;
    Ok(Ending::Good)
}
