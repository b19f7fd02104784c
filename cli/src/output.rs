//! How things look: tables, sizes, times, JSON. Text from the service and from machines is cleaned of
//! control characters before it reaches a terminal.

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use contract::id::UnixMillis;
use serde::Serialize;

/// Prints to standard output; a closed pipe (`| head`) is not an error worth a word.
pub fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("could not write the result"),
    }
}

/// Prints JSON for programs.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value).context("could not encode the result")?)
}

/// A table with these headings.
pub fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    table
}

/// A table without headings, for one thing's properties; properties without a value are left out.
pub fn properties(rows: Vec<(&str, Option<String>)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    for (name, value) in rows {
        if let Some(value) = value {
            table.add_row([name.to_owned(), value]);
        }
    }
    trimmed(&table)
}

/// A table as text without blanks at the ends of lines.
pub fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Text from outside without control characters.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Bytes for people: `12.3 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut rest = count as f64;
    while rest >= 1024.0 && unit + 1 < UNITS.len() {
        rest /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{rest:.1} {}", UNITS[unit]) }
}

/// A time for people, in the local time zone.
pub fn time(at: UnixMillis) -> String {
    let timestamp =
        i64::try_from(at.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    match timestamp {
        Some(timestamp) => {
            timestamp.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        None => format!("{} ms", at.0),
    }
}

/// The first part of an id, as it is enough for people and for the command. Ids of nodes and jobs
/// begin with the time, in milliseconds in their first two groups; the first group alone is the same
/// for all that come in one minute.
pub fn short(id: &impl std::fmt::Display) -> String {
    let text = id.to_string();
    let length = if text.contains('-') { 13 } else { 8 };
    text.chars().take(length).collect()
}

/// The name that a value has in JSON, such as `coming-up`.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, clean, properties, short};

    #[test]
    fn nodes_of_one_minute_are_told_apart() {
        assert_eq!(short(&"01a2006d-3051-74a9-96c2-d669aafac8a5"), "01a2006d-3051");
        assert_eq!(short(&"eac044d8e95e7727da5e7aa1"), "eac044d8");
    }

    #[test]
    fn sizes_are_readable() {
        let shown = [0, 1023, 1024, 1536, 3 << 30, u64::MAX].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "3.0 GiB", "16384.0 PiB"]);
    }

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\n");
    }

    #[test]
    fn properties_without_value_are_left_out() {
        let text = properties(vec![("a", Some("1".to_owned())), ("b", None)]);
        assert!(text.contains('a') && !text.contains('b'));
    }
}
