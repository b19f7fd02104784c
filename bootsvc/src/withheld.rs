//! What is exported of a node whose data do not leave the site (policy `tenancy.media_stay`) has no names of
//! files: they may say as much as what is in them. A path that was found altered, missing or foreign becomes
//! `/withheld/N`; any other text in which a path may stand is left out as a whole. The verdict is made anew from
//! what is left, so that the export can be judged again, and has to be the same.

use contract::assignment::NodeContext;
use contract::command_line::words;
use contract::decision::Decision;
use contract::evidence::Evidence;
use contract::plan::Step;
use contract::reading::{Outcome, ReadingKey, ReadingValue};
use verdict::model::Model;
use verdict::policy::Policy;

use crate::judging;

/// What stands in the place of a word of a command line in which a path may stand.
const WITHHELD: &str = "/withheld/line/";
const LEFT_OUT: &str = "(withheld: the name of a file may stand in it)";

/// Takes the names of files out of evidence and facts, and judges again; none if the verdict would not be the
/// same one.
#[must_use]
pub fn judged_without_names(
    decision: &Decision,
    mut evidence: Evidence,
    mut context: NodeContext,
    policy: &Policy,
    model: &Model,
) -> Option<(Decision, Evidence, NodeContext)> {
    take_out(&mut evidence, &mut context);
    let again = judging::judge(&evidence, &context, policy, model, decision.decided_at);
    let rules = |of: &Decision| of.findings.iter().map(|found| found.rule.clone()).collect::<Vec<_>>();
    let same = again.action == decision.action
        && again.confidentiality == decision.confidentiality
        && again.integrity == decision.integrity
        && again.fitness == decision.fitness
        && rules(&again) == rules(decision);
    same.then_some((again, evidence, context))
}

fn take_out(evidence: &mut Evidence, context: &mut NodeContext) {
    let mut count = 0;
    let mut words = Vec::new();
    let lines = &mut context.command_lines;
    for line in [&mut lines.system, &mut lines.ramdisk].into_iter().flatten() {
        number_words(line, &mut words);
    }
    if let Some(Outcome::Value(line)) = &mut lines.system_last {
        number_words(line, &mut words);
    }
    if let Some(Outcome::Unreadable(why)) = &mut lines.system_last {
        leave_out(why);
    }
    for reading in &mut evidence.readings {
        let paths = matches!(
            reading.key,
            ReadingKey::ImageFilesAltered | ReadingKey::ImageFilesMissing | ReadingKey::ImageFilesForeign
        );
        match &mut reading.outcome {
            Outcome::Value(ReadingValue::List { items, .. }) if paths => number(items, &mut count),
            Outcome::Value(ReadingValue::List { items, .. }) => items.iter_mut().for_each(leave_out),
            Outcome::Value(ReadingValue::Text(line)) if reading.key == ReadingKey::KernelCommandLine => {
                number_words(line, &mut words);
            }
            Outcome::Value(ReadingValue::Text(text)) | Outcome::Unreadable(text) => leave_out(text),
            Outcome::Value(ReadingValue::Flag(_) | ReadingValue::Count(_)) | Outcome::Absent => {}
        }
    }
    let plan = context.unfinished.iter_mut().flat_map(|work| &mut work.plan.steps);
    for step in plan {
        if let Step::RepairFiles { paths, remove, .. } = step {
            number(paths, &mut count);
            number(remove, &mut count);
        }
    }
    for past in &mut context.history {
        leave_out(&mut past.because);
    }
}

/// Nobody can tell from a number how the name began, or how long it was.
fn number(paths: &mut [String], count: &mut u64) {
    for path in paths {
        *count += 1;
        *path = format!("/withheld/{count}");
    }
}

/// The same word gets the same number in each line, so that the lines differ as they did; what a parameter is
/// called stays, because rules go by it.
fn number_words(line: &mut String, known: &mut Vec<String>) {
    let shown = words(line).into_iter().map(|word| {
        let (name, value) = word.split_once('=').unwrap_or(("", &word));
        if may_name_a_file(name) || may_name_a_file(value) {
            let at = known.iter().position(|other| *other == word).unwrap_or_else(|| {
                known.push(word.clone());
                known.len() - 1
            });
            let name = if may_name_a_file(name) { "" } else { name };
            let sign = if name.is_empty() { "" } else { "=" };
            return format!("\"{name}{sign}{WITHHELD}{at}\"");
        }
        format!("\"{word}\"")
    });
    *line = shown.collect::<Vec<_>>().join(" ");
}

fn leave_out(text: &mut String) {
    if may_name_a_file(text) {
        LEFT_OUT.clone_into(text);
    }
}

/// Whether a path may begin somewhere in a text: `/x`, but not the stroke of `I/O` or `3/4`.
fn may_name_a_file(text: &str) -> bool {
    let mut before = ' ';
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let goes_on = letters.peek().is_some_and(|next| !next.is_whitespace());
        if letter == '/' && !before.is_alphanumeric() && goes_on {
            return true;
        }
        before = letter;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::proptest;

    #[test]
    fn a_path_is_seen_wherever_it_begins() {
        for text in ["/etc", "x /srv/bank", "(\"/srv\")", "memcg=/pay", "../secret", "file:///a", "é /ü"] {
            assert!(may_name_a_file(text), "{text}");
        }
        for text in ["", "/", "Buffer I/O error", "3/4 done", "a / b", "no name", "mlx5_0/1"] {
            assert!(!may_name_a_file(text), "{text}");
        }
    }

    #[test]
    fn lines_differ_as_they_did_and_name_no_files() {
        let mut known = Vec::new();
        let mut lines =
            ["ro root=/dev/a \"x=b c\" init=/srv/bank", "ro root=/dev/a /srv/bank"].map(ToOwned::to_owned);
        lines.iter_mut().for_each(|line| number_words(line, &mut known));
        assert_eq!(words(&lines[0]), ["ro", "root=/withheld/line/0", "x=b c", "init=/withheld/line/1"]);
        assert_eq!(words(&lines[1]), ["ro", "root=/withheld/line/0", "/withheld/line/2"]);
    }

    proptest! {
        #[test]
        fn no_path_is_left_of_any_text(text in ".{0,40}", path in "/[a-z]{1,9}(/[a-z ]{1,9})?") {
            for mut told in [format!("{text} {path}"), format!("{path}{text}"), text.clone()] {
                leave_out(&mut told);
                proptest::prop_assert!(!may_name_a_file(&told), "{told}");
            }
        }
    }
}
