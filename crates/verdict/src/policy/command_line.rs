//! `[command_line]`: what follows from a kernel that is started with other words than it should be.

use contract::command_line::LINE_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::limits::Response;
use super::section::{BadValue, section};

/// More words than a line has room for help nobody.
const WORDS_MAX: usize = 500;

/// What follows from another command line of the running system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LineResponse {
    Ignore,
    Watch,
    Reimage,
    Quarantine,
}

section!(
    /// The words that kernels are started with.
    CommandLinePolicy, CommandLineFragment {
        changed: LineResponse,
        weakened: LineResponse,
        ramdisk_changed: Response,
        ramdisk_weakened: Response,
        weakening: Vec<String>,
        guarded: Vec<String>,
    } also check
);

fn check(policy: &CommandLinePolicy) -> Result<(), BadValue> {
    for (key, words) in [("weakening", &policy.weakening), ("guarded", &policy.guarded)] {
        if words.len() > WORDS_MAX {
            return Err(BadValue::new(key, format!("has more than {WORDS_MAX} words")));
        }
        let wrong = |word: &&String| {
            word.is_empty()
                || word.starts_with('=')
                || word.len() > LINE_BYTES_MAX
                || word.contains(|letter: char| letter == '"' || !letter.is_ascii_graphic())
        };
        if let Some(word) = words.iter().find(wrong) {
            let problem =
                format!("{word:?} is no word of a command line; write \"name\", \"name=\" or \"name=value\"");
            return Err(BadValue::new(key, problem));
        }
    }
    Ok(())
}
