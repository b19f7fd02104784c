//! Why a policy text was not accepted: which file, which line, which key, and what was probably meant.

use super::section::BadValue;

/// How many letters may differ for a name to be suggested.
const DISTANCE_MAX: usize = 6;

/// Why a policy text was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}, line {line}, key {key:?}: {problem}{}; correct it, or leave the key out for the default",
    if layer.is_empty() { "policy" } else { layer.as_str() },
    suggestion.as_ref().map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
)]
pub struct PolicyError {
    /// The file it stands in, as it was named to [`super::Policy::layered`]; empty if it was not named.
    pub layer: String,
    /// The line in the text, from 1; 0 if the text as a whole is meant.
    pub line: usize,
    /// The key, as far as it is known.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
    /// The known name that is nearest to an unknown one.
    pub suggestion: Option<String>,
}

impl PolicyError {
    /// What the reader of TOML found.
    pub(crate) fn in_text(layer: &str, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.get(..start).map_or(0, |before| before.matches('\n').count());
        let key = text.lines().nth(line).unwrap_or_default();
        let key = key.split('=').next().unwrap_or_default().trim().chars().take(80).collect();
        let problem: String = error.message().chars().take(400).collect();
        let suggestion = suggestion(error.message());
        Self { layer: layer.to_owned(), line: line + 1, key, problem, suggestion }
    }

    /// What is wrong in a hold or a rule of this name.
    pub(super) fn of_entry(layer: &str, text: &str, list: &str, name: &str, bad: BadValue) -> Self {
        let line = line_in_list(text, list, name, &bad.key);
        let key = if name.is_empty() { bad.key } else { format!("{name}.{}", bad.key) };
        let key = key.chars().take(160).collect();
        Self { layer: layer.to_owned(), line, key, problem: bad.problem, suggestion: None }
    }

    /// The policy as a whole could not be written down.
    pub(crate) fn whole(error: &dyn std::fmt::Display) -> Self {
        let problem = format!("could not be put into its canonical form: {error}");
        Self { layer: String::new(), line: 0, key: String::new(), problem, suggestion: None }
    }

    /// What is out of range, in the section where it stands.
    pub(crate) fn of_value(layer: &str, text: &str, section: &str, bad: BadValue) -> Self {
        let line = line_of(text, section, &bad.key);
        Self { layer: layer.to_owned(), line, key: bad.key, problem: bad.problem, suggestion: None }
    }
}

/// The known name nearest to the unknown one. Serde names the unknown first and then all that are known,
/// each between backticks.
pub(super) fn suggestion(message: &str) -> Option<String> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    nearest(unknown, names).map(str::to_owned)
}

/// The nearest of these names, if any is near at all.
pub(crate) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &&str| strsim::damerau_levenshtein(unknown, name);
    let best = known.take(1000).min_by_key(near)?;
    let distance_max = DISTANCE_MAX.min(unknown.chars().count().max(best.chars().count()) / 2);
    (unknown.len() <= 200 && near(&best) <= distance_max).then_some(best)
}

/// The line on which a key of the entry with this name stands, of the entry itself if it lacks the key; 0 if
/// there is no such entry.
fn line_in_list(text: &str, list: &str, name: &str, key: &str) -> usize {
    let header = format!("[[{list}]]");
    let (mut entry, mut named, mut found) = (0, false, 0);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            if named {
                break;
            }
            (entry, found) = (if line.starts_with(&header) { at + 1 } else { 0 }, 0);
        } else if let (true, Some((left, right))) = (entry > 0, line.split_once('=')) {
            named |= left.trim() == "name" && right.trim().trim_matches(['"', '\'']) == name;
            found = if left.trim() == key { at + 1 } else { found };
        }
    }
    if named && found > 0 { found } else { usize::from(named) * entry }
}

/// The line on which a key of a section stands; 0 if it does not.
pub(super) fn line_of(text: &str, section: &str, key: &str) -> usize {
    let mut inside = "";
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = name.trim();
        }
        let (name, dotted) = line.split_once('=').map_or((line, false), |(name, _)| (name.trim(), true));
        let whole = if inside.is_empty() { name.to_owned() } else { format!("{inside}.{name}") };
        if dotted && whole == format!("{section}.{key}") {
            return at + 1;
        }
    }
    0
}
