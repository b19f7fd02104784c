//! `[[log_pattern]]`: the operator's own patterns for the kernel's log. Agents get them with the policy and look
//! for them, in the ramdisk as in the running system; what they find is judged by `kernel.operator_matches`.

use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::section::BadValue;

/// How many patterns there may be: each line of the log is compared with each.
pub const LOG_PATTERNS_MAX: usize = 64;
const NAME_CHARACTERS_MAX: usize = 60;
/// A text of one letter would match everything.
const TEXT_CHARACTERS_MIN: usize = 4;
const PATTERN_CHARACTERS_MAX: usize = 1000;
/// Largest compiled expression: the time that a line takes grows with it.
const REGEX_BYTES_MAX: usize = 64 << 10;

/// One pattern as it is written: a text that a line has in it, or a regular expression that it matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPattern {
    /// What people call it; what is told of a line begins with it.
    pub name: String,
    /// What a line has in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What a line matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// A pattern, ready to be compared with lines.
#[derive(Debug, Clone)]
pub struct LogMatcher {
    name: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Text(String),
    Regex(Regex),
}

impl LogPattern {
    /// Makes it ready.
    ///
    /// # Errors
    /// In words: a name that cannot be shown, a text that is too short, an expression that cannot be used, or
    /// that would match every line.
    pub fn matcher(&self) -> Result<LogMatcher, String> {
        let characters = self.name.chars().count();
        if characters == 0 || characters > NAME_CHARACTERS_MAX || self.name.chars().any(char::is_control) {
            let problem = format!("must have 1 to {NAME_CHARACTERS_MAX} printable characters");
            return Err(format!("the name {} {problem}", self.shown_name()));
        }
        let name = self.shown_name();
        let what = match (&self.text, &self.regex) {
            (Some(long), None) | (None, Some(long)) if long.chars().count() > PATTERN_CHARACTERS_MAX => {
                return Err(format!("{name} has more than {PATTERN_CHARACTERS_MAX} characters"));
            }
            (Some(text), None) if text.chars().count() >= TEXT_CHARACTERS_MIN => What::Text(text.clone()),
            (Some(_), None) => {
                return Err(format!(
                    "the text of {name} must have at least {TEXT_CHARACTERS_MIN} characters"
                ));
            }
            (None, Some(regex)) => What::Regex(compiled(regex).map_err(|why| format!("{name}: {why}"))?),
            _ => return Err(format!("{name} must have either text or regex")),
        };
        Ok(LogMatcher { name: self.name.clone(), what })
    }

    fn shown_name(&self) -> String {
        format!("{:?}", self.name.chars().take(NAME_CHARACTERS_MAX).collect::<String>())
    }
}

impl LogMatcher {
    /// What is told of a line, if it is one of these.
    #[must_use]
    pub fn tell(&self, line: &str) -> Option<String> {
        let matches = match &self.what {
            What::Text(text) => line.contains(text),
            What::Regex(regex) => regex.is_match(line),
        };
        matches.then(|| format!("{}: {line}", self.name))
    }

    /// Tells it from every other pattern, so that a changed one counts anew.
    #[must_use]
    pub fn identity(&self) -> String {
        match &self.what {
            What::Text(text) => format!("{}\ntext\n{text}", self.name),
            What::Regex(regex) => format!("{}\nregex\n{}", self.name, regex.as_str()),
        }
    }
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
    match regex.map_err(|error| format!("the regex cannot be used: {error}"))? {
        regex if regex.is_match("") => Err("the regex matches every line".to_owned()),
        regex => Ok(regex),
    }
}

/// The first pattern that cannot be meant, by name.
pub(super) fn check(patterns: &[LogPattern]) -> Result<(), (String, BadValue)> {
    if patterns.len() > LOG_PATTERNS_MAX {
        let problem = format!("there are more than {LOG_PATTERNS_MAX} patterns");
        return Err((String::new(), BadValue::new("log_pattern", problem)));
    }
    for (at, pattern) in patterns.iter().enumerate() {
        let bad = |key, problem: String| (pattern.name.clone(), BadValue::new(key, problem));
        let key = if pattern.regex.is_some() { "regex" } else { "text" };
        pattern.matcher().map_err(|why| bad(key, why))?;
        if patterns[..at].iter().any(|other| other.name == pattern.name) {
            return Err(bad("name", "is there twice".to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::policy::Policy;

    fn pattern(text: Option<&str>, regex: Option<&str>) -> LogPattern {
        LogPattern { name: "fan".to_owned(), text: text.map(str::to_owned), regex: regex.map(str::to_owned) }
    }

    #[test]
    fn a_line_is_told_with_the_name_of_its_pattern() {
        let text = pattern(Some("controller lost"), None).matcher().unwrap();
        assert_eq!(text.tell("hwmon: controller lost").as_deref(), Some("fan: hwmon: controller lost"));
        assert_eq!(text.tell("controller is fine"), None);
        let regex = pattern(None, Some(r"acme\d+: (error|failure)")).matcher().unwrap();
        assert_eq!(regex.tell("acme12: failure").as_deref(), Some("fan: acme12: failure"));
        assert_eq!(regex.tell("acme: failure"), None);
        assert_ne!(text.identity(), regex.identity());
    }

    #[test]
    fn layers_add_their_patterns_and_agents_get_all_of_them() {
        let one = |name: &str| format!("[[log_pattern]]\nname = \"{name}\"\ntext = \"controller lost\"\n");
        let policy = Policy::layered(&[("site", &one("fan")), ("pool", &one("own driver"))]).unwrap();
        let names = |policy: &Policy| {
            policy.log_patterns().iter().map(|pattern| pattern.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&policy), ["fan", "own driver"]);
        assert_eq!(names(&Policy::parse(policy.canonical_text()).unwrap()), names(&policy));
        assert_ne!(policy.digest(), Policy::parse("").unwrap().digest());
    }

    #[test]
    fn a_pattern_that_cannot_be_meant_is_refused_with_its_line() {
        let many: String = (0..=LOG_PATTERNS_MAX)
            .map(|n| format!("[[log_pattern]]\nname = \"{n}\"\ntext = \"long enough\"\n"))
            .collect();
        let long = format!("[[log_pattern]]\nname = \"a\"\ntext = \"{}\"\n", "x".repeat(1001));
        let cases = [
            ("[[log_pattern]]\nname = \"a\"\ntext = \"fan\"\n", 3, "at least 4"),
            ("[[log_pattern]]\nname = \"a\"\n", 1, "either text or regex"),
            ("[[log_pattern]]\nname = \"a\"\ntext = \"long\"\nregex = \"x\"\n", 4, "either text or regex"),
            ("[[log_pattern]]\nname = \"a\"\nregex = \"(\"\n", 3, "cannot be used"),
            ("[[log_pattern]]\nname = \"a\"\nregex = \"x*\"\n", 3, "every line"),
            ("[[log_pattern]]\nname = \"a\"\nregex = \"(x{1000}){1000}\"\n", 3, "cannot be used"),
            ("[[log_pattern]]\nname = \"\"\ntext = \"long enough\"\n", 3, "1 to 60"),
            ("[[log_pattern]]\nname = \"a\"\ntxt = \"long enough\"\n", 3, "unknown field"),
            (&long, 3, "1000 characters"),
            (&many, 0, "more than 64"),
        ];
        for (text, line, problem) in cases {
            let error = Policy::parse(text).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert_eq!(error.line, line, "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_regex_is_survived(regex in any::<String>(), line in any::<String>()) {
            if let Ok(matcher) = pattern(None, Some(&regex)).matcher() {
                let _ = matcher.tell(&line);
            }
        }
    }
}
