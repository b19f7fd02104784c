//! Policies over the real API: which is in force, what another would change, and verdicts made again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::Instruction;
use contract::decision::{Action, Fitness};
use contract::model_api::ModelView;
use contract::operator_api::{
    DecisionView, ErrorBody, ErrorKind, JobState, JobView, NodeView, ReimageReply, StatusView,
};
use contract::policy_api::{Axes, DecisionRecord, PolicyDiff, PolicyDiffRequest, PolicyLayer, PolicyView};
use contract::reading::{ReadingKey, ReadingValue, Subject, Trust};
use contract::wave::{WaveState, WaveView};
use reqwest::Method;
use serde_json::json;
use support::Bench;
use support::flow::{asked, installed, job, job_of, reimage};
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

    // What only watches a node is another verdict too.
    let stricter = "[fitness]\nremediations_watch_from = 1\n";
    let watching = diff(&bench, stricter, None).await.unwrap();
    let [change] = watching.changes.as_slice() else { panic!("{watching:?}") };
    assert_eq!((change.before, change.after), (Action::Keep, Action::Keep));
    let fitness = |axes: &Option<Axes>| axes.as_ref().map(|axes| axes.fitness);
    assert_eq!(fitness(&change.before_axes), Some(Fitness::Fit));
    assert_eq!(fitness(&change.after_axes), Some(Fitness::Watch));
    assert!(change.after_because.contains("put right"), "{change:?}");

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

/// A policy whose only window is on another day of the week.
fn closed() -> String {
    let days = reprieve_bootsvc::clock::now().0 / 86_400_000 + 3;
    let in_three_days =
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][usize::try_from((days + 3) % 7).unwrap()];
    format!("[windows]\nbegin = [\"{in_three_days} 00:00-24:00\"]\n")
}

async fn put(bench: &Bench, policy: &str) {
    std::fs::write(bench.folder.path().join("policy.toml"), policy).unwrap();
    bench.service.read_policies_again().await;
}

async fn opened(bench: &Bench) -> usize {
    bench.service.open_windows(reprieve_bootsvc::clock::now()).await.unwrap()
}

