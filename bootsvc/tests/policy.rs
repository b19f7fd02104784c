//! Policies over the real API: which is in force, what another would change, and verdicts made again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::decision::Action;
use contract::operator_api::{ErrorBody, ErrorKind, StatusView};
use contract::policy_api::{DecisionRecord, PolicyDiff, PolicyDiffRequest, PolicyLayer, PolicyView};
use contract::reading::{ReadingKey, Subject, Trust};
use reqwest::Method;
use serde_json::json;
use support::Bench;
use support::flow::{asked, installed};
use support::machine::order_in;
use verdict::model::Model;
use verdict::policy::Policy;

async fn diff(bench: &Bench, text: &str, pool: Option<&str>) -> Result<PolicyDiff, ErrorBody> {
    let new = PolicyLayer { name: "new.toml".to_owned(), text: text.to_owned() };
    let pool = pool.map(|pool| pool.parse().unwrap());
    bench.operator(Method::POST, "/v1/policy/diff", &PolicyDiffRequest { new, pool, after: None }).await
}

const RULE: &str = "[[rule]]\nname = \"mine\"\nwhen = \"node.pool == 'default'\"\naction = \"quarantine\"\nwhy = \"we know better\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_shows_which_nodes_it_would_judge_otherwise_and_changes_nothing() {
    let bench = Bench::start_with_policy("").await;
    let machine = installed(&bench).await;
    let same = diff(&bench, "[erase]\nverify_samples = 5000\n", None).await.unwrap();
    assert_eq!((same.judged, same.not_judged, same.changes.len(), same.next), (1, 0, 0, None));

    let other = diff(&bench, RULE, None).await.unwrap();
    let change = &other.changes[0];
    assert_eq!((change.node, change.before, change.after), (machine.node, Action::Keep, Action::Quarantine));
    assert!(change.after_because.contains("we know better"), "{change:?}");
    assert_eq!(diff(&bench, RULE, Some("default")).await.unwrap().changes.len(), 1);
    assert_eq!(diff(&bench, RULE, Some("gpu")).await.unwrap().judged, 0);

    // Nothing of it was applied.
    let view: PolicyView = bench.operator(Method::GET, "/v1/policy", &()).await.unwrap();
    assert_eq!(view.digest, Policy::parse("").unwrap().digest());
    let report = machine.report_of(&bench, Trust::Resident).await;
    assert_eq!(report.decision.unwrap().action, Action::Keep);

    let refused = diff(&bench, "[fitnes]\n", None).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::BadRequest);
    assert!(
        refused.message.contains("new.toml, line 1") && refused.message.contains("fitness"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_made_again_byte_for_byte_also_after_its_policy_is_gone() {
    let bench = Bench::start_with_policy("[integrity]\nforeign_files = \"ignore\"\n").await;
    let machine = installed(&bench).await;
    let before = bench.service.policies.site().policy.digest();
    std::fs::write(bench.folder.path().join("policy.toml"), "[integrity]\nforeign_files = \"reimage\"\n")
        .unwrap();
    bench.service.read_policies_again().await;
    assert_ne!(bench.service.policies.site().policy.digest(), before);

    let path = format!("/v1/nodes/{}/decision-record", machine.node);
    let record: DecisionRecord = bench.operator(Method::GET, &path, &()).await.unwrap();
    assert_eq!(record.decision.policy, before);
    let policy = Policy::parse(&record.policy).unwrap();
    let model = Model::parse(&record.model).unwrap();
    verdict::replay::replay(&record.decision, &record.evidence, &record.context, &policy, &model).unwrap();
    let _: DecisionRecord = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
}

/// The agent is given what its pool has, judges as the service does, and a hold keeps its disk as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_pools_hold_reaches_its_nodes_and_a_broken_file_changes_nothing() {
    let bench = Bench::start_with_policy("").await;
    let mut machine = installed(&bench).await;
    std::fs::create_dir(bench.folder.path().join("pools")).unwrap();
    let hold =
        format!("[[hold]]\nname = \"case-17\"\nwhy = \"court order\"\nnodes = [\"{}\"]\n", machine.node);
    std::fs::write(bench.folder.path().join("pools/default.toml"), &hold).unwrap();
    bench.service.read_policies_again().await;
    let altered = contract::reading::ReadingValue::list(vec!["/usr/bin/ls".to_owned()]);
    machine.more_readings = vec![(Subject::Image, ReadingKey::ImageFilesAltered, altered)];
    let report = machine.report_of(&bench, Trust::Resident).await;
    let decision = report.decision.clone().unwrap();
    assert_eq!(decision.action, Action::Quarantine, "{:?}", decision.reasons);
    machine.send(&bench, &report).await.unwrap();
    let view: serde_json::Value =
        bench.operator(Method::GET, &format!("/v1/nodes/{}/decision", machine.node), &()).await.unwrap();
    assert_eq!(view["decision"], json!(decision), "agent and service judge by the same policy");

    std::fs::write(bench.folder.path().join("policy.toml"), "[bot]\n").unwrap();
    bench.service.read_policies_again().await;
    let status: StatusView = bench.operator(Method::GET, "/v1/status", &()).await.unwrap();
    let policy = status.policy.unwrap();
    assert!(policy.problem.as_ref().unwrap().contains("policy.toml, line 1"), "{policy:?}");
    assert_eq!(policy.pools.len(), 1);
    assert_eq!(machine.report_of(&bench, Trust::Resident).await.decision.unwrap().action, Action::Quarantine);
}

/// A hold that comes after an order was signed stops it, also between its steps.
#[tokio::test(flavor = "multi_thread")]
async fn no_step_begins_under_a_hold_that_is_younger_than_its_order() {
    let bench = Bench::start_with_policy("").await;
    let mut machine = installed(&bench).await;
    let (_, instruction) = asked(&bench, &mut machine, json!({"at_least": "wipe", "confirmed": true})).await;
    let order = order_in(&bench, &instruction);
    let policy = bench.folder.path().join("policy.toml");
    let hold =
        format!("[[hold]]\nname = \"case-17\"\nwhy = \"court order\"\nnodes = [\"{}\"]\n", machine.node);
    let put = async |text: &str| {
        std::fs::write(&policy, text).unwrap();
        bench.service.read_policies_again().await;
    };
    put(&hold).await;
    let refused = machine.begin(&bench, &order, 0).await.unwrap_err();
    assert!(refused.message.contains("case-17"), "{refused:?}");
    put("").await;
    machine.begin(&bench, &order, 0).await.unwrap();
    put(&hold).await;
    assert!(machine.begin(&bench, &order, 1).await.unwrap_err().message.contains("case-17"));
}
