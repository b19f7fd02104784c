//! The operator's own patterns for the kernel's log: `/etc/reprieve/kernel-log-patterns.toml`.
//!
//! ```toml
//! [[pattern]]
//! name = "fan controller"
//! text = "fan controller does not answer"
//! ```

use std::io;

use contract::reading::Outcome;
use serde::Deserialize;

use crate::probe::source::{self, Source};

/// Where the file stands.
pub const FILE: &str = "etc/reprieve/kernel-log-patterns.toml";
/// Each line of the log is compared with each pattern.
const PATTERNS_MAX: usize = 64;
/// Longest name and shortest text: a text of one letter would match everything.
const NAME_CHARACTERS_MAX: usize = 60;
const TEXT_CHARACTERS_MIN: usize = 4;

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    /// What its lines are told as.
    pub name: String,
    /// What a line has in it.
    pub text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatternFile {
    #[serde(default)]
    pattern: Vec<Pattern>,
}

impl Pattern {
    /// What is told of a line, if it is one of these.
    #[must_use]
    pub fn tell(&self, line: &str) -> Option<String> {
        line.contains(&self.text).then(|| format!("{}: {line}", self.name))
    }

    /// Tells it from every other pattern, so that a changed one counts anew.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}\n{}", self.name, self.text)
    }
}

/// The patterns; absent if there is no file.
#[must_use]
pub fn read(source: &Source) -> Outcome<Vec<Pattern>> {
    let path = source.path(FILE);
    match source::read_bytes(&path) {
        Ok(bytes) => match parse(&bytes) {
            Ok(patterns) => Outcome::Value(patterns),
            Err(why) => Outcome::Unreadable(format!("/{FILE} is refused: {why}")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Absent,
        Err(error) => source::unreadable(&path, &error),
    }
}

/// The patterns in a file.
///
/// # Errors
/// In words, with the line where TOML is wrong or a key is unknown; one bad pattern refuses all.
fn parse(bytes: &[u8]) -> Result<Vec<Pattern>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("it is not UTF-8: {error}"))?;
    let patterns = toml::from_str::<PatternFile>(text).map_err(|error| error.to_string())?.pattern;
    if patterns.len() > PATTERNS_MAX {
        return Err(format!("it has {} patterns; {PATTERNS_MAX} are allowed", patterns.len()));
    }
    for (index, pattern) in patterns.iter().enumerate() {
        refusal(pattern).map_or(Ok(()), |why| Err(format!("pattern {}: {why}", index + 1)))?;
        if patterns[..index].iter().any(|earlier| earlier.name == pattern.name) {
            return Err(format!("two patterns are named {}", source::quoted(&pattern.name)));
        }
    }
    Ok(patterns)
}

fn refusal(pattern: &Pattern) -> Option<String> {
    let name = source::quoted(&pattern.name);
    let characters = pattern.name.chars().count();
    if characters == 0 || characters > NAME_CHARACTERS_MAX || pattern.name.chars().any(char::is_control) {
        return Some(format!("the name {name} must have 1 to {NAME_CHARACTERS_MAX} printable characters"));
    }
    if pattern.text.chars().count() < TEXT_CHARACTERS_MIN {
        return Some(format!("the text of {name} must have at least {TEXT_CHARACTERS_MIN} characters"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use proptest::prelude::{any, proptest};

    const GOOD: &str = "[[pattern]]\nname = \"fan\"\ntext = \"fan controller lost\"\n";

    #[test]
    fn patterns_are_read_and_tell_their_lines() {
        let tree = Tree::new();
        assert_eq!(read(&tree.source()), Outcome::Absent);
        tree.write(FILE, GOOD);
        let Outcome::Value(patterns) = read(&tree.source()) else { panic!("unreadable") };
        let told = patterns[0].tell("hwmon: fan controller lost again");
        assert_eq!(told.as_deref(), Some("fan: hwmon: fan controller lost again"));
        assert_eq!(patterns[0].tell("fan controller is fine"), None);
    }

    #[test]
    fn what_is_wrong_is_refused_and_said_where() {
        let twice = format!("{GOOD}{GOOD}");
        let many: String = (0..=PATTERNS_MAX).map(|n| GOOD.replace("\"fan\"", &format!("\"f{n}\""))).collect();
        let cases = [
            ("[[pattern]]\nname = \"fan\"\ntxt = \"x\"\n", "line 3"),
            ("[[patern]]\n", "line 1"),
            ("[[pattern]]\nname = \"\"\ntext = \"long enough\"\n", "pattern 1"),
            ("[[pattern]]\nname = \"fan\"\ntext = \"fan\"\n", "at least 4"),
            (&twice, "two patterns"),
            (&many, "65 patterns"),
        ];
        for (text, expected) in cases {
            let why = parse(text.as_bytes()).unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
        assert!(parse(&[0xff]).is_err());
    }

    proptest! {
        #[test]
        fn any_file_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
