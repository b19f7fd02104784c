//! I15 and I16: what kernels were started with.
//!
//! The running system's line is compared with what it was when the assigned image first reported on this node and
//! was found right, or when a person last found the node right; the service keeps it (`bootsvc/src/command_lines.rs`).
//! Where nobody has seen it yet there is nothing to compare with. A ramdisk cannot see that line: there the one
//! counts that the system reported last, or a look from the ramdisk would clear what the system was found with.
//!
//! The ramdisk's own line is compared with what the boot script gave it. That finds mistakes, and those who add a
//! word on the way; who replaces the ramdisk can make its line say anything, which the proof of boot finds (I9).

use contract::decision::Axis;
use contract::reading::{Outcome, ReadingKey, Subject};

use super::flags::demanded;
use super::{Demand, Rule, Ruled, Seen};
use crate::command_line::{Difference, of_ramdisk, of_system};
use crate::facts::Facts;
use crate::policy::{LineResponse, Response};

/// I15: the running system is started as it was.
const SYSTEM: Rule = Rule {
    id: "integrity/kernel-command-line",
    axis: Axis::Integrity,
    source: "what it was when the image was found right on this node; policy: command_line",
};
/// I16: the ramdisk is started as its boot script says.
const RAMDISK: Rule = Rule {
    id: "integrity/ramdisk-command-line",
    axis: Axis::Integrity,
    source: "what the boot script gave; policy: command_line.ramdisk_changed, ramdisk_weakened",
};

/// So many words of each kind are told, and so much of each.
const WORDS_SHOWN_MAX: usize = 4;
const WORD_CHARACTERS_MAX: usize = 60;

/// What the policy says of a line.
struct Demands {
    changed: Option<Demand>,
    weakened: Option<Demand>,
    lost: Demand,
}

/// I15.
pub(super) fn system(facts: &Facts<'_>) -> Option<Ruled> {
    let lines = &facts.context.command_lines;
    let (expected, policy) = (lines.system.as_deref()?, &facts.thresholds().command_line);
    let (changed, weakened) = (of_line(policy.changed), of_line(policy.weakened));
    let worst = changed.max(weakened)?;
    // Somebody else has to look; where nobody else can, it counts as what might be seen.
    let deeper = worst > Demand::Watch && !facts.in_ramdisk();
    let demands = Demands { changed, weakened, lost: if deeper { Demand::LookDeeper } else { worst } };
    let (found, key, whose) = if facts.in_ramdisk() {
        (lines.system_last.clone()?, None, "The running system's kernel, when it reported last,")
    } else {
        let key = ReadingKey::KernelCommandLine;
        (facts.text(&Subject::Node, key), Some(key), "The running system's kernel")
    };
    Some(judged(facts, (&SYSTEM, key, whose), &demands, found.map(|line| of_system(expected, &line))))
}

/// I16.
pub(super) fn ramdisk(facts: &Facts<'_>) -> Option<Ruled> {
    let arguments = facts.context.command_lines.ramdisk.as_deref().filter(|_| facts.in_ramdisk())?;
    let policy = &facts.thresholds().command_line;
    let (changed, weakened) = (demanded(policy.ramdisk_changed), demanded(policy.ramdisk_weakened));
    let demands = Demands { changed, weakened, lost: changed.max(weakened)? };
    let key = ReadingKey::KernelCommandLine;
    let found = facts.text(&Subject::Node, key);
    let found = found.map(|line| of_ramdisk(arguments, &line));
    Some(judged(facts, (&RAMDISK, Some(key), "The ramdisk's kernel"), &demands, found))
}

fn judged<E: std::fmt::Display>(
    facts: &Facts<'_>,
    (rule, key, whose): (&Rule, Option<ReadingKey>, &str),
    demands: &Demands,
    found: Outcome<Result<Difference, E>>,
) -> Ruled {
    let seen = |observed: &str| Seen {
        subject: Subject::Node,
        key,
        observed: observed.to_owned(),
        threshold: "the same words".to_owned(),
    };
    let lost = |why: &str| {
        let statement = format!("{whose}: the command line could not be compared: {why}.");
        rule.unknown(demands.lost, seen(why), statement)
    };
    let difference = match found {
        Outcome::Value(Ok(difference)) => difference,
        Outcome::Value(Err(error)) => return lost(&error.to_string()),
        Outcome::Absent => return lost("there is none"),
        Outcome::Unreadable(why) => return lost(&why),
    };
    if difference.is_none() {
        let statement = format!("{whose} was started with the words that it should have.");
        return rule.found(Demand::Nothing, seen("the same words"), statement);
    }
    let policy = &facts.thresholds().command_line;
    let weakens = difference.weakens(&policy.weakening, &policy.guarded);
    let demand = if weakens { demands.changed.max(demands.weakened) } else { demands.changed };
    let what = told(&difference);
    let weaker = if weakens { ", which can weaken what protects the system" } else { "" };
    let statement = format!("{whose} was started with another command line{weaker}: {what}.");
    rule.found(demand.unwrap_or(Demand::Nothing), seen(&what), statement)
}

fn of_line(response: LineResponse) -> Option<Demand> {
    match response {
        LineResponse::Ignore => None,
        LineResponse::Watch => demanded(Response::Watch),
        LineResponse::Reimage => Some(Demand::Reimage),
        LineResponse::Quarantine => demanded(Response::Quarantine),
    }
}

fn told(difference: &Difference) -> String {
    let parts = [("added", &difference.added), ("missing", &difference.removed)];
    let parts = parts.into_iter().filter(|(_, words)| !words.is_empty());
    let mut told: Vec<String> = parts.map(|(what, words)| format!("{what} {}", some_of(words))).collect();
    if !difference.moved.is_empty() {
        told.push("the words stand in another order".to_owned());
    }
    told.join("; ")
}

fn some_of(words: &[String]) -> String {
    let mut shown: Vec<String> = words.iter().take(WORDS_SHOWN_MAX).map(|word| escaped(word)).collect();
    if words.len() > WORDS_SHOWN_MAX {
        shown.push(format!("and {} more", words.len() - WORDS_SHOWN_MAX));
    }
    shown.join(", ")
}

/// Plain letters alone, and no more than a line has room for.
fn escaped(word: &str) -> String {
    let letters = word.chars().flat_map(|letter| {
        let plain = letter.is_ascii_graphic() || letter == ' ';
        let escape = (!plain).then(|| letter.escape_unicode());
        plain.then_some(letter).into_iter().chain(escape.into_iter().flatten())
    });
    let mut shown: String = letters.take(WORD_CHARACTERS_MAX + 1).collect();
    if shown.len() > WORD_CHARACTERS_MAX {
        shown.truncate(WORD_CHARACTERS_MAX);
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests;
