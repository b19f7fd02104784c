//! The firmware's variables, as efivarfs shows them: a file each, with four bytes of attributes before
//! the value.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::boot_entry::{BootEntry, parse_entry, parse_numbers};
use crate::probe::source::{self, Source};

/// The vendor GUID of the firmware's own variables.
pub const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Where the kernel shows them.
const VARIABLES: &str = "sys/firmware/efi/efivars";
/// No firmware has more entries worth looking at.
const ENTRIES_MAX: usize = 1024;
/// Kept over a reset, and seen before and after the firmware hands over.
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];

/// The firmware's variables.
#[derive(Debug, Clone)]
pub struct Variables {
    directory: PathBuf,
}

/// One `Boot####` variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedEntry {
    /// Its number.
    pub number: u16,
    /// The `EFI_LOAD_OPTION`; none if the variable could not be read.
    pub option: Option<Vec<u8>>,
    /// What it says, if that can be understood.
    pub entry: Option<BootEntry>,
}

impl Variables {
    /// Those of the machine.
    #[must_use]
    pub fn of(source: &Source) -> Self {
        Self { directory: source.path(VARIABLES) }
    }

    /// Those in this folder.
    #[cfg(test)]
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}-{GLOBAL}"))
    }

    /// The numbers in `BootOrder`, `BootCurrent` or `BootNext`; none if there is no such variable.
    ///
    /// # Errors
    /// If it is there and cannot be read, or is no list of numbers.
    pub fn numbers(&self, name: &str) -> io::Result<Vec<u16>> {
        match source::read_bytes(&self.path(name)) {
            Ok(bytes) => parse_numbers(&bytes).ok_or_else(|| {
                let bytes = bytes.len();
                io::Error::other(format!("the firmware's {name} is no list of entries ({bytes} bytes)"))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// All `Boot####` variables, by their numbers.
    ///
    /// # Errors
    /// If they cannot be listed, or there are more than any firmware has.
    pub fn entries(&self) -> io::Result<Vec<NumberedEntry>> {
        let mut entries = Vec::new();
        for file in std::fs::read_dir(&self.directory)? {
            let file = file?;
            let name = file.file_name().to_string_lossy().into_owned();
            let Some(number) = entry_number(&name) else { continue };
            if entries.len() >= ENTRIES_MAX {
                return Err(io::Error::other(format!("there are more than {ENTRIES_MAX} boot entries")));
            }
            let bytes = source::read_bytes(&file.path()).ok();
            let entry = bytes.as_deref().and_then(parse_entry);
            let option = bytes.and_then(|bytes| bytes.get(ATTRIBUTES.len()..).map(<[u8]>::to_vec));
            entries.push(NumberedEntry { number, option, entry });
        }
        entries.sort_by_key(|entry| entry.number);
        Ok(entries)
    }

    /// Writes a variable and reads it back. One write: efivarfs takes a variable whole or not at all.
    ///
    /// # Errors
    /// If the firmware does not take it or does not keep it.
    pub fn write(&self, name: &str, value: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        let bytes = [&ATTRIBUTES, value].concat();
        make_mutable(&path);
        std::fs::write(&path, &bytes)?;
        match source::read_bytes(&path)? == bytes {
            true => Ok(()),
            false => Err(io::Error::other(format!("the firmware did not keep {name}"))),
        }
    }

    /// Takes a variable away and makes sure that it is gone.
    ///
    /// # Errors
    /// If the firmware does not let it go.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        make_mutable(&path);
        std::fs::remove_file(&path)?;
        match path.exists() {
            false => Ok(()),
            true => Err(io::Error::other(format!("the firmware kept {name}"))),
        }
    }
}

/// The kernel marks variables that it does not know immutable, against careless hands. Best effort: a
/// file that stays immutable refuses to be written, which is told.
fn make_mutable(path: &Path) {
    let Ok(file) = std::fs::File::open(path) else { return };
    if let Ok(flags) = ioctl_getflags(&file)
        && flags.contains(IFlags::IMMUTABLE)
    {
        let _ = ioctl_setflags(&file, flags.difference(IFlags::IMMUTABLE));
    }
}

/// `Boot0003-8be4df61-…` is 3.
fn entry_number(file_name: &str) -> Option<u16> {
    let digits = file_name.strip_prefix("Boot")?.strip_suffix(GLOBAL)?.strip_suffix('-')?;
    // No sign and no lower case: the specification has four upper-case digits (section 3.1).
    let digit = |c: char| c.is_ascii_digit() || ('A'..='F').contains(&c);
    if digits.len() == 4 && digits.chars().all(digit) { u16::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{GLOBAL, Variables, entry_number};
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

    #[test]
    fn only_numbered_entries_count() {
        assert_eq!(entry_number(&format!("Boot00A3-{GLOBAL}")), Some(0xa3));
        let others = [
            format!("BootOrder-{GLOBAL}"),
            format!("BootNext-{GLOBAL}"),
            format!("Boot+0A3-{GLOBAL}"),
            "Boot0001-other".to_owned(),
        ];
        for name in others {
            assert_eq!(entry_number(&name), None, "{name}");
        }
    }

    #[test]
    fn an_immutable_variable_is_written_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let variables = Variables::in_directory(folder.path());
        variables.write("BootOrder", &[1, 0]).unwrap();
        let file = std::fs::File::open(folder.path().join(format!("BootOrder-{GLOBAL}"))).unwrap();
        let Ok(flags) = ioctl_getflags(&file) else { return };
        if ioctl_setflags(&file, flags | IFlags::IMMUTABLE).is_err() {
            eprintln!("this file system has no such flag, or this is not root; nothing was tried");
            return;
        }
        assert!(std::fs::write(folder.path().join(format!("BootOrder-{GLOBAL}")), [0]).is_err());
        variables.write("BootOrder", &[2, 0]).unwrap();
        assert_eq!(variables.numbers("BootOrder").unwrap(), [2]);
        variables.remove("BootOrder").unwrap();
        assert!(variables.numbers("BootOrder").unwrap().is_empty());
    }
}
