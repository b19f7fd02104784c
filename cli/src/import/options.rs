//! What the person, or the image's own `reprieve-image.toml`, says about an image.

use std::path::Path;

use anyhow::Context as _;
use imaging::root_files::Selection;
use serde::Deserialize;

use crate::import::Import;

/// The file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    immutable_paths: Option<Vec<String>>,
    excluded_paths: Option<Vec<String>>,
    root_partition: Option<u32>,
    mutable_partitions: Option<Vec<u32>>,
    no_agent: Option<bool>,
}

/// How an image is described.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// Which files must never change.
    pub selection: Selection,
    /// Somebody has said which files must never change, so not being able to read them is an error.
    pub selected: bool,
    /// Number of the root partition.
    pub root_partition: Option<u32>,
    /// No partition is the root.
    pub no_root: bool,
    /// Boot partitions that may change.
    pub mutable_partitions: Vec<u32>,
    /// No running system reports from the image.
    pub no_agent: bool,
}

impl Options {
    /// Puts together flags, the options file, and defaults, in this order.
    ///
    /// # Errors
    /// If the options file cannot be read or has unknown keys.
    pub fn load(import: &Import) -> anyhow::Result<Self> {
        let file = match &import.options {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let given = |flags: &Vec<String>, key: Option<Vec<String>>| {
            if flags.is_empty() { key } else { Some(flags.clone()) }
        };
        let immutable = given(&import.immutable_paths, file.immutable_paths);
        let excluded = given(&import.excluded_paths, file.excluded_paths);
        let mutable = Some(import.mutable_partitions.clone()).filter(|numbers| !numbers.is_empty());
        let defaults = Selection::default();
        Ok(Self {
            selected: immutable.is_some(),
            selection: Selection {
                immutable_paths: immutable.unwrap_or(defaults.immutable_paths),
                excluded_paths: excluded.unwrap_or(defaults.excluded_paths),
            },
            root_partition: import.root_partition.or(file.root_partition),
            no_root: import.no_root,
            mutable_partitions: mutable.or(file.mutable_partitions).unwrap_or_default(),
            no_agent: import.no_agent || file.no_agent.unwrap_or_default(),
        })
    }
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} cannot be understood", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use imaging::root_files::Selection;

    use super::Options;
    use crate::arguments::{Arguments, Command};
    use crate::image::ImageCommand;

    fn load(line: &str) -> anyhow::Result<Options> {
        let line = format!("reprieve image import x --name n {line}");
        let arguments = Arguments::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Image { command: ImageCommand::Import(import) } = arguments.command else { panic!() };
        Options::load(&import)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        assert_eq!(load("").unwrap().selection, Selection::default());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "immutable_paths = [\"/opt\"]\nmutable_partitions = [15]\nno_agent = true\n",
        )
        .unwrap();
        let with_file = format!("--options {}", file.path().display());
        let options = load(&with_file).unwrap();
        assert_eq!(options.selection.immutable_paths, ["/opt"]);
        assert_eq!((options.selected, options.mutable_partitions, options.no_agent), (true, vec![15], true));
        assert!(load("--no-agent").unwrap().no_agent && !load("").unwrap().no_agent);
        let both = load(&format!("{with_file} --immutable-path /srv")).unwrap();
        assert_eq!(both.selection.immutable_paths, ["/srv"]);
        std::fs::write(file.path(), "immutable_path = []\n").unwrap();
        assert!(format!("{:#}", load(&with_file).unwrap_err()).contains("immutable_path"));
    }
}
