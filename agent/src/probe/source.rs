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
            Err(_) => Outcome::Unreadable(format!("{} says {text:?}, not a number", path.display())),
        },
        Outcome::Absent => Outcome::Absent,
        Outcome::Unreadable(why) => Outcome::Unreadable(why),
    }
}

/// "Could not read", with the object named.
#[must_use]
pub fn unreadable<T>(path: &Path, error: &io::Error) -> Outcome<T> {
    Outcome::Unreadable(format!("cannot read {}: {error}", path.display()))
}
