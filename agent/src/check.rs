//! `check` and `inventory`: what a person on the machine gets to see.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use contract::decision::Decision;
use contract::evidence::Evidence;
use contract::id::NodeId;
use contract::inventory::Inventory;
use contract::reading::{Outcome, Tier};
use serde::Serialize;
use uuid::Uuid;

use crate::clock::Clock;
use crate::probe::source::Source;
use crate::probe::{disks, gpus, inventory as inventory_probe, kernel};
use crate::resident::examine::{Examination, examine, judge};
use crate::resident::state::{self, State};

/// What `check --json` prints.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    evidence: &'a Evidence,
    /// None where the service has never said what to judge with.
    decision: Option<&'a Decision>,
}

/// Looks and judges, with what the service last said.
///
/// # Errors
/// If the last context holds a policy that this version cannot read.
pub fn check(json: bool, sysroot: Option<&Path>, state: &Path) -> anyhow::Result<()> {
    let state = State::at(state);
    let clock = Clock::machine();
    let context = state.context();
    let manifest = match &context {
        None => Err("the service has not been heard yet; is reprieve-agent.service running?".to_owned()),
        Some(context) => kept_manifest(&state, context).map_err(|error| format!("{error:#}")),
    };
    let examination = Examination {
        node: context.as_ref().map_or(NodeId(Uuid::nil()), |context| context.node.node),
        tier: Tier::T0,
        source: source_of(sysroot),
        clock,
        manifest,
        state,
    };
    let mut kernel_log = examination.state.kernel_log(kernel::boot_id(&examination.source).0);
    if let Some(context) = &context {
        kernel_log.give(&context.policy);
    }
    let seen = examine(&examination, &mut kernel_log);
    let judged = context.as_ref().map(|context| judge(&seen, context, &clock)).transpose()?;
    let decision = judged.as_ref().map(|judged| &judged.decision);
    if json {
        println!("{}", serde_json::to_string_pretty(&Checked { evidence: &seen.evidence, decision })?);
        return Ok(());
    }
    print!("{}", readings_table(&seen.evidence));
    match decision {
        Some(decision) => println!("\n{}", verdict::explain::explain(decision)),
        None => println!(
            "\nNo verdict: the service has never said what this machine should be.\n\
             Start reprieve-agent.service, or look at its journal for why it cannot reach the service."
        ),
    }
    Ok(())
}

fn kept_manifest(
    state: &State,
    context: &contract::agent_api::ContextReply,
) -> anyhow::Result<imaging::manifest::Manifest> {
    let image = context.node.assignment.image.context("no image is assigned")?;
    let key = state::image_key(context)?;
    state.manifest(image, &key).context("the image's manifest is not kept here yet; the service fetches it")
}

/// Says what the machine is made of.
///
/// # Errors
/// If it cannot be printed.
pub fn inventory(json: bool, sysroot: Option<&Path>) -> anyhow::Result<()> {
    let source = source_of(sysroot);
    let inventory = inventory_probe::read(&source, &disks::read(&source), gpus::read(&source).facts);
    if json {
        println!("{}", serde_json::to_string_pretty(&inventory)?);
    } else {
        print!("{}", inventory_table(&inventory));
    }
    Ok(())
}

fn source_of(sysroot: Option<&Path>) -> Source {
    sysroot.map_or_else(Source::machine, Source::recorded)
}

/// One line a reading, in columns; what was looked for and is not there is left out.
fn readings_table(evidence: &Evidence) -> String {
    let rows: Vec<[String; 3]> = evidence
        .readings
        .iter()
        .filter_map(|reading| {
            let value = match &reading.outcome {
                Outcome::Value(value) => value.to_string(),
                Outcome::Absent => return None,
                Outcome::Unreadable(why) => format!("UNREADABLE: {why}"),
            };
            Some([reading.subject.to_string(), reading.key.to_string(), value])
        })
        .collect();
    columns(&rows)
}

fn inventory_table(inventory: &Inventory) -> String {
    let mut rows = vec![
        row("system", &inventory.product),
        row("vendor", &inventory.vendor),
        row("serial", &inventory.serial),
        row("uuid", &inventory.system_uuid),
        row("bios", &inventory.bios_version),
        row("processor", &inventory.cpu_model),
        row("processors", &inventory.cpu_count),
        row("memory, bytes", &inventory.memory_bytes),
    ];
    match &inventory.disks {
        Outcome::Value(disks) => rows.extend(disks.iter().map(|disk| {
            let slot = if crate::probe::disk_id::is_slot(&disk.id) { ", named after its slot" } else { "" };
            let what = format!("{} bytes, {:?}{slot}", disk.size_bytes, disk.transport);
            [format!("disk {}", disk.kernel_name), disk.id.to_string(), what]
        })),
        other => rows.push(row("disks", &other.clone().map(|_| ""))),
    }
    match &inventory.nics {
        Outcome::Value(nics) => rows.extend(
            nics.iter()
                .map(|nic| [format!("nic {}", nic.kernel_name), nic.mac.to_string(), shown(&nic.driver)]),
        ),
        other => rows.push(row("nics", &other.clone().map(|_| ""))),
    }
    columns(&rows)
}

fn row<T: ToString>(name: &str, outcome: &Outcome<T>) -> [String; 3] {
    [name.to_owned(), shown(outcome), String::new()]
}

fn shown<T: ToString>(outcome: &Outcome<T>) -> String {
    match outcome {
        Outcome::Value(value) => value.to_string(),
        Outcome::Absent => "-".to_owned(),
        Outcome::Unreadable(why) => format!("UNREADABLE: {why}"),
    }
}

/// Left-aligned columns. Control characters are dropped: what a disk or a firmware says about itself is
/// not for the terminal to obey.
fn columns(rows: &[[String; 3]]) -> String {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let width = |column: usize| rows.iter().map(|row| clean(&row[column]).chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    let mut table = String::new();
    for [a, b, c] in rows {
        let line = format!("{:first$}  {:second$}  {}", clean(a), clean(b), clean(c));
        // Writing to a string does not fail.
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_harmless() {
        let rows =
            [["a".into(), "long".into(), "x".into()], ["bb".into(), "s\u{1b}[2J".into(), String::new()]];
        assert_eq!(columns(&rows), "a   long  x\nbb  s[2J\n");
    }

    #[test]
    fn a_recorded_tree_can_be_checked_without_a_service() {
        let root = tempfile::tempdir().unwrap();
        check(true, Some(root.path()), root.path()).unwrap();
        check(false, Some(root.path()), root.path()).unwrap();
        inventory(false, Some(root.path())).unwrap();
    }
}
