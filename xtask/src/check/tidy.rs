//! Rules about the text of the tree that no linter knows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::arrows::PURE;
use crate::command::output;
use crate::paths;

/// A longer file has more than one idea in it.
const LINES_MAX: usize = 600;
/// What is larger is not text that somebody wrote.
const FILE_BYTES_MAX: u64 = 512 << 10;
const FINDINGS_SHOWN_MAX: usize = 50;

/// Marks of what was left for later. Written in two parts, so that this file has none of them.
const UNFINISHED: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("#[ign", "ore")];

/// Names that tie the tree to a machine or to a registry; the machine's own configuration names its mirrors.
const FOREIGN: &[&str] = &[
    concat!("deb.debian", ".org"),
    concat!("crates", ".io/"),
    concat!("static.rust-", "lang.org"),
    concat!("/wo", "rk/"),
    concat!("/home", "/"),
];

/// What a pure crate must not name outside its tests.
const NOT_IN_PURE: &[&str] = &[
    "std::fs",
    "std::process",
    "std::env",
    "SystemTime::now",
    "Instant::now",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "thread::spawn",
];

/// Checks every file that git knows or would add.
pub fn check() -> Result<()> {
    let repository = paths::repository();
    let listed = output(
        "asking git for the files",
        Command::new("git").current_dir(&repository).args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
        ]),
    )?;
    let files: BTreeSet<PathBuf> =
        listed.lines().map(PathBuf::from).filter(|file| repository.join(file).is_file()).collect();
    let mut findings = Vec::new();
    for file in &files {
        check_file(&repository, file, &mut findings)?;
    }
    check_documents(&repository, &files, &mut findings)?;
    check_pure_crates(&repository, &mut findings)?;
    if !findings.is_empty() {
        let more = findings.len().saturating_sub(FINDINGS_SHOWN_MAX);
        findings.truncate(FINDINGS_SHOWN_MAX);
        if more > 0 {
            findings.push(format!("and {more} more"));
        }
        bail!("{}", findings.join("\n"));
    }
    Ok(())
}

fn check_file(repository: &Path, file: &Path, findings: &mut Vec<String>) -> Result<()> {
    let full = repository.join(file);
    let size = full.metadata().with_context(|| format!("looking at {}", file.display()))?.len();
    if size > FILE_BYTES_MAX {
        findings.push(format!("{}: {size} bytes; large files are made, not kept", file.display()));
        return Ok(());
    }
    if file.file_name().is_some_and(|name| name == "Cargo.lock") {
        return Ok(());
    }
    let bytes = std::fs::read(&full).with_context(|| format!("reading {}", file.display()))?;
    // Fixtures of tests may be bytes; the rules are about text.
    let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
    check_text(file, &text, findings);
    Ok(())
}

fn check_text(file: &Path, text: &str, findings: &mut Vec<String>) {
    let is_rust = file.extension().is_some_and(|extension| extension == "rs");
    let is_pure = is_rust && is_source_of_pure_crate(file);
    let count = text.lines().count();
    if is_rust && count > LINES_MAX {
        findings.push(format!("{}: {count} lines; split it by idea (at most {LINES_MAX})", file.display()));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(format!("{}: the last line has no end", file.display()));
    }
    let mut is_test = false;
    for (index, line) in text.lines().enumerate() {
        let mut found = |what: String| findings.push(format!("{}:{}: {what}", file.display(), index + 1));
        if line.ends_with([' ', '\t', '\r']) && !is_snapshot(file) {
            found("blanks at the end of the line".to_owned());
        }
        for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
            found(format!("{word}: finish it, or take it out and say so in the change's text"));
        }
        for word in FOREIGN.iter().filter(|word| line.contains(**word)) {
            found(format!("{word}: names a machine or a registry; take it from the machine's configuration"));
        }
        // Test modules stand at the end of a file.
        is_test |= line.trim() == "#[cfg(test)]";
        if is_pure && !is_test && !line.trim_start().starts_with("//") {
            for word in NOT_IN_PURE.iter().filter(|word| line.contains(**word)) {
                found(format!("{word}: a pure crate takes facts and the time as arguments"));
            }
        }
    }
}

/// Recorded output of programs is kept as it came.
fn is_snapshot(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "snap" || extension == "txt")
}

fn is_source_of_pure_crate(file: &Path) -> bool {
    let is_test = file.components().any(|part| part.as_os_str() == "tests")
        || file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
    !is_test && PURE.iter().any(|name| file.starts_with(Path::new("crates").join(name).join("src")))
}

/// A document that nothing links to is read by nobody, and a link that leads nowhere is a promise broken.
fn check_documents(repository: &Path, files: &BTreeSet<PathBuf>, findings: &mut Vec<String>) -> Result<()> {
    let is_document = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "md");
    let mut linked = BTreeSet::new();
    for file in files.iter().filter(is_document) {
        let text = paths::read_text(&repository.join(file))?;
        for target in links(&text) {
            let path = normal(&file.parent().unwrap_or(Path::new("")).join(target));
            if !repository.join(&path).exists() {
                findings.push(format!("{}: links to {target}, which is not there", file.display()));
            }
            linked.insert(path);
        }
    }
    for file in files.iter().filter(is_document).filter(|file| file.starts_with("docs")) {
        if !linked.contains(file) {
            findings.push(format!("{}: no document links to it", file.display()));
        }
    }
    Ok(())
}

/// The targets of a document's links to files of the tree.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| {
            !target.is_empty() && !target.contains("://") && !target.contains(char::is_whitespace)
        })
        .collect()
}

/// Takes `.` and `..` out of a path inside the tree.
fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                parts.pop();
            }
            std::path::Component::CurDir => {}
            other => parts.push(other),
        }
    }
    parts
}

fn check_pure_crates(repository: &Path, findings: &mut Vec<String>) -> Result<()> {
    for name in PURE {
        let file = Path::new("crates").join(name).join("src/lib.rs");
        if !paths::read_text(&repository.join(&file))?.contains("#![forbid(unsafe_code)]") {
            findings.push(format!("{}: a pure crate forbids unsafe code", file.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check_text(Path::new(file), text, &mut findings);
        findings
    }

    #[test]
    fn untidy_text_is_found() {
        assert_eq!(findings("a.md", "good\n"), Vec::<String>::new());
        assert_eq!(findings("a.md", "no end").len(), 1);
        assert_eq!(findings("a.md", "blank \n").len(), 1);
        assert_eq!(findings("a.rs", &format!("// {}\n", UNFINISHED[0])).len(), 1);
        assert_eq!(findings("a.sh", &format!("cd {}main\n", FOREIGN[3])).len(), 1);
        assert_eq!(findings("a.rs", &"\n".repeat(LINES_MAX + 1)).len(), 1);
    }

    #[test]
    fn pure_crates_may_touch_the_world_in_tests_only() {
        let text = "use std::fs;\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(findings("crates/verdict/src/lib.rs", text).len(), 1);
        assert!(findings("agent/src/main.rs", text).is_empty());
        assert!(findings("crates/verdict/src/judge/tests.rs", "use std::fs;\n").is_empty());
    }

    #[test]
    fn links_are_resolved() {
        let text = "[a](x.md) [b](../y.md#part) [c](https://z) [d](#here)";
        assert_eq!(links(text), ["x.md", "../y.md"]);
        assert_eq!(normal(Path::new("docs/./decisions/../y.md")), Path::new("docs/y.md"));
    }
}
