//! The operator's own patterns for the kernel's log: `/etc/reprieve/kernel-log-patterns.toml`.
//!
//! ```toml
//! [[pattern]]
//! name = "fan controller"
//! text = "fan controller does not answer"
//!
//! [[pattern]]
//! name = "own driver"
//! regex = 'acme\d+: (error|failure) 0x[0-9a-f]+'
//! ```

use std::io;

use contract::reading::Outcome;
use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::probe::source::{self, Source};

/// Where the file stands.
pub const FILE: &str = "etc/reprieve/kernel-log-patterns.toml";
/// Each line of the log is compared with each pattern.
const PATTERNS_MAX: usize = 64;
/// Longest name and shortest text: a text of one letter would match everything.
const NAME_CHARACTERS_MAX: usize = 60;
const TEXT_CHARACTERS_MIN: usize = 4;
/// Largest compiled expression: the time that a line takes grows with it.
const REGEX_BYTES_MAX: usize = 64 << 10;

/// One pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    name: String,
    matcher: Matcher,
}

/// What a line must have in it.
#[derive(Debug, Clone)]
enum Matcher {
    Text(String),
    Regex(Regex),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatternFile {
    #[serde(default)]
    pattern: Vec<Entry>,
}

/// A pattern as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    text: Option<String>,
    regex: Option<String>,
}

impl Pattern {
    /// What is told of a line, if it is one of these.
    #[must_use]
    pub fn tell(&self, line: &str) -> Option<String> {
        let matches = match &self.matcher {
            Matcher::Text(text) => line.contains(text),
            Matcher::Regex(regex) => regex.is_match(line),
        };
        matches.then(|| format!("{}: {line}", self.name))
    }

    /// Tells it from every other pattern, so that a changed one counts anew.
    #[must_use]
    pub fn identity(&self) -> String {
        match &self.matcher {
            Matcher::Text(text) => format!("{}\ntext\n{text}", self.name),
            Matcher::Regex(regex) => format!("{}\nregex\n{}", self.name, regex.as_str()),
        }
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
    let entries = toml::from_str::<PatternFile>(text).map_err(|error| in_one_line(&error, text))?.pattern;
    if entries.len() > PATTERNS_MAX {
        return Err(format!("it has {} patterns; {PATTERNS_MAX} are allowed", entries.len()));
    }
    let mut patterns: Vec<Pattern> = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        if patterns.iter().any(|earlier| earlier.name == entry.name) {
            return Err(format!("two patterns are named {}", source::quoted(&entry.name)));
        }
        patterns.push(understood(entry).map_err(|why| format!("pattern {number}: {why}"))?);
    }
    Ok(patterns)
}

/// The library's own words show the place in several lines, which is no reason to put beside a reading.
fn in_one_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("line {line}: {}", error.message().replace('\n', " "))
}

fn understood(entry: Entry) -> Result<Pattern, String> {
    let name = source::quoted(&entry.name);
    let characters = entry.name.chars().count();
    if characters == 0 || characters > NAME_CHARACTERS_MAX || entry.name.chars().any(char::is_control) {
        return Err(format!("the name {name} must have 1 to {NAME_CHARACTERS_MAX} printable characters"));
    }
    let matcher = match (entry.text, entry.regex) {
        (Some(text), None) if text.chars().count() >= TEXT_CHARACTERS_MIN => Matcher::Text(text),
        (Some(_), None) => {
            return Err(format!("the text of {name} must have at least {TEXT_CHARACTERS_MIN} characters"));
        }
        (None, Some(regex)) => Matcher::Regex(compiled(&regex).map_err(|why| format!("{name}: {why}"))?),
        _ => return Err(format!("{name} must have either text or regex")),
    };
    Ok(Pattern { name: entry.name, matcher })
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
    match regex.map_err(|error| format!("the regex cannot be used: {error}"))? {
        regex if regex.is_match("") => Err("the regex matches every line".to_owned()),
        regex => Ok(regex),
    }
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
        assert!(matches!(read(&tree.source()), Outcome::Absent));
        tree.write(FILE, GOOD);
        let Outcome::Value(patterns) = read(&tree.source()) else { panic!("unreadable") };
        let told = patterns[0].tell("hwmon: fan controller lost again");
        assert_eq!(told.as_deref(), Some("fan: hwmon: fan controller lost again"));
        assert_eq!(patterns[0].tell("fan controller is fine"), None);
        let other = "[[pattern]]\nname = \"own\"\nregex = 'acme\\d+: (error|failure)'\n";
        let patterns = parse(other.as_bytes()).unwrap();
        assert_eq!(patterns[0].tell("acme12: failure").as_deref(), Some("own: acme12: failure"));
        assert_eq!(patterns[0].tell("acme: failure"), None);
    }

    #[test]
    fn what_is_wrong_is_refused_and_said_where() {
        let twice = format!("{GOOD}{GOOD}");
        let many: String =
            (0..=PATTERNS_MAX).map(|n| GOOD.replace("\"fan\"", &format!("\"f{n}\""))).collect();
        let cases = [
            ("[[pattern]]\nname = \"fan\"\ntxt = \"x\"\n", "line 3"),
            ("[[patern]]\n", "line 1"),
            ("[[pattern]]\nname = \"\"\ntext = \"long enough\"\n", "pattern 1"),
            ("[[pattern]]\nname = \"fan\"\ntext = \"fan\"\n", "at least 4"),
            ("[[pattern]]\nname = \"fan\"\n", "either text or regex"),
            ("[[pattern]]\nname = \"fan\"\ntext = \"long enough\"\nregex = \"x\"\n", "either text or regex"),
            ("[[pattern]]\nname = \"fan\"\nregex = \"(\"\n", "cannot be used"),
            ("[[pattern]]\nname = \"fan\"\nregex = \"x*\"\n", "every line"),
            ("[[pattern]]\nname = \"fan\"\nregex = \"(x{1000}){1000}\"\n", "cannot be used"),
            (&twice, "two patterns"),
            (&many, "65 patterns"),
        ];
        for (text, expected) in cases {
            let why = parse(text.as_bytes()).unwrap_err();
            assert!(why.contains(expected) && !why.contains('\n'), "{text}: {why}");
        }
        assert!(parse(&[0xff]).is_err());
    }

    proptest! {
        #[test]
        fn any_file_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_regex_is_survived(pattern in any::<String>(), line in any::<String>()) {
            if let Ok(regex) = compiled(&pattern) {
                let _ = regex.is_match(&line);
            }
        }
    }
}
