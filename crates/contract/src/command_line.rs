//! What a node's kernels are started with: what the service knows of it, and a form that may be shown.

use serde::{Deserialize, Serialize};

use crate::reading::Outcome;

/// No kernel takes a longer line (x86-64 and arm64: 2048), in bytes.
pub const LINE_BYTES_MAX: usize = 4096;

/// What stands where a secret stood.
pub const REMOVED: &str = "(removed)";

/// A parameter with one of these in its name holds a secret.
const SECRETS: [&str; 5] = ["password", "passwd", "passphrase", "secret", "token"];

/// What the service knows of the lines that a node's kernels are started with; secrets are removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandLines {
    /// Of the running system with the assigned image: what it was when the system was found right. None where
    /// nobody has seen that yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Of the running system: what it reported last. None while what was written last has not reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_last: Option<Outcome<String>>,
    /// Of the ramdisk: the arguments that the boot script gave it last, beside Reprieve's own. None where no
    /// script was given yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramdisk: Option<String>,
}

impl CommandLines {
    /// Nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A word of a command line without the value of a parameter whose name says that it is secret.
#[must_use]
pub fn without_secret(word: &str) -> String {
    match word.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_secret(name) => format!("{name}={REMOVED}"),
        _ => word.to_owned(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

/// The words of a line as the kernel takes it apart: blanks between double quotes part nothing. The quotes
/// themselves are left out, and so are the values of secrets.
#[must_use]
pub fn words(line: &str) -> Vec<String> {
    let words = split(line).into_iter().map(|raw| without_secret(&raw.replace('"', "")));
    words.filter(|word| !word.is_empty()).collect()
}

/// The line with its quotes and without the values of secrets.
#[must_use]
pub fn without_secrets(line: &str) -> String {
    let shown = split(line).into_iter().map(|raw| {
        let plain = raw.replace('"', "");
        let shown = without_secret(&plain);
        if shown == plain { raw.to_owned() } else { shown }
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The words with their quotes.
fn split(line: &str) -> Vec<&str> {
    let mut quoted = false;
    let parts = line.split(move |letter: char| {
        quoted ^= letter == '"';
        letter.is_ascii_whitespace() && !quoted
    });
    parts.filter(|raw| !raw.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::proptest;

    #[test]
    fn a_line_is_taken_apart_as_the_kernel_does_and_holds_no_secrets() {
        let table: [(&str, &[&str]); 6] = [
            ("", &[]),
            ("  quiet\tro \n", &["quiet", "ro"]),
            ("a=\"b c\" \"init=/bin/sh\" d", &["a=b c", "init=/bin/sh", "d"]),
            ("a=\"b c", &["a=b c"]),
            (
                "rd.Password=x iscsi.PASSWD=y my_token=z",
                &["rd.Password=(removed)", "iscsi.PASSWD=(removed)", "my_token=(removed)"],
            ),
            ("\"token=a b\" token= tokens", &["token=(removed)", "token=", "tokens"]),
        ];
        for (line, expected) in table {
            assert_eq!(words(line), expected, "{line:?}");
            assert_eq!(words(&without_secrets(line)), expected, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_has_words_and_none_is_empty(line: String) {
            let found = words(&line);
            assert!(found.iter().all(|word| !word.is_empty()));
            assert!(found.len() <= line.len());
            assert_eq!(words(&without_secrets(&line)), found);
        }
    }
}
