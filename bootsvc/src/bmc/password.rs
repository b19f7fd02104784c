//! The password of a controller's user. It stands in a file of its own, which nobody else may read; it is read anew
//! for each look, so that it can be changed, and is in memory only while one lasts.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use contract::secret::Secret;

/// Longest password in bytes.
const PASSWORD_BYTES_MAX: u64 = 512;

/// Reads a password; one line.
///
/// # Errors
/// Says what is wrong with the file, never what is in it.
pub fn read(path: &Path) -> Result<Secret, String> {
    let problem = |what: &str| format!("the password file {} {what}", path.display());
    // Without blocking, should it be a pipe that nobody writes into.
    let opened =
        File::options().read(true).custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC).open(path);
    let file = opened.map_err(|error| problem(&format!("cannot be opened: {error}")))?;
    let facts = file.metadata().map_err(|error| problem(&format!("cannot be looked at: {error}")))?;
    if !facts.is_file() {
        return Err(problem("is no file"));
    }
    if facts.mode() & 0o077 != 0 {
        return Err(problem("may be read by others than its owner; chmod 600 it"));
    }
    let ours = nix::unistd::geteuid().as_raw();
    if facts.uid() != ours && facts.uid() != 0 {
        return Err(problem("belongs to another user; chown it to the service's user"));
    }
    let mut text = String::new();
    let read = file.take(PASSWORD_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|_| problem("cannot be read as text"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let usable =
        !line.is_empty() && text.len() as u64 <= PASSWORD_BYTES_MAX && !line.chars().any(char::is_control);
    if usable {
        Ok(Secret::new(line.to_owned()))
    } else {
        Err(problem("must hold one line of at most 512 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn only_a_file_of_its_owner_alone_is_read_and_never_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let with = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            read(&path)
        };
        assert_eq!(with("hunter2\n", 0o600).unwrap().reveal(), "hunter2");
        assert_eq!(with("hunter2", 0o400).unwrap().reveal(), "hunter2");
        for (text, mode, named) in [
            ("hunter2\n", 0o640, "chmod 600"),
            ("hunter2\n", 0o604, "chmod 600"),
            ("hunter2\nhunter3\n", 0o600, "one line"),
            ("", 0o600, "one line"),
            (&"hunter2".repeat(100), 0o600, "one line"),
        ] {
            let error = with(text, mode).unwrap_err();
            assert!(error.contains(named) && !error.contains("hunter"), "{error}");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert!(read(folder.path()).unwrap_err().contains("is no file"));
        assert!(read(&folder.path().join("none")).unwrap_err().contains("cannot be opened"));
    }
}