fn held_for_window(job: &JobView) {
    match &job.state {
        JobState::Held { reason } => assert!(reason.contains("waits for a window"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// What is certain to change disks is not even looked at before its window; the node goes on working.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_outside_of_the_windows_waits_and_goes_on_by_itself() {
    let bench = Bench::start_with_policy("").await;
    let machine = installed(&bench).await;
    put(&bench, &closed()).await;
    let wipe = json!({"at_least": "wipe", "confirmed": true});
    let mut dry = wipe.clone();
    dry["dry_run"] = json!(true);
    match reimage(&bench, &machine, dry).await.unwrap() {
        ReimageReply::Job { expectation, .. } => {
            assert!(expectation.contains("waits for a window"), "{expectation}")
        }
        other => panic!("{other:?}"),
    }
    let id = job_of(&bench, &machine, wipe.clone()).await;
    held_for_window(&job(&bench, id).await);
    assert_eq!(opened(&bench).await, 0);
    held_for_window(&job(&bench, id).await);
    // A cancelled one leaves nothing held behind it.
    let _: JobView = bench.operator(Method::POST, &format!("/v1/jobs/{id}/cancel"), &()).await.unwrap();
    assert_eq!(bench.node(&machine.node.to_string()).await.hold_reason, None);

    let id = job_of(&bench, &machine, wipe).await;
    put(&bench, "").await;
    assert_eq!((opened(&bench).await, opened(&bench).await), (1, 0));
    assert_eq!(job(&bench, id).await.state, JobState::Waiting);
    assert_eq!(bench.node(&machine.node.to_string()).await.hold_reason, None);
    assert!(matches!(machine.next(&bench).await, Instruction::EnterRamdisk { .. }));
}

/// A window that closes between request, verdict, order and first step makes the work wait each time, and what
/// has begun is finished.
#[tokio::test(flavor = "multi_thread")]
async fn no_work_begins_outside_of_the_windows_and_what_has_begun_is_finished() {
    let bench = Bench::start_with_policy("").await;
    let mut machine = installed(&bench).await;
    let id = job_of(&bench, &machine, json!({"at_least": "wipe", "confirmed": true})).await;
    machine.come(&bench).await;
    put(&bench, &closed()).await;
    let (report, instruction) = machine.report(&bench).await;
    let decision = report.decision.unwrap();
    assert_eq!((decision.action, report.plan), (Action::Wipe, None), "the verdict is what it is");
    assert!(decision.findings.iter().any(|finding| finding.rule == "request/window"));
    assert!(matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
    held_for_window(&job(&bench, id).await);

    put(&bench, "").await;
    assert_eq!(opened(&bench).await, 1);
    assert!(matches!(machine.next(&bench).await, Instruction::LookAgain { .. }));
    let (_, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    put(&bench, &closed()).await;
    let refused = machine.begin(&bench, &order, 0).await.unwrap_err();
    assert!(refused.message.contains("may begin before"), "{refused:?}");
    held_for_window(&job(&bench, id).await);

    put(&bench, "").await;
    assert_eq!(opened(&bench).await, 1);
    assert!(matches!(machine.next(&bench).await, Instruction::BootLocal { .. }), "one order for each boot");
    machine.come(&bench).await;
    let (_, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    machine.begin(&bench, &order, 0).await.unwrap();
    put(&bench, &closed()).await;
    machine.begin(&bench, &order, 1).await.unwrap();
}

/// What a person asks for at any time is done at any time, and recorded as that; another hold is never taken
/// for a window's.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_ask_for_work_outside_of_the_windows() {
    let bench = Bench::start_with_policy("").await;
    let mut machine = installed(&bench).await;
    put(&bench, &closed()).await;
    let anytime = json!({"at_least": "wipe", "confirmed": true, "outside_windows": true});
    let (id, instruction) = asked(&bench, &mut machine, anytime).await;
    let order = order_in(&bench, &instruction);
    let recorded = job(&bench, id).await.events;
    assert!(recorded[0].text.contains("outside the policy's windows"), "{recorded:?}");
    machine.begin(&bench, &order, 0).await.unwrap();

    // So may who goes back to the image before.
    let bench = Bench::start_with_policy("").await;
    let machine = installed(&bench).await;
    bench.import("newer", 2).await;
    let path = format!("/v1/nodes/{}/assign", machine.node);
    let _: NodeView = bench.operator(Method::POST, &path, &json!({"image": "newer"})).await.unwrap();
    put(&bench, &closed()).await;
    let path = format!("/v1/nodes/{}/rollback", machine.node);
    let back = json!({"dry_run": false, "confirm_serial": null, "confirmed": true, "outside_windows": true});
    let reply: ReimageReply = bench.operator(Method::POST, &path, &back).await.unwrap();
    let ReimageReply::Job { job: Some(id), .. } = reply else { panic!("{reply:?}") };
    let recorded = job(&bench, id).await;
    assert!(recorded.events[0].text.contains("outside the policy's windows"), "{recorded:?}");
    assert_eq!(recorded.state, JobState::Waiting);

    let bench = Bench::start_with_policy("").await;
    let machine = installed(&bench).await;
    put(&bench, &closed()).await;
    let id = job_of(&bench, &machine, json!({"at_least": "wipe", "confirmed": true})).await;
    let mut change = bench.service.change(machine.node).await.unwrap();
    change.hold("an operator looks").unwrap();
    change.commit().await.unwrap();
    put(&bench, "").await;
    assert_eq!(opened(&bench).await, 0);
    assert!(matches!(job(&bench, id).await.state, JobState::Held { .. }));
}

/// A model is read again as policies are: whoever asks and whoever judges has the one in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_read_again_and_a_broken_one_never_replaces_it() {
    let bench = Bench::start_with_model("").await;
    let path = bench.folder.path().join("model.toml");
    let machine = installed(&bench).await;
    let shown = async || -> ModelView { bench.operator(Method::GET, "/v1/model", &()).await.unwrap() };
    let built_in = Model::parse("").unwrap().digest();
    assert_eq!(shown().await.digest, built_in);
    let other = "[forecast]\nhorizon_days = 60\n";
    std::fs::write(&path, other).unwrap();
    assert_eq!(shown().await.digest, built_in, "nothing is taken before somebody says so");
    bench.service.read_policies_again().await;
    let digest = Model::parse(other).unwrap().digest();
    let view = shown().await;
    assert_eq!((view.digest, view.text.as_str(), view.problem), (digest, other, None));
    let report = machine.report_of(&bench, Trust::Resident).await;
    machine.send(&bench, &report).await.unwrap();
    assert_eq!(report.decision.unwrap().model, Some(digest));
    let record: DecisionRecord = bench
        .operator(Method::GET, &format!("/v1/nodes/{}/decision-record", machine.node), &())
        .await
        .unwrap();
    assert_eq!(record.model, other, "what it was judged with is kept");

    std::fs::write(&path, "[forcast]\n").unwrap();
    bench.service.read_policies_again().await;
    let view = shown().await;
    assert_eq!(view.digest, digest);
    assert!(view.problem.unwrap().contains("forcast"));
    let status: StatusView = bench.operator(Method::GET, "/v1/status", &()).await.unwrap();
    let model = status.model.unwrap();
    assert_eq!(model.digest, digest);
    assert!(model.problem.is_some());
}

/// What is exported of data that do not leave the site has no names of files, and can still be judged again.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_data_that_stay_has_no_names_of_files() {
    let bench = Bench::start_with_policy("").await;
    let mut machine = installed(&bench).await;
    let list = |items: &[&str]| ReadingValue::list(items.iter().map(|item| (*item).to_owned()).collect());
    machine.system_line = "root=LABEL=system ro log=/srv/bank-of-ours";
    machine.more_readings = vec![
        (Subject::Image, ReadingKey::ImageFilesForeign, list(&["/usr/lib/bank-of-ours.so"])),
        (Subject::Node, ReadingKey::KernelOutOfMemory, list(&["task_memcg=/srv/bank-of-ours", "no name"])),
    ];
    let report = machine.report_of(&bench, Trust::Resident).await;
    machine.send(&bench, &report).await.unwrap();
    let path = format!("/v1/nodes/{}/decision-record", machine.node);
    let exported = async || -> DecisionRecord { bench.operator(Method::GET, &path, &()).await.unwrap() };
    let whole = exported().await;
    assert!(serde_json::to_string(&whole).unwrap().contains("bank-of-ours") && !whole.names_withheld);

    put(&bench, "[tenancy]\nclasses = { a = \"regulated\" }\n").await;
    let record = exported().await;
    assert!(record.names_withheld);
    let text = serde_json::to_string(&record).unwrap();
    assert!(
        !text.contains("bank-of-ours") && text.contains("/withheld/1") && text.contains("no name"),
        "{text}"
    );
    assert_eq!(record.decision.action, whole.decision.action);
    // A screen may stand elsewhere, too.
    let path = format!("/v1/nodes/{}/decision", machine.node);
    let shown: DecisionView = bench.operator(Method::GET, &path, &()).await.unwrap();
    assert!(shown.names_withheld && shown.decision == record.decision && shown.evidence == record.evidence);
    let asked: DecisionView = bench.operator(Method::GET, &format!("{path}?names=true"), &()).await.unwrap();
    assert!(!asked.names_withheld && asked.decision == whole.decision);
    let (policy, model) = (Policy::parse(&record.policy).unwrap(), Model::parse(&record.model).unwrap());
    verdict::replay::replay(&record.decision, &record.evidence, &record.context, &policy, &model).unwrap();
}

/// A node of a wave that waits for its window has not failed, and the wave goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_wave_is_not_halted_by_a_window_that_is_closed() {
    let bench = Bench::start_with_policy("").await;
    installed(&bench).await;
    bench.import("newer", 2).await;
    put(&bench, &closed()).await;
    let request = json!({"pool": "default", "image": "newer", "dry_run": false, "confirmed": true});
    let wave: WaveView = bench.operator(Method::POST, "/v1/waves", &request).await.unwrap();
    let path = format!("/v1/waves/{}", wave.id.unwrap());
    let tick = async || {
        for _ in 0..3 {
            bench.service.tick_waves(reprieve_bootsvc::clock::now()).await.unwrap();
        }
        let jobs: Vec<JobView> = bench.operator(Method::GET, "/v1/jobs", &()).await.unwrap();
        let wave: WaveView = bench.operator(Method::GET, &path, &()).await.unwrap();
        assert!(matches!(wave.state, WaveState::Rolling(_)), "{:?}", wave.state);
        jobs[0].clone()
    };
    let waiting = tick().await;
    held_for_window(&waiting);
    put(&bench, "").await;
    assert_eq!(opened(&bench).await, 1);
    let going_on = tick().await;
    assert_eq!((going_on.id, going_on.state), (waiting.id, JobState::Waiting));
}
