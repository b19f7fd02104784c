//! Private apt sources: packages of another Debian release, or of this one without installing them.
//!
//! The mirror and its keyring are taken from the machine's own sources, so that whoever set the
//! machine up decides where packages come from; the system's lists and sources are not touched.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{output, run_logged};
use crate::paths;

/// The Debian release that everything here is built for.
pub const RELEASE: &str = "bookworm";

/// One mirror that the machine's own sources name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    uri: String,
    suite: String,
    signed_by: Option<String>,
}

impl Mirror {
    /// The source line for a suite of this mirror.
    pub fn line(&self, suite: &str) -> String {
        self.line_with(suite, "main")
    }

    fn line_with(&self, suite: &str, components: &str) -> String {
        let options = self.signed_by.as_ref().map(|key| format!("[signed-by={key}] ")).unwrap_or_default();
        format!("deb {options}{} {suite} {components}", self.uri)
    }
}

/// The mirrors of this Debian release that the machine's own apt sources name.
pub fn own_mirrors() -> Result<Vec<Mirror>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut mirrors = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let text = paths::read_text(file)?;
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => mirrors.extend(parse_deb822(&text)),
            Some("list") => mirrors.extend(parse_one_line(&text)),
            _ => {}
        }
    }
    mirrors.retain(|mirror| mirror.suite == RELEASE || mirror.suite.starts_with(&format!("{RELEASE}-")));
    if !mirrors.iter().any(|mirror| mirror.suite == RELEASE) {
        bail!(
            "no source of Debian {RELEASE} in /etc/apt: Reprieve is built on Debian 12; add its mirror there"
        );
    }
    Ok(mirrors)
}

fn parse_deb822(text: &str) -> Vec<Mirror> {
    let mut mirrors = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let is_enabled = field("Enabled").is_none_or(|value| value != "no");
        let (Some(types), Some(uris), Some(suites)) = (field("Types"), field("URIs"), field("Suites")) else {
            continue;
        };
        if !is_enabled || !types.split_whitespace().any(|kind| kind == "deb") {
            continue;
        }
        // A key written into the file itself, not a path, cannot be said on one line.
        let signed_by = field("Signed-By").filter(|value| value.starts_with('/'));
        for uri in uris.split_whitespace() {
            for suite in suites.split_whitespace() {
                mirrors.push(Mirror {
                    uri: uri.to_owned(),
                    suite: suite.to_owned(),
                    signed_by: signed_by.clone(),
                });
            }
        }
    }
    mirrors
}

fn parse_one_line(text: &str) -> Vec<Mirror> {
    text.lines().filter_map(parse_source_line).collect()
}

fn parse_source_line(line: &str) -> Option<Mirror> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let signed_by =
        options.split_whitespace().find_map(|option| option.strip_prefix("signed-by=")).map(str::to_owned);
    let mut words = rest.split_whitespace();
    let uri = words.next()?.to_owned();
    let suite = words.next()?.to_owned();
    Some(Mirror { uri, suite, signed_by })
}

/// A set of sources and package lists of our own under `build/apt/NAME`.
pub struct PrivateApt {
    folder: PathBuf,
    name: String,
}

impl PrivateApt {
    /// This machine's release with its updates, without the system's lists.
    pub fn of_this_release() -> Result<Self> {
        let lines: Vec<String> = own_mirrors()?.iter().map(|mirror| mirror.line(&mirror.suite)).collect();
        Self::with_lines(RELEASE, &lines)
    }

    /// Another suite of the mirror that this machine's release comes from.
    pub fn of_suite(suite: &str) -> Result<Self> {
        let lines: Vec<String> = own_mirrors()?
            .iter()
            .filter(|mirror| mirror.suite == RELEASE)
            .map(|mirror| mirror.line(suite))
            .collect();
        Self::with_lines(suite, &lines)
    }

    /// This release's firmware packages, which are not in its main component.
    pub fn of_firmware() -> Result<Self> {
        let lines: Vec<String> = own_mirrors()?
            .iter()
            .filter(|mirror| mirror.suite == RELEASE)
            .map(|mirror| mirror.line_with(RELEASE, "non-free-firmware"))
            .collect();
        Self::with_lines("firmware", &lines)
    }

    /// This release and its backports together.
    pub fn of_backports() -> Result<Self> {
        let backports = format!("{RELEASE}-backports");
        let mut lines = Vec::new();
        for mirror in own_mirrors()? {
            lines.push(mirror.line(&mirror.suite));
            if mirror.suite == RELEASE {
                lines.push(mirror.line(&backports));
            }
        }
        Self::with_lines(&backports, &lines)
    }

