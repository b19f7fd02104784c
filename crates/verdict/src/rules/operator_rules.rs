//! The operator's own rules: what the policy's expressions say of this evidence. They can make an action
//! more cautious and never milder.

use std::collections::{BTreeSet, HashMap};

use cel::Value;
use contract::assignment::Baseline;
use contract::decision::Axis;
use contract::reading::{Outcome, Reading, ReadingKey, ReadingValue, Subject};

use super::{Demand, Rule, Ruled, Seen, disk_counters, strongest};
use crate::facts::Facts;
use crate::policy::HealthUnreadable;
use crate::policy::expression::{Answer, ITEMS_MAX, reading_key};
use crate::policy::rule::{Compiled, RuleAction};

/// How many values a finding shows.
const SHOWN_MAX: usize = 6;

/// How the names of the operator's rules begin in findings.
pub(crate) const NAMES: &str = "policy/rule-";

/// O1: what the operator's rule demands.
const OPERATOR: Rule = Rule { id: "policy/rule", axis: Axis::Request, source: "policy: [[rule]]" };

/// All findings of the operator's rules. `integrity` are the findings of that axis: a repair that is
/// demanded from the ramdisk with nothing to put back is worth a look and no more.
pub(crate) fn judge(facts: &Facts<'_>, integrity: &[Ruled]) -> Vec<Ruled> {
    facts.policy.rules().iter().filter_map(|rule| one(facts, rule, integrity)).collect()
}

/// Whether a rule demands that the disks be sanitized; which disks is for the rules of confidentiality.
pub(super) fn demand_sanitizing(facts: &Facts<'_>) -> bool {
    let sanitizing = |one: &&Compiled| one.rule.action == RuleAction::Sanitize;
    facts.policy.rules().iter().filter(sanitizing).any(|one| match ask(facts, one) {
        Answer::Yes => true,
        Answer::No => false,
        Answer::Unknown(_) => facts.in_ramdisk(),
    })
}

fn one(facts: &Facts<'_>, compiled: &Compiled, integrity: &[Ruled]) -> Option<Ruled> {
    let rule = &compiled.rule;
    let demand = match rule.action {
        RuleAction::Watch => Demand::Watch,
        RuleAction::Repair if facts.in_ramdisk() && strongest(integrity) <= Demand::Watch => Demand::Watch,
        RuleAction::Repair => Demand::Repair,
        RuleAction::Reimage => Demand::Reimage,
        RuleAction::Sanitize => Demand::Sanitize,
        // As the hardware's state is no reason to leave the data on disks that are to be left empty.
        RuleAction::Quarantine if facts.leaves_empty() => Demand::Watch,
        RuleAction::Quarantine => Demand::Quarantine,
    };
    let seen = |observed: &str| Seen::fact(Subject::Node, observed, format!("not: {}", rule.when));
    let mut ruled = match ask(facts, compiled) {
        Answer::No => return None,
        Answer::Yes => {
            let statement = format!("Rule {:?} of the policy applies: {}", rule.name, rule.why);
            OPERATOR.found(demand, seen(&values(facts, compiled)), statement)
        }
        Answer::Unknown(why) => {
            let deeper = demand > Demand::Watch && !facts.in_ramdisk();
            let demand = if deeper { Demand::LookDeeper } else { demand };
            let statement = format!(
                "Whether rule {:?} of the policy applies could not be said: {why}. If not every machine has \
                 that, begin the rule with has(…). It is for: {}",
                rule.name, rule.why
            );
            OPERATOR.unknown(demand, seen(&why), statement)
        }
    };
    ruled.finding.rule = format!("{NAMES}{}", rule.name);
    Some(ruled)
}

fn ask(facts: &Facts<'_>, compiled: &Compiled) -> Answer {
    let of = |whose: &str| {
        let names = compiled.when.names().iter();
        names.filter_map(|name| name.strip_prefix(whose).map(str::to_owned)).collect::<Vec<_>>()
    };
    let evidence =
        of("evidence.").into_iter().filter_map(|name| Some((name.clone(), evidence(facts, &name)?)));
    let node = of("node.").into_iter().filter_map(|name| Some((name.clone(), node(facts, &name)?)));
    let (evidence, node) = (evidence.collect::<HashMap<_, _>>(), node.collect::<HashMap<_, _>>());
    let now = Value::Int(signed(facts.now.0 / 1000));
    match compiled.when.ask(vec![("evidence", evidence.into()), ("node", node.into()), ("now", now)]) {
        // To `has` what could not be read is as if it were not there.
        Answer::No => {
            compiled.when.tested().iter().find_map(|name| unreadable(facts, name)).unwrap_or(Answer::No)
        }
        answer => answer,
    }
}

