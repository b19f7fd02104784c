//! From the words of a situation to evidence and context.

use contract::assignment::{Baseline, GoldenValue, NodeContext};
use contract::evidence::Evidence;
use contract::id::{BootId, UnixMillis};
use contract::reading::{Outcome, Reading, ReadingKey, ReadingValue, Subject, Tier, Trust};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::text::{BaselineText, Plain, ReadingText, SituationText, Values};
use super::{Situation, SituationError};

/// What all machines are made from.
const NOTHING: &str = include_str!("nothing.json");
const BASES: [(&str, &str); 3] = [
    ("server", include_str!("server.toml")),
    ("virtual", include_str!("virtual.toml")),
    ("blank", include_str!("blank.toml")),
];
/// Bases stand on bases, no deeper than this.
const DEPTH_MAX: usize = 4;
const HOUR_MILLIS: i64 = 3_600_000;

#[derive(serde::Deserialize)]
struct Nothing {
    now: UnixMillis,
    evidence: Evidence,
    context: NodeContext,
}

fn wrong(what: impl std::fmt::Display) -> SituationError {
    SituationError::Text(what.to_string())
}

pub(super) fn situation(text: &str) -> Result<Situation, SituationError> {
    on_base(text, 0)
}

fn on_base(text: &str, depth: usize) -> Result<Situation, SituationError> {
    let words: SituationText = toml::from_str(text).map_err(|error| wrong(error.message()))?;
    let base = match words.base.as_deref() {
        _ if depth > DEPTH_MAX => return Err(wrong("its bases go in circles")),
        None => {
            let nothing: Nothing = serde_json::from_str(NOTHING).map_err(wrong)?;
            Situation {
                about: String::new(),
                evidence: nothing.evidence,
                context: nothing.context,
                now: nothing.now,
                policy: String::new(),
                expected: super::Expected::default(),
            }
        }
        Some(name) => match BASES.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => on_base(text, depth + 1)?,
            None => {
                let known: Vec<&str> = BASES.iter().map(|(known, _)| *known).collect();
                return Err(wrong(format!("base {name:?} is none of {}", known.join(", "))));
            }
        },
    };
    changed(base, words)
}

fn changed(base: Situation, words: SituationText) -> Result<Situation, SituationError> {
    let mut evidence = as_json(&base.evidence)?;
    for (list, id, parts) in [
        ("disks", "id", &words.disk),
        ("nics", "mac", &words.nic),
        ("gpus", "id", &words.gpu),
        ("memory_modules", "locator", &words.memory_module),
    ] {
        lay_parts(&mut evidence["inventory"][list], list, id, parts)?;
    }
    lay_over(&mut evidence, Value::Object(words.evidence));
    let mut evidence: Evidence = from_json("evidence", evidence)?;
    let mut context = as_json(&base.context)?;
    lay_over(&mut context, Value::Object(words.context));
    let mut context: NodeContext = from_json("context", context)?;
    for (subject, key, value) in each(words.readings)? {
        put(&mut evidence, subject, key, Outcome::Value(value.into()));
    }
    for reading in words.reading {
        read(&mut evidence, reading)?;
    }
    for (subject, key, value) in each(words.baselines)? {
        let Plain::Count(count) = value else {
            return Err(wrong(format!("the baseline of {key} of {subject} is no count")));
        };
        let (boot_id, observed_at) = (evidence.boot_id, hours_before(base.now, 24));
        remember(&mut context, Baseline { subject, key, count, boot_id, observed_at });
    }
    for baseline in words.baseline {
        counted(&mut context, &evidence, base.now, baseline)?;
    }
    for (subject, key, value) in each(words.golden)? {
        let Some(expected) = &mut context.expected_hardware else {
            return Err(wrong("golden values need context.expected_hardware"));
        };
        expected.golden.retain(|golden| golden.key != key || golden.subject != subject);
        expected.golden.push(GoldenValue { subject, key, value: value.into() });
    }
    if let Some(trust) = words.trust {
        evidence.trust = from_json::<Trust>("trust", Value::String(trust))?;
        evidence.tier = if evidence.trust < Trust::Ramdisk { Tier::T1 } else { Tier::T2 };
        let trust = evidence.trust;
        evidence.readings.iter_mut().for_each(|reading| reading.trust = trust);
    }
    evidence.sort();
    context.baselines.sort_by(|a, b| (&a.subject, a.key).cmp(&(&b.subject, b.key)));
    let about = if words.about.is_empty() { base.about } else { words.about };
    let policy = format!("{}\n{}", base.policy, words.policy);
    Ok(Situation { about, evidence, context, now: base.now, policy, expected: words.expect })
}

/// Each value with what it is about.
fn each(values: Values) -> Result<Vec<(Subject, ReadingKey, Plain)>, SituationError> {
    let mut all = Vec::new();
    for (of, keys) in values {
        for (name, value) in keys {
            all.push((subject(&of)?, key(&name)?, value));
        }
    }
    Ok(all)
}

