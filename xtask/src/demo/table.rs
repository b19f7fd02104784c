//! The table at the end of the demo.

use std::time::Duration;

use reprieve_tests::scenario::stage::Outcome;

const HEAD: [&str; 13] = [
    "case",
    "machine",
    "hardware",
    "verdict",
    "read",
    "fetched",
    "written",
    "boot s",
    "look s",
    "act s",
    "up s",
    "all s",
    "main reason",
];

/// All outcomes as a Markdown table, which reads well on a terminal too.
pub fn render(outcomes: &[Outcome]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(outcomes.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut lines = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        lines.push(format!("| {} |", cells.join(" | ")));
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            lines.push(format!("| {} |", rules.join(" | ")));
        }
    }
    lines.join("\n") + "\n"
}

fn row(outcome: &Outcome) -> Vec<String> {
    let phases = &outcome.phases;
    let all = phases.boot + phases.look + phases.act + phases.up;
    vec![
        outcome.case.clone(),
        outcome.machine.clone(),
        outcome.hardware.clone(),
        verdict(outcome),
        bytes(outcome.counters.read_bytes),
        bytes(outcome.fetched_bytes),
        bytes(outcome.counters.written_bytes),
        seconds(phases.boot),
        seconds(phases.look),
        seconds(phases.act),
        seconds(phases.up),
        seconds(all),
        outcome.reason.clone(),
    ]
}

/// One outcome in a line, while the demo runs.
pub fn line(outcome: &Outcome) -> String {
    let phases = &outcome.phases;
    format!(
        "{}: {}: {} ({}); written {}, fetched {}; boot {} s, look {} s, act {} s, up {} s",
        outcome.machine,
        outcome.case,
        verdict(outcome),
        outcome.reason,
        bytes(outcome.counters.written_bytes),
        bytes(outcome.fetched_bytes),
        seconds(phases.boot),
        seconds(phases.look),
        seconds(phases.act),
        seconds(phases.up),
    )
}

fn verdict(outcome: &Outcome) -> String {
    format!("{:?}", outcome.action).to_lowercase()
}

fn seconds(duration: Duration) -> String {
    format!("{:.0}", duration.as_secs_f64())
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    // For people: the rounding of a division does not matter.
    #[allow(clippy::cast_precision_loss)]
    let count_float = count as f64;
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count_float / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count_float / 1_048_576.0),
        _ => format!("{:.2} GiB", count_float / 1_073_741_824.0),
    }
}
