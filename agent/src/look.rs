//! `look`: what each of the thirty checks sees on this machine, or in a recorded tree of one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use contract::id::NodeId;
use contract::reading::{Outcome, Reading, Tier, Trust};
use uuid::Uuid;

use crate::clock::Clock;
use crate::probe::catalogue::CHECKS;
use crate::probe::check::Check;
use crate::probe::deep::{self, Effort};
use crate::probe::evidence::{Look, Looking, look as look_at};
use crate::probe::gpu_test;
use crate::probe::kernel_log::KernelLog;
use crate::probe::machine::{Spent, timed};
use crate::probe::source::Source;

/// What `look` takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// JSON instead of a table: the evidence as the service would get it.
    #[arg(long)]
    json: bool,
    /// Look at a recorded tree of /sys, /proc and /dev instead of the machine.
    #[arg(long, value_name = "DIR", conflicts_with = "deep")]
    sysroot: Option<PathBuf>,
    /// Make processors and memory work too, for half a second.
    #[arg(long)]
    deep: bool,
    /// Make them work for this long, and then the GPUs for up to a tenth of it.
    #[arg(long, value_name = "SECONDS", requires = "deep", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: Option<u32>,
}

/// Looks, and says what was seen. Judges nothing, asks nobody, and changes nothing.
///
/// # Errors
/// If it cannot be printed.
pub fn look(options: &Options) -> anyhow::Result<()> {
    let began = Instant::now();
    let seen = look_now(options);
    if options.json {
        println!("{}", serde_json::to_string_pretty(&seen.evidence)?);
    } else {
        print!("{}", table(&seen, began.elapsed()));
    }
    Ok(())
}

fn look_now(options: &Options) -> Look {
    let looking = Looking {
        node: NodeId(Uuid::nil()),
        tier: if options.deep { Tier::T2 } else { Tier::T1 },
        trust: Trust::Resident,
        source: options.sysroot.as_deref().map_or_else(Source::machine, Source::recorded),
        clock: Clock::machine(),
    };
    let mut seen = look_at(&looking, &mut KernelLog::default());
    if let Some(seconds) = options.seconds {
        let time = Duration::from_secs(seconds.into());
        let found = timed(&mut seen.spent, &[29], || {
            let mut found = deep::read(&looking.source, Effort::burn_in(time));
            found.extend(gpu_test::read(&looking.source, time));
            found
        });
        seen.add(found, &looking.clock);
        seen.evidence.tier = Tier::T3;
    }
    seen
}

/// A row for each check, and below it what could not be seen and why.
fn table(seen: &Look, took: Duration) -> String {
    let times = times(&seen.spent);
    let width = CHECKS.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for check in CHECKS {
        let time =
            times.get(&check.number).map_or_else(String::new, |time| format!("{} ms", time.as_millis()));
        let looked = times.contains_key(&check.number);
        let (summary, reasons) = summary(check, &seen.evidence.readings, looked);
        let tier = format!("{:?}", check.tier);
        let row = format!("{:>2}  {:width$}  {tier}  {time:>7}  {summary}", check.number, check.name);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", row.trim_end());
        for reason in reasons {
            let _ = writeln!(text, "      {reason}");
        }
    }
    let _ = writeln!(
        text,
        "\nAll of it took {} ms. Times are of all checks that look together.",
        took.as_millis()
    );
    text
}

fn times(spent: &[Spent]) -> BTreeMap<u8, Duration> {
    let mut times = BTreeMap::new();
    for one in spent {
        for check in one.checks {
            *times.entry(*check).or_default() += one.time;
        }
    }
    times
}

/// How many readings a check gave, and each reason why one could not be had, once.
fn summary(check: &Check, readings: &[Reading], looked: bool) -> (String, Vec<String>) {
    const REASONS_MAX: usize = 5;
    if check.keys.is_empty() {
        return (check.reads.to_owned(), Vec::new());
    }
    let (mut seen, mut absent, mut unreadable) = (0_usize, 0_usize, 0_usize);
    let mut reasons: Vec<String> = Vec::new();
    for reading in readings.iter().filter(|reading| check.keys.contains(&reading.key)) {
        match &reading.outcome {
            Outcome::Value(_) => seen += 1,
            Outcome::Absent => absent += 1,
            Outcome::Unreadable(why) => {
                unreadable += 1;
                let reason = harmless(&format!("{}, {}: {why}", reading.subject, reading.key));
                reasons.push(format!("could not be seen: {reason}"));
            }
        }
    }
    if seen + absent + unreadable == 0 && looked {
        return ("looked, and nothing is here that it is about".to_owned(), Vec::new());
    }
    if seen + absent + unreadable == 0 {
        return (format!("not looked at; it is seen in: {}", check.reads), Vec::new());
    }
    if reasons.len() > REASONS_MAX {
        let more = reasons.len() - REASONS_MAX;
        reasons.truncate(REASONS_MAX);
        reasons.push(format!("… and {more} more"));
    }
    let parts = [(seen, "seen"), (absent, "not there"), (unreadable, "COULD NOT BE SEEN")];
    let told: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !reasons.is_empty() {
        reasons.push(format!("judged by {}", check.rules.join(", ")));
    }
    (told.join(", "), reasons)
}

/// Without what a terminal would obey: a part of this came from disks, firmware and logs.
fn harmless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::recorded::Tree;
    use crate::probe::server_tree::server;

    fn at(tree: &Tree, json: bool) -> Options {
        Options { json, sysroot: Some(tree.path("")), deep: false, seconds: None }
    }

    #[test]
    fn every_check_has_its_row_and_what_could_not_be_seen_its_reason() {
        let tree = server();
        std::fs::remove_file(tree.path("sys/devices/system/edac/mc/mc1/ue_count")).unwrap();
        let text = table(&look_now(&at(&tree, false)), Duration::from_millis(7));
        for check in CHECKS {
            assert!(text.contains(check.name), "{} is not in:\n{text}", check.name);
        }
        assert!(text.contains("mc1/ue_count is missing or empty"), "{text}");
        assert!(text.contains("All of it took 7 ms"));
        look(&at(&tree, true)).unwrap();
        look(&at(&Tree::new(), false)).unwrap();
    }

    #[test]
    fn what_a_part_says_of_itself_does_not_move_the_cursor() {
        assert_eq!(harmless("a\u{1b}[2Jb\n"), "a[2Jb");
    }
}