    fn with_lines(name: &str, lines: &[String]) -> Result<Self> {
        let folder = paths::build("apt").join(name);
        paths::ensure_directory(&folder.join("lists/partial"))?;
        let sources = folder.join("sources.list");
        let mut lines = lines.to_vec();
        lines.sort();
        lines.dedup();
        let text = format!("{}\n", lines.join("\n"));
        let is_current = std::fs::read_to_string(&sources).is_ok_and(|old| old == text);
        let apt = Self { folder, name: name.to_owned() };
        if !is_current {
            let _ = std::fs::remove_file(apt.updated());
            paths::write_whole(&sources, text.as_bytes())?;
        }
        Ok(apt)
    }

    /// The source lines.
    pub fn source_lines(&self) -> Result<Vec<String>> {
        let text = paths::read_text(&self.folder.join("sources.list"))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The options that make apt use these sources and lists and nothing of the system's.
    pub fn options(&self) -> Vec<String> {
        let folder = self.folder.display();
        [
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={folder}/lists"),
            "Dir::Cache::pkgcache=".to_owned(),
            "Dir::Cache::srcpkgcache=".to_owned(),
            // The unprivileged download user cannot write into a checkout.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ]
        .into_iter()
        .flat_map(|option| ["-o".to_owned(), option])
        .collect()
    }

    fn updated(&self) -> PathBuf {
        self.folder.join("updated")
    }

    /// Fetches the package lists, unless they were fetched before.
    pub fn update(&self) -> Result<()> {
        if self.updated().exists() {
            return Ok(());
        }
        println!("  fetching the package lists of {}", self.name);
        run_logged(
            &format!("fetching the package lists of {}", self.name),
            Command::new("apt-get").args(self.options()).arg("update"),
            "apt.log",
        )?;
        paths::write_whole(&self.updated(), b"")
    }

    fn forget_update(&self) {
        let _ = std::fs::remove_file(self.updated());
    }

    /// The first package that a package, such as `linux-image-amd64`, depends on.
    pub fn first_dependency(&self, package: &str) -> Result<String> {
        self.update()?;
        let text = output(
            &format!("asking what {package} depends on"),
            Command::new("apt-cache").args(self.options()).args(["depends", "--important", package]),
        )?;
        text.lines()
            .find_map(|line| line.trim().strip_prefix("Depends:"))
            .map(|name| name.trim().to_owned())
            .with_context(|| format!("package {package} of {} depends on nothing", self.name))
    }

    /// Downloads a package into `folder`; gives its file.
    pub fn download(&self, package: &str, folder: &Path) -> Result<PathBuf> {
        self.update()?;
        paths::fresh_directory(folder)?;
        println!("  downloading package {package} of {}", self.name);
        let download = || {
            run_logged(
                &format!("downloading package {package}"),
                Command::new("apt-get").args(self.options()).args(["download", package]).current_dir(folder),
                "apt.log",
            )
        };
        if download().is_err() {
            // Lists grow old: the mirror no longer has the version that they name.
            self.forget_update();
            self.update()?;
            download()?;
        }
        let files = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
        files
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| {
                format!("apt said it downloaded {package}, but {} has no package", folder.display())
            })
    }
}

/// Unpacks a package's files, without its scripts, into `folder`.
pub fn unpack(package: &Path, folder: &Path) -> Result<()> {
    paths::ensure_directory(folder)?;
    run_logged(
        &format!("unpacking {}", package.display()),
        Command::new("dpkg-deb").arg("-x").args([package, folder]),
        "apt.log",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_sources_are_read() {
        let deb822 = "Types: deb\n# a comment\nURIs: mirror:/debian\nSuites: bookworm bookworm-updates\n\
                      Components: main\nSigned-By: /usr/share/keyrings/key.gpg\n\nTypes: deb-src\nURIs: mirror:/x\n\
                      Suites: bookworm\n\nEnabled: no\nTypes: deb\nURIs: mirror:/off\nSuites: bookworm\n";
        let mirrors = parse_deb822(deb822);
        assert_eq!(mirrors.len(), 2);
        assert_eq!(
            mirrors[0].line("trixie"),
            "deb [signed-by=/usr/share/keyrings/key.gpg] mirror:/debian trixie main"
        );

        let one_line = "# deb mirror:/no bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] mirror:/a bookworm main\n\
                        deb mirror:/b bookworm-security main\ndeb-src mirror:/c bookworm main\n";
        let mirrors = parse_one_line(one_line);
        assert_eq!(mirrors[0].line("bookworm"), "deb [signed-by=/k.gpg] mirror:/a bookworm main");
        assert_eq!(mirrors[1].line("x"), "deb mirror:/b x main");
        assert_eq!(mirrors.len(), 2);
    }
}
