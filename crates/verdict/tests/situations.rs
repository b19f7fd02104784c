//! The situations of `tests/situations`: each a file that a person can read, and what must follow from it.
#![allow(clippy::unwrap_used, reason = "clippy does not see that this is test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use contract::decision::Severity;
use verdict::model::Model;
use verdict::situation::Situation;

/// The files under a folder, by name.
fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Rules that rest on forecasts and on what was before; `outlook_tests` has them.
const ELSEWHERE: [&str; 5] = [
    "fitness/failure-likely",
    "fitness/forecast-unread",
    "fitness/put-right-too-often",
    "fitness/same-cause-again",
    "integrity/repair-costs-more",
];

/// Each situation has the verdict that it names, and each rule finds something in at least one of them.
#[test]
fn each_situation_has_its_verdict_and_each_rule_a_situation() {
    let model = Model::parse("").unwrap();
    let situations = files("tests/situations");
    let (mut wrong, mut found) = (String::new(), BTreeSet::new());
    for (name, text) in &situations {
        let judged = Situation::parse(text).and_then(|situation| {
            assert!(!situation.about.is_empty(), "{name} does not say what it is about");
            situation.judge(&[], &model).map(|decision| (situation.differences(&decision), decision))
        });
        let differences = match judged {
            Err(error) => vec![error.to_string()],
            Ok((differences, decision)) => {
                assert!(!decision.reasons.is_empty(), "{name}");
                let bad = decision.findings.into_iter().filter(|finding| finding.severity != Severity::Good);
                found.extend(bad.map(|finding| finding.rule));
                differences
            }
        };
        differences.iter().for_each(|difference| wrong.push_str(&format!("{name}: {difference}\n")));
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(situations.len() >= 120, "{}", situations.len());
    let axes = ["fitness/", "integrity/", "confidentiality/", "request/"];
    let sources = files("src/rules");
    let texts = sources.iter().flat_map(|(_, source)| source.split('"'));
    let written: BTreeSet<&str> =
        texts.filter(|text| axes.iter().any(|axis| text.starts_with(axis))).collect();
    let missing: Vec<&&str> =
        written.iter().filter(|rule| !found.contains(**rule) && !ELSEWHERE.contains(*rule)).collect();
    assert!(missing.is_empty(), "in no situation: {missing:#?}");
    assert!(written.len() > 80, "{}", written.len());
}

#[test]
fn what_is_no_situation_is_refused_in_words() {
    for (text, word) in [
        ("base = \"laptop\"", "server"),
        ("bas = \"server\"", "bas"),
        ("[[reading]]\nof = \"node\"\nkey = \"kernel-taint\"\n", "exactly one"),
        ("[[reading]]\nof = \"nod\"\nkey = \"kernel-taint\"\nvalue = 1\n", "subject"),
        ("[readings.node]\nkernel-tint = 1\n", "kernel-tint"),
        ("[golden.node]\nfirmware-version = \"1\"\n", "expected_hardware"),
        ("[baselines.node]\nmemory-corrected-errors = \"1\"\n", "no count"),
        ("[[disk]]\nkernel_name = \"sda\"\n", "no id"),
        ("trust = \"much\"", "much"),
    ] {
        let error = Situation::parse(text).unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
    let policy = Situation::parse("policy = \"[gpu]\\nmissing = 3\"").unwrap();
    assert!(policy.judge(&[], &Model::parse("").unwrap()).is_err());
}