/// Puts a reading in the place of what is there.
fn put(evidence: &mut Evidence, subject: Subject, key: ReadingKey, outcome: Outcome<ReadingValue>) {
    evidence.readings.retain(|reading| reading.key != key || reading.subject != subject);
    let (observed_at, boot_id, trust) = (evidence.taken_at, evidence.boot_id, evidence.trust);
    evidence.readings.push(Reading { subject, key, outcome, observed_at, boot_id, trust });
}

fn read(evidence: &mut Evidence, words: ReadingText) -> Result<(), SituationError> {
    let (subject, key) = (subject(&words.of)?, key(&words.key)?);
    let value = words.value.map(|value| match (value.into(), words.total) {
        (ReadingValue::List { items, .. }, Some(total)) => ReadingValue::List { items, total },
        (value, _) => value,
    });
    let outcomes = [
        value.map(Outcome::Value),
        words.absent.then_some(Outcome::Absent),
        words.unreadable.map(Outcome::Unreadable),
    ];
    let outcomes: Vec<_> = outcomes.into_iter().flatten().collect();
    if outcomes.len() + usize::from(words.untried) != 1 {
        let problem = "wants exactly one of value, absent, unreadable and untried";
        return Err(wrong(format!("reading {key} of {subject} {problem}")));
    }
    if !words.besides {
        evidence.readings.retain(|reading| reading.key != key || reading.subject != subject);
    }
    let boot_id = if words.another_boot { another_boot() } else { evidence.boot_id };
    let observed_at = hours_before(evidence.taken_at, words.hours_ago);
    let trust = evidence.trust;
    let reading = |outcome| Reading { subject: subject.clone(), key, outcome, observed_at, boot_id, trust };
    evidence.readings.extend(outcomes.into_iter().map(reading));
    Ok(())
}

fn counted(
    context: &mut NodeContext,
    evidence: &Evidence,
    now: UnixMillis,
    words: BaselineText,
) -> Result<(), SituationError> {
    let (subject, key) = (subject(&words.of)?, key(&words.key)?);
    context.baselines.retain(|baseline| baseline.key != key || baseline.subject != subject);
    if !words.none {
        let boot_id = if words.another_boot { another_boot() } else { evidence.boot_id };
        let observed_at = hours_before(now, words.hours_ago);
        remember(context, Baseline { subject, key, count: words.count, boot_id, observed_at });
    }
    Ok(())
}

fn remember(context: &mut NodeContext, baseline: Baseline) {
    context.baselines.retain(|other| other.key != baseline.key || other.subject != baseline.subject);
    context.baselines.push(baseline);
}

/// Lays parts over those of the same id in a list of the inventory; `gone = true` takes one away.
fn lay_parts(
    list: &mut Value,
    name: &str,
    id: &str,
    parts: &[Map<String, Value>],
) -> Result<(), SituationError> {
    for part in parts {
        let wanted = part.get(id).ok_or_else(|| wrong(format!("a part of {name} has no {id}")))?;
        if !list["of"].is_array() {
            *list = json!({"outcome": "value", "of": []});
        }
        let Some(all) = list["of"].as_array_mut() else { continue };
        if part.get("gone") == Some(&Value::Bool(true)) {
            all.retain(|other| other.get(id) != Some(wanted));
            continue;
        }
        let change = Value::Object(part.clone());
        match all.iter_mut().find(|other| other.get(id) == Some(wanted)) {
            Some(other) => lay_over(other, change),
            None => all.push(change),
        }
    }
    Ok(())
}

/// RFC 7396, JSON Merge Patch; TOML has no null, which is written `{ none = true }`.
fn lay_over(target: &mut Value, change: Value) {
    match (target, change) {
        (target, change) if change == json!({"none": true}) => *target = Value::Null,
        // What an enum holds goes with its tag.
        (Value::Object(target), Value::Object(change))
            if !["outcome", "owner", "boot_trust"]
                .iter()
                .any(|tag| change.get(*tag).is_some_and(Value::is_string)) =>
        {
            for (key, value) in change {
                lay_over(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change,
    }
}

/// `disk nvme-eui.data` and so on; the kinds are those of the wire.
fn subject(text: &str) -> Result<Subject, SituationError> {
    let (kind, id) = text.split_once(' ').map_or((text, None), |(kind, id)| (kind, Some(id)));
    let value = match id {
        Some(id) => json!({"kind": kind, "id": id}),
        None => json!({"kind": kind}),
    };
    serde_json::from_value(value).map_err(|error| wrong(format!("{text:?} is no subject: {error}")))
}

fn key(text: &str) -> Result<ReadingKey, SituationError> {
    let value = Value::String(text.to_owned());
    serde_json::from_value(value).map_err(|_| wrong(format!("{text:?} is no reading")))
}

fn hours_before(time: UnixMillis, hours: i64) -> UnixMillis {
    UnixMillis(time.0.saturating_add_signed(hours.saturating_mul(-HOUR_MILLIS)))
}

fn another_boot() -> BootId {
    BootId(Uuid::from_u128(0xdead))
}

fn as_json(value: &impl serde::Serialize) -> Result<Value, SituationError> {
    serde_json::to_value(value).map_err(wrong)
}

fn from_json<T: DeserializeOwned>(what: &str, value: Value) -> Result<T, SituationError> {
    serde_json::from_value(value).map_err(|error| wrong(format!("{what}: {error}")))
}
