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
use serde::Deserialize;
use verdict::policy::{LOG_PATTERNS_MAX, LogMatcher, LogPattern, Policy};

use crate::probe::source::{self, Source};

/// Where the file stands.
pub const FILE: &str = "etc/reprieve/kernel-log-patterns.toml";

/// One pattern.
pub type Pattern = LogMatcher;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatternFile {
    #[serde(default)]
    pattern: Vec<LogPattern>,
}

/// The patterns of the service's policy.
///
/// # Errors
/// In words, if this version cannot read the policy.
pub fn of_policy(policy: &str) -> Result<Vec<Pattern>, String> {
    let policy = Policy::parse(policy).map_err(|error| error.to_string())?;
    policy.log_patterns().iter().map(LogPattern::matcher).collect()
}

/// The patterns of both, each once.
pub fn together(given: &[Pattern], own: &[Pattern]) -> Vec<Pattern> {
    let new = |one: &&Pattern| !given.iter().any(|other| other.identity() == one.identity());
    given.iter().chain(own.iter().filter(new)).cloned().collect()
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
    if entries.is_empty() {
        // A file that is being written looks like this; none would say "nothing found".
        return Err("it has no pattern; remove the file to look for none".to_owned());
    }
    if entries.len() > LOG_PATTERNS_MAX {
        return Err(format!("it has {} patterns; {LOG_PATTERNS_MAX} are allowed", entries.len()));
    }
    let mut patterns: Vec<Pattern> = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        if entries[..at].iter().any(|earlier| earlier.name == entry.name) {
            return Err(format!("two patterns are named {}", source::quoted(&entry.name)));
        }
        patterns.push(entry.matcher().map_err(|why| format!("pattern {}: {why}", at + 1))?);
    }
    Ok(patterns)
}

/// The library's own words show the place in several lines, which is no reason to put beside a reading.
fn in_one_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("line {line}: {}", error.message().replace('\n', " "))
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
            (0..=LOG_PATTERNS_MAX).map(|n| GOOD.replace("\"fan\"", &format!("\"f{n}\""))).collect();
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
    }
}