/// What a name of `evidence` means; none if it is not known.
fn evidence(facts: &Facts<'_>, name: &str) -> Option<Value> {
    let evidence = facts.evidence;
    match name {
        "trust" => Some(Value::Int(evidence.trust as i64)),
        "tier" => Some(Value::Int(evidence.tier as i64)),
        "age_seconds" => Some(Value::Int(signed(facts.now.millis_since(evidence.taken_at) / 1000))),
        name => {
            let key = reading_key(name).ok()?;
            let readings: Vec<&Reading> = of_key(facts, key).take(ITEMS_MAX + 1).collect();
            let missed = missed(facts, key);
            if readings.is_empty() && missed.is_empty() {
                return None;
            }
            if readings.len() + missed.len() > ITEMS_MAX {
                // It is there, and nothing can be asked of it: neither yes nor no.
                return Some(Value::Null);
            }
            let known = readings.into_iter().filter_map(|reading| value_of(facts, reading));
            let unseen = missed.iter().map(|subject| entry(subject, None));
            Some(Value::List(known.chain(unseen).collect::<Vec<_>>().into()))
        }
    }
}

/// Parts of which nobody tried to read `key` although it is missed there: every agent reads it of such a part,
/// or it was counted when the node was last found right.
fn missed(facts: &Facts<'_>, key: ReadingKey) -> BTreeSet<Subject> {
    let disks = facts.disks().unwrap_or_default().iter();
    let read_by_all = disks.filter(|disk| disk_counters::every_agent_reads(key, disk.transport));
    let counted = facts.context.baselines.iter().filter(|then| then.key == key && is_missed(facts, then));
    let mut missed: BTreeSet<Subject> = read_by_all.map(|disk| Subject::Disk(disk.id.clone())).collect();
    missed.extend(counted.map(|then| then.subject.clone()));
    missed.retain(|subject| !facts.was_tried(subject, key));
    missed
}

/// Whether a part that was counted is missed where nobody counts it any more, as the rules of its kind have it:
/// what is known by its place, or needs a driver that the ramdisk does not have, is not.
fn is_missed(facts: &Facts<'_>, then: &Baseline) -> bool {
    let nobody_counts =
        || facts.was_tried(&Subject::Node, then.key) && !facts.concerns(&Subject::Node, then.key);
    match &then.subject {
        Subject::Node => then.key != ReadingKey::ProcessorThrottles,
        // One that is gone is told of by another rule.
        Subject::Disk(id) => facts.disks().map_or(true, |disks| disks.iter().any(|disk| disk.id == *id)),
        Subject::MemoryModule(_) => !nobody_counts(),
        Subject::Gpu(_) => facts.thresholds().gpu.unreadable == HealthUnreadable::Quarantine,
        Subject::Nic(_)
        | Subject::FileSystem(_)
        | Subject::Image
        | Subject::PciDevice(_)
        | Subject::FabricPort(_)
        | Subject::RaidArray(_)
        | Subject::Sensor(_) => false,
    }
}

fn of_key<'a>(facts: &Facts<'a>, key: ReadingKey) -> impl Iterator<Item = &'a Reading> {
    facts.evidence.readings.iter().filter(move |reading| reading.key == key)
}

/// One reading as expressions see it. What was looked for and is not there is left out; what could not be
/// seen has no value.
fn value_of(facts: &Facts<'_>, reading: &Reading) -> Option<Value> {
    let value = match facts.believable(reading) {
        Outcome::Absent => return None,
        Outcome::Unreadable(_) => None,
        Outcome::Value(ReadingValue::Flag(flag)) => Some(Value::Bool(flag)),
        Outcome::Value(ReadingValue::Count(count)) => Some(Value::Int(signed(count))),
        Outcome::Value(ReadingValue::Text(text)) => Some(text_value(text)),
        Outcome::Value(ReadingValue::List { items, total }) => {
            let whole = items.len() as u64 == total && items.len() <= ITEMS_MAX;
            whole.then(|| Value::List(items.into_iter().map(text_value).collect::<Vec<_>>().into()))
        }
    };
    Some(entry(&reading.subject, value))
}

