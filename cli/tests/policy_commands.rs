//! The real command on policy files, without a service.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

use std::path::Path;
use std::process::{Command, Output};

use contract::policy_api::DecisionRecord;
use verdict::model::Model;
use verdict::policy::Policy;
use verdict::situation::Situation;

fn reprieve(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reprieve")).current_dir(folder).args(arguments).output().unwrap()
}

/// Exit status, and what was said on both outputs.
fn said(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = reprieve(folder, arguments);
    let words = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&words).into_owned())
}

#[test]
fn check_says_yes_or_names_file_line_and_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("site.toml", "[erase]\nverify_samples = 5000\n");
    write("gpu.toml", "[fitness]\nmemory_percent_mni = 3\n");
    write(
        "rule.toml",
        "[[rule]]\nname = \"a\"\naction = \"watch\"\nwhy = \"w\"\nwhen = \"evidence.kernel_taitn.size() > 0\"\n",
    );
    let (status, words) = said(folder.path(), &["policy", "check", "site.toml"]);
    assert!(status == 0 && words.contains("are a policy"), "{words}");
    let (status, words) = said(folder.path(), &["policy", "check", "site.toml", "gpu.toml"]);
    assert_eq!(status, 1);
    assert!(
        words.contains("gpu.toml, line 2") && words.contains("did you mean \"memory_percent_min\""),
        "{words}"
    );
    let (status, words) = said(folder.path(), &["policy", "check", "rule.toml"]);
    assert_eq!(status, 1);
    assert!(
        words.contains("rule.toml, line 5") && words.contains("did you mean \"kernel_taint\""),
        "{words}"
    );
    let (status, words) = said(folder.path(), &["policy", "check", "nowhere.toml"]);
    assert!(status == 1 && words.contains("nowhere.toml"), "{words}");
    let (_, words) = said(folder.path(), &["policy", "show", "site.toml"]);
    assert!(words.contains("verify_samples = 5000  # site.toml"), "{words}");
}

const SITUATION: &str = "about = \"Somebody altered ls.\"\nbase = \"server\"\n[[reading]]\nof = \"image\"\n\
    key = \"image-files-altered\"\nvalue = [\"/usr/bin/ls\"]\n[expect]\naction = \"repair\"\n";

#[test]
fn situations_are_tried_and_what_differs_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let (status, words) = said(folder.path(), &["policy", "test", "."]);
    assert!(status == 1 && words.contains("holds no situations"), "{words}");
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    write("mine/altered.toml", SITUATION);
    let (status, words) = said(folder.path(), &["policy", "test", "mine"]);
    assert!(status == 0 && words.contains("1 situations, 0 of them differ"), "{words}");
    write("hold.toml", "[[rule]]\nname = \"a\"\naction = \"quarantine\"\nwhy = \"w\"\nwhen = \"now > 0\"\n");
    let (status, words) = said(folder.path(), &["policy", "test", "mine", "--policy", "hold.toml"]);
    assert_eq!(status, 3);
    assert!(words.contains("altered.toml: Somebody altered ls.") && words.contains("quarantine"), "{words}");
}

#[test]
fn a_record_is_judged_again_alike_and_otherwise_under_another_policy() {
    let folder = tempfile::tempdir().unwrap();
    let situation = Situation::parse(SITUATION).unwrap();
    let (policy, model) = (Policy::parse("").unwrap(), Model::parse("").unwrap());
    let record = DecisionRecord {
        decision: situation.judge(&[], &model).unwrap(),
        evidence: situation.evidence.clone(),
        context: situation.context.clone(),
        policy: policy.canonical_text().to_owned(),
        model: Model::default_text().to_owned(),
        names_withheld: false,
    };
    std::fs::write(folder.path().join("record.json"), serde_json::to_vec(&record).unwrap()).unwrap();
    let (status, words) = said(folder.path(), &["replay", "record.json"]);
    assert!(status == 0 && words.contains("byte for byte: repair"), "{words}");
    let hold =
        format!("[[hold]]\nname = \"c\"\nwhy = \"court order\"\nnodes = [\"{}\"]\n", record.context.node);
    std::fs::write(folder.path().join("hold.toml"), hold).unwrap();
    let (status, words) = said(folder.path(), &["replay", "record.json", "--policy", "hold.toml"]);
    assert_eq!(status, 3);
    assert!(words.contains("action: repair, now quarantine") && words.contains("court order"), "{words}");
    let altered = String::from_utf8(serde_json::to_vec(&record).unwrap()).unwrap();
    let altered = altered.replacen("\"action\":\"repair\"", "\"action\":\"keep\"", 1);
    std::fs::write(folder.path().join("record.json"), altered).unwrap();
    assert_eq!(said(folder.path(), &["replay", "record.json"]).0, 3);
    std::fs::write(folder.path().join("record.json"), "{}").unwrap();
    let (status, words) = said(folder.path(), &["replay", "record.json"]);
    assert!(status == 1 && words.contains("explain --export"), "{words}");
}
