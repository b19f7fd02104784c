//! Where probes read: the machine, or a recorded tree of one.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use contract::reading::Outcome;

/// No attribute that we read is larger; whatever is longer is not what we think it is.
const ATTRIBUTE_BYTES_MAX: u64 = 8 << 20;

/// The root under which `/sys`, `/proc` and `/dev` are found.
#[derive(Debug, Clone)]
pub struct Source {
    root: PathBuf,
}

impl Source {
    /// The machine itself.
    #[must_use]
    pub fn machine() -> Self {
        Self { root: PathBuf::from("/") }
    }

    /// A recorded tree; devices in it are plain files or missing.
    #[must_use]
    pub fn recorded(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether this is the machine itself, so that ioctls make sense.
    #[must_use]
    pub fn is_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The path of `inside`, given without a leading slash.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }
}

/// Reads a small file whole.
///
/// # Errors
/// Whatever the read gives; also if the file is larger than 8 MiB.
pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(ATTRIBUTE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > ATTRIBUTE_BYTES_MAX {
        return Err(io::Error::other(format!("larger than {ATTRIBUTE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Reads a small text file, trimmed; bytes that are not UTF-8 are replaced.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_text(path: &Path) -> io::Result<String> {
    let bytes = read_bytes(path)?;
    Ok(String::from_utf8_lossy(&bytes).trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
}

/// Text from outside as it may be shown: its first characters, without those that a terminal obeys.
#[must_use]
pub fn shown(text: &str, characters_max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(characters_max).collect()
}

/// A text attribute: empty or missing is absent, anything else that fails is unreadable.
#[must_use]
pub fn attribute(path: &Path) -> Outcome<String> {
    match read_text(path) {
        Ok(text) if text.is_empty() => Outcome::Absent,
        Ok(text) => Outcome::Value(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Absent,
        Err(error) => unreadable(path, &error),
    }
}

/// A number attribute, decimal.
#[must_use]
pub fn number(path: &Path) -> Outcome<u64> {
    match attribute(path) {
        Outcome::Value(text) => match text.parse() {
            Ok(number) => Outcome::Value(number),
            Err(_) => Outcome::Unreadable(format!("{} says {}, not a number", path.display(), quoted(&text))),
        },
        Outcome::Absent => Outcome::Absent,
        Outcome::Unreadable(why) => Outcome::Unreadable(why),
    }
}

/// A number that has to be there because what it belongs to is there: missing is unreadable.
#[must_use]
pub fn number_of_present(path: &Path) -> Outcome<u64> {
    match number(path) {
        Outcome::Absent => Outcome::Unreadable(format!("{} is missing or empty", path.display())),
        outcome => outcome,
    }
}

/// The names in a directory, ordered. No directory is absent; one with more than `entries_max` is not
/// believed, and one that cannot be listed whole is unreadable.
#[must_use]
pub fn names(directory: &Path, entries_max: usize) -> Outcome<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Outcome::Absent,
        Err(error) => return unreadable(directory, &error),
    };
    let mut names = Vec::new();
    for entry in entries {
        match entry {
            Ok(_) if names.len() == entries_max => {
                let place = directory.display();
                return Outcome::Unreadable(format!("{place} has more than {entries_max} entries"));
            }
            Ok(entry) => names.push(entry.file_name().to_string_lossy().into_owned()),
            Err(error) => return unreadable(directory, &error),
        }
    }
    names.sort_unstable();
    Outcome::Value(names)
}

/// A text from outside as it may be shown: quoted, control characters escaped, and short.
#[must_use]
pub fn quoted(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let more = if text.chars().nth(CHARACTERS_MAX).is_some() { "…" } else { "" };
    format!("{:?}{more}", text.chars().take(CHARACTERS_MAX).collect::<String>())
}

/// "Could not read", with the object named.
#[must_use]
pub fn unreadable<T>(path: &Path, error: &io::Error) -> Outcome<T> {
    Outcome::Unreadable(format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_missing_full_or_no_directory_are_three_things() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("class");
        assert_eq!(names(&directory, 2), Outcome::Absent);
        std::fs::create_dir(&directory).unwrap();
        for name in ["b", "a"] {
            std::fs::write(directory.join(name), "").unwrap();
        }
        assert_eq!(names(&directory, 2), Outcome::Value(vec!["a".to_owned(), "b".to_owned()]));
        assert!(matches!(names(&directory, 1), Outcome::Unreadable(_)));
        assert!(matches!(names(&directory.join("a"), 1), Outcome::Unreadable(_)));
    }

    #[test]
    fn an_absurd_number_is_told_short_and_harmless() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("count");
        assert!(matches!(number_of_present(&file), Outcome::Unreadable(_)));
        std::fs::write(&file, format!("\u{1b}[2J{}", "9".repeat(5000))).unwrap();
        let Outcome::Unreadable(why) = number(&file) else { panic!("a number") };
        assert!(why.contains("\\u{1b}") && why.len() < 400, "{why}");
    }
}