/// One item of a list of readings.
fn entry(subject: &Subject, value: Option<Value>) -> Value {
    let kind = match subject {
        Subject::Node => "node",
        Subject::Disk(_) => "disk",
        Subject::Nic(_) => "nic",
        Subject::FileSystem(_) => "file-system",
        Subject::Image => "image",
        Subject::MemoryModule(_) => "memory-module",
        Subject::PciDevice(_) => "pci-device",
        Subject::Gpu(_) => "gpu",
        Subject::FabricPort(_) => "fabric-port",
        Subject::RaidArray(_) => "raid-array",
        Subject::Sensor(_) => "sensor",
    };
    let mut fields = HashMap::from([
        ("kind".to_owned(), text_value(kind.to_owned())),
        ("subject".to_owned(), text_value(subject.to_string())),
    ]);
    fields.extend(value.map(|value| ("value".to_owned(), value)));
    fields.into()
}

/// What a name of `node` means; none if it is not known or there is none.
fn node(facts: &Facts<'_>, name: &str) -> Option<Value> {
    let (context, inventory) = (facts.context, &facts.evidence.inventory);
    let text = |outcome: &Outcome<String>| outcome.value().cloned().map(text_value);
    match name {
        "pool" => Some(text_value(context.assignment.pool.to_string())),
        "tenant" => context.assignment.tenant.as_ref().map(|tenant| text_value(tenant.to_string())),
        "image" => context.assignment.image.map(|image| text_value(image.to_string())),
        "protected" => Some(Value::Bool(context.protected)),
        "vendor" => text(&inventory.vendor),
        "product" => text(&inventory.product),
        "serial" => text(&inventory.serial),
        "cpu_count" => inventory.cpu_count.value().map(|count| Value::Int(i64::from(*count))),
        "memory_bytes" => inventory.memory_bytes.value().map(|bytes| Value::Int(signed(*bytes))),
        _ => None,
    }
}

/// That a name of `node` could not be read.
fn unreadable(facts: &Facts<'_>, name: &str) -> Option<Answer> {
    fn why<T>(outcome: &Outcome<T>) -> Option<&str> {
        match outcome {
            Outcome::Unreadable(why) => Some(why),
            Outcome::Value(_) | Outcome::Absent => None,
        }
    }
    let inventory = &facts.evidence.inventory;
    let why = match name {
        "node.vendor" => why(&inventory.vendor),
        "node.product" => why(&inventory.product),
        "node.serial" => why(&inventory.serial),
        "node.cpu_count" => why(&inventory.cpu_count),
        "node.memory_bytes" => why(&inventory.memory_bytes),
        _ => None,
    };
    why.map(|why| Answer::Unknown(format!("{name} could not be read: {why}")))
}

fn text_value(text: String) -> Value {
    Value::String(text.into())
}

/// Counts beyond what CEL's numbers hold are as large as they get.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The values that the rule looked at, for a person.
fn values(facts: &Facts<'_>, compiled: &Compiled) -> String {
    let mut shown = Vec::new();
    for name in compiled.when.names() {
        match name.strip_prefix("evidence.").and_then(|name| reading_key(name).ok()) {
            Some(key) => shown.extend(of_key(facts, key).filter_map(|reading| match &reading.outcome {
                Outcome::Value(value) => Some(format!("{key} of {}: {value}", reading.subject)),
                Outcome::Absent | Outcome::Unreadable(_) => None,
            })),
            None => shown.extend(plain(facts, name).map(|value| format!("{name}: {value}"))),
        }
    }
    let more = shown.len().saturating_sub(SHOWN_MAX);
    shown.truncate(SHOWN_MAX);
    let more = if more > 0 { format!("; {more} more") } else { String::new() };
    format!("{}{more}", shown.join("; "))
}

fn plain(facts: &Facts<'_>, name: &str) -> Option<String> {
    let value = match name.split_once('.')? {
        ("evidence", name) => evidence(facts, name),
        (_, name) => node(facts, name),
    };
    match value? {
        Value::Int(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::String(text) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "operator_rules_tests.rs"]
mod tests;
