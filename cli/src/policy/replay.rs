//! A verdict made again from what it was made of.

use anyhow::Context as _;
use contract::decision::{Decision, Finding};
use contract::policy_api::DecisionRecord;
use serde::Serialize;
use verdict::judge::judge;
use verdict::model::Model;
use verdict::policy::Policy;

use super::{Replay, policy_of, read};
use crate::Ending;
use crate::output::{clean, print, print_json, word};

/// What came of it.
#[derive(Debug, Serialize)]
struct Replayed {
    /// Byte for byte the same.
    same: bool,
    /// What differs, in words.
    differences: Vec<String>,
    decision: Decision,
}

/// `reprieve replay FILE [--policy P] [--model M]`: exit status 3 if the verdict is another.
pub fn replay(request: &Replay, json: bool) -> anyhow::Result<Ending> {
    let text = read(&request.file)?;
    let record: DecisionRecord = serde_json::from_str(&text).with_context(|| {
        format!("{} is not what `reprieve explain --export` writes", request.file.display())
    })?;
    let policy = match request.policies.as_slice() {
        [] => Policy::parse(&record.policy).context("the record's policy")?,
        files => policy_of(files)?,
    };
    let model = match &request.model {
        Some(path) => Model::parse(&read(path)?).with_context(|| path.display().to_string())?,
        None => Model::parse(&record.model).context("the record's model")?,
    };
    let recorded = &record.decision;
    let again = judge(&record.evidence, &record.context, &policy, &model, recorded.decided_at);
    let bytes = |decision| serde_json::to_vec(decision).context("could not encode a verdict");
    let same = bytes(recorded)? == bytes(&again)?;
    let differences = if same { Vec::new() } else { differences(recorded, &again) };
    let told = Replayed { same, differences, decision: again };
    if json {
        print_json(&told)?;
    } else {
        print(clean(&in_words(&told)).trim_end())?;
    }
    Ok(if told.same { Ending::Good } else { Ending::NotReached })
}

fn in_words(told: &Replayed) -> String {
    if told.same {
        return format!("the same verdict, byte for byte: {}", word(&told.decision.action));
    }
    let mut words = "another verdict than the recorded one:\n".to_owned();
    for difference in &told.differences {
        words.push_str(&format!("  - {difference}\n"));
    }
    words + "\n" + &verdict::explain::explain(&told.decision)
}

/// What a person wants to know first: the action, what it was made with, then finding by finding.
fn differences(recorded: &Decision, again: &Decision) -> Vec<String> {
    let mut words = Vec::new();
    let mut differ = |what: &str, before: String, after: String| {
        if before != after {
            words.push(format!("{what}: {before}, now {after}"));
        }
    };
    differ("action", word(&recorded.action), word(&again.action));
    differ("integrity", word(&recorded.integrity), word(&again.integrity));
    differ("fitness", word(&recorded.fitness), word(&again.fitness));
    differ(
        "confidentiality",
        format!("{:?}", recorded.confidentiality),
        format!("{:?}", again.confidentiality),
    );
    differ("rules", recorded.engine.clone(), again.engine.clone());
    differ("policy", recorded.policy.to_string(), again.policy.to_string());
    let model =
        |decision: &Decision| decision.model.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    differ("model", model(recorded), model(again));
    let told = |finding: &Finding| format!("{}: {}", finding.rule, finding.statement);
    words.extend(
        recorded
            .findings
            .iter()
            .filter(|one| !again.findings.contains(one))
            .map(|one| format!("no longer found: {}", told(one))),
    );
    words.extend(
        again
            .findings
            .iter()
            .filter(|one| !recorded.findings.contains(one))
            .map(|one| format!("found now: {}", told(one))),
    );
    if words.is_empty() {
        words.push("the words and figures beside the findings (reasons, costs, forecast)".to_owned());
    }
    words
}
