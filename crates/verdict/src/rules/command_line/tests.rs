use contract::command_line::CommandLines;
use contract::decision::{Action, Finding, Severity};
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use proptest::{prop_assert, proptest};

use crate::testing::Case;

const LINE: &str = "root=LABEL=system ro quiet";
const WEAKENED: &str = "root=LABEL=system ro quiet mitigations=off";

/// A node whose kernel was started so, and should have been as in [`LINE`].
fn case(found: &str) -> Case {
    let line = Outcome::Value(ReadingValue::Text(found.to_owned()));
    let case = Case::healthy().outcome(Subject::Node, ReadingKey::KernelCommandLine, line);
    case.context(|context| {
        context.command_lines = CommandLines {
            system: Some(LINE.to_owned()),
            system_last: Some(Outcome::Value(LINE.to_owned())),
            ramdisk: None,
        };
    })
}

fn resident(found: &str) -> Case {
    case(found).resident()
}

fn last(found: Outcome<&str>) -> Case {
    let found = found.map(ToOwned::to_owned);
    case(LINE).context(|context| context.command_lines.system_last = Some(found))
}

fn ramdisk(found: &str) -> Case {
    case(found).context(|context| context.command_lines.ramdisk = Some("root=LABEL=system ro".to_owned()))
}

fn finding(case: &Case) -> Option<Finding> {
    let mut findings = case.judge().findings;
    findings.retain(|one| one.rule.ends_with("command-line") && one.severity != Severity::Good);
    findings.pop()
}

fn untried(case: Case) -> Case {
    case.untried(&Subject::Node, ReadingKey::KernelCommandLine)
}

#[test]
fn what_follows_is_what_the_policy_says() {
    let quiet = "quiet root=LABEL=system ro";
    let table = [
        ("as it was", resident(LINE), Action::Keep, None),
        ("a word more", resident(&format!("{LINE} hugepages=8")), Action::Keep, Some(Severity::Warning)),
        ("weakened", resident(WEAKENED), Action::Reimage, Some(Severity::Critical)),
        ("another root", resident("root=/dev/sdb1 ro quiet"), Action::Reimage, Some(Severity::Critical)),
        ("too long", resident(&"x ".repeat(4000)), Action::LookDeeper, Some(Severity::Unknown)),
        ("not read", untried(resident(LINE)), Action::LookDeeper, Some(Severity::Unknown)),
        ("the system was as it should be", last(Outcome::Value(LINE)), Action::Keep, None),
        (
            "the system was weakened",
            last(Outcome::Value(WEAKENED)),
            Action::Reimage,
            Some(Severity::Critical),
        ),
        (
            "the system could not say",
            last(Outcome::Unreadable("EIO".to_owned())),
            Action::Reimage,
            Some(Severity::Unknown),
        ),
        ("the ramdisk as given", ramdisk(quiet), Action::Keep, None),
        (
            "the ramdisk with a word more",
            ramdisk(&format!("{quiet} x=1")),
            Action::Keep,
            Some(Severity::Warning),
        ),
        (
            "the ramdisk weakened",
            ramdisk(&format!("{quiet} rdinit=/bin/sh")),
            Action::Quarantine,
            Some(Severity::Critical),
        ),
        ("the ramdisk could not say", untried(ramdisk(quiet)), Action::Quarantine, Some(Severity::Unknown)),
    ];
    for (what, case, action, severity) in table {
        let found = finding(&case);
        assert_eq!(case.action(), action, "{what}: {found:#?}");
        assert_eq!(found.as_ref().map(|one| one.severity), severity, "{what}: {found:#?}");
    }
}

#[test]
fn nothing_is_compared_where_nobody_knows_what_it_should_be() {
    let forget = |case: Case| case.context(|context| context.command_lines = CommandLines::default());
    for case in [forget(resident(WEAKENED)), forget(case(WEAKENED)), forget(untried(resident(LINE)))] {
        assert_eq!(finding(&case), None);
    }
    // The ramdisk is looked at before the system has ever reported.
    let unreported = case(LINE).context(|context| context.command_lines.system_last = None);
    assert_eq!(finding(&unreported), None);
    // With another image than the assigned one, nobody asks how it is started.
    let other = Outcome::Value(ReadingValue::Text("00".repeat(32)));
    let other = resident(WEAKENED).outcome(Subject::Image, ReadingKey::ImageInstalled, other);
    assert_eq!(finding(&other), None);
}

#[test]
fn a_policy_may_ask_for_more_and_for_nothing() {
    let changed = format!("{LINE} hugepages=8");
    let table = [
        ("changed = \"reimage\"", resident(&changed), Action::Reimage),
        ("changed = \"quarantine\"", resident(WEAKENED), Action::Quarantine),
        ("weakened = \"watch\"", resident(WEAKENED), Action::Keep),
        ("weakened = \"watch\"", untried(resident(LINE)), Action::Keep),
        ("changed = \"ignore\"\nweakened = \"ignore\"", untried(resident(LINE)), Action::Keep),
        ("weakening = []", resident(WEAKENED), Action::Keep),
        ("guarded = [\"hugepages=\"]", resident(&changed), Action::Reimage),
        ("ramdisk_weakened = \"ignore\"", ramdisk("quiet root=LABEL=system ro rdinit=/x"), Action::Keep),
    ];
    for (text, case, action) in table {
        let case = case.policy(&format!("[command_line]\n{text}\n"));
        assert_eq!(case.action(), action, "{text}");
    }
    for wrong in ["weakening = [\"\"]", "guarded = [\"=x\"]", "guarded = [\"a b\"]"] {
        assert!(crate::policy::Policy::parse(&format!("[command_line]\n{wrong}\n")).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_told_is_escaped_and_bounded() {
    let hostile = format!("{LINE} a=\u{202e}\u{1b}[2J {} 1=1 2=2 3=3 4=4 token=hunter2", "b".repeat(300));
    let found = finding(&resident(&hostile)).unwrap();
    for text in [&found.statement, &found.observed] {
        assert!(text.is_ascii() && text.len() < 400, "{text}");
        assert!(
            text.contains("\\u{202e}") && text.contains("bbb...") && text.contains("and 3 more"),
            "{text}"
        );
    }
    let found = finding(&resident(&format!("{LINE} token=hunter2"))).unwrap();
    assert!(found.statement.contains("added token=(removed)"), "{}", found.statement);
}

proptest! {
    /// Whatever a kernel was started with: one more word of those that weaken is never milder, and a line that
    /// cannot be read is no permission.
    #[test]
    fn any_line_is_judged_and_worse_or_lost_is_never_milder(line in "\\PC{0,60}", among in 0..3_u8) {
        // An open quote would make one word of what comes after it.
        let line = line.replace('"', "");
        let of = |line: &str| match among {
            0 => resident(line),
            1 => ramdisk(line),
            _ => last(Outcome::Value(line)),
        };
        let action = of(&line).action();
        let worse = of(&format!("{line} mitigations=off")).action();
        prop_assert!(worse >= action, "{worse:?} after {action:?}");
        if among < 2 {
            let lost = untried(of(&line)).action();
            prop_assert!(lost >= action || lost == Action::LookDeeper && action != Action::Keep);
        }
        let told = finding(&of(&line)).map(|one| one.statement).unwrap_or_default();
        prop_assert!(told.trim_end_matches('…').is_ascii() && told.chars().count() <= 401, "{told}");
    }
}
