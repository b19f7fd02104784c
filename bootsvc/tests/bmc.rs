//! Management controllers: what is asked of them, what their faults lead to, and how what they say becomes part of a
//! verdict.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

// Not in `support`, which every other test is built with.
#[path = "support/controller.rs"]
mod controller;
mod support;

use std::sync::Arc;
use std::time::Duration;

use contract::agent_api::Instruction;
use contract::bmc::{BmcPartKind, BmcStatus, BmcTold, BmcView};
use contract::decision::{Action, Fitness, Severity};
use contract::id::UnixMillis;
use contract::operator_api::{JobState, StatusView};
use contract::policy_api::DecisionRecord;
use contract::reading::Trust;
use controller::{Answer, Controller, PASSWORD, ROOT, THERMAL, thermal, write_password};
use redfish::identity::Expected;
use reprieve_bootsvc::bmc::client::{self, Target};
use reprieve_bootsvc::bmc::configuration::{self, BmcSettings, Proof};
use reprieve_bootsvc::bmc::{password, trust};
use reprieve_bootsvc::config::Fragment;
use reqwest::Method;
use serde_json::json;
use support::Bench;
use support::flow::{installed, job, job_of};
use support::machine::{Machine, SERIAL};
use verdict::explain::explain;
use verdict::model::Model;
use verdict::policy::Policy;

fn settings_of(controller: &Controller) -> BmcSettings {
    let fragment = Fragment::parse(&controller.block()).unwrap();
    configuration::settings(&fragment.bmc, fragment.bmc_polling).unwrap().controllers.remove(0)
}

/// Asks the controller as the service does; in words why it told nothing.
async fn ask(settings: &BmcSettings) -> Result<BmcTold, String> {
    let tls = Arc::new(trust::tls_configuration(&settings.proof)?);
    let password = password::read(&settings.password_file)?;
    let target = Target { settings, tls, password, answer_max: Duration::from_secs(1) };
    let expected = Expected { system_uuid: None, serial: Some(SERIAL.to_owned()) };
    let look = client::ask(&target, expected).await.map_err(|error| error.to_string())?;
    look.finish(UnixMillis(1)).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controllers_faults_are_told_and_none_of_them_reads_as_well() {
    let controller = Controller::start().await;
    let elsewhere = Controller::start().await;
    let settings = settings_of(&controller);
    let well = ask(&settings).await.unwrap();
    assert_eq!((well.good, well.bad_total, well.unread.len()), (6, 0, 0), "{well:?}");
    let asked = controller.asked();
    assert_eq!(asked.len(), 7, "{asked:?}");
    assert!(
        asked
            .iter()
            .all(|one| one.starts_with("GET /redfish/v1/")
                && one.ends_with(" Basic d2F0Y2hlcjpjb3JyZWN0IGhvcnNl")),
        "{asked:?}"
    );

    let there = format!("https://{}{THERMAL}", elsewhere.address);
    // What one answer lacks is said; what the others say stays.
    for (answer, why) in [
        (Answer::Text("<html>"), "no JSON"),
        (Answer::Status(503), "HTTP 503"),
        (Answer::Status(403), "may not read"),
        (Answer::Elsewhere(there.clone()), "not followed"),
        (Answer::WithoutEnd, "longer than"),
        (Answer::Text("[]"), "no object"),
    ] {
        controller.set(THERMAL, answer);
        let told = ask(&settings).await.unwrap();
        assert_eq!((told.good, told.unread.len()), (3, 1), "{told:?}");
        assert!(told.unread[0].contains(THERMAL) && told.unread[0].contains(why), "{:?}", told.unread);
    }
    controller.set("/redfish/v1/Chassis/1", Answer::Json(json!({"Thermal": {"@odata.id": there}})));
    let told = ask(&settings).await.unwrap();
    assert!(told.unread.iter().any(|why| why.contains("is not followed")), "{told:?}");
    // Without these nothing is told.
    for (path, answer, why) in [
        (ROOT, Answer::Status(401), "refuses the user"),
        (THERMAL, Answer::Status(401), "refuses the user"),
        ("/redfish/v1/Systems", Answer::Status(403), "may not read"),
        (ROOT, Answer::Text("{\"Systems\""), "no JSON"),
        (ROOT, Answer::WithoutEnd, "longer than"),
        (ROOT, Answer::Elsewhere(format!("https://{}/", elsewhere.address)), "not followed"),
        (ROOT, Answer::Never, "no answer within 1 s"),
        ("/redfish/v1/Systems/1", Answer::Json(json!({"SerialNumber": "SN-2"})), "another machine"),
        (
            "/redfish/v1/Systems/1",
            Answer::Json(json!({"SerialNumber": SERIAL, "PowerState": "Off"})),
            "not switched on",
        ),
    ] {
        controller.be_well();
        controller.set(path, answer);
        let error = ask(&settings).await.unwrap_err();
        assert!(error.contains(why) && !error.contains(PASSWORD), "{error}");
    }
    assert_eq!(elsewhere.asked(), [""; 0], "nobody was led elsewhere");
    controller.be_well();
    controller.close_after_each();
    assert_eq!(ask(&settings).await, Ok(well));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_prove_who_it_is_is_told_no_password() {
    let controller = Controller::start().await;
    let other = Controller::start().await;
    let pinned = settings_of(&controller);
    let with = |proof: Proof| BmcSettings { proof, ..pinned.clone() };
    let ca = |of: &Controller| with(Proof::Ca(of.folder.path().join("ca.pem")));
    assert!(ask(&ca(&controller)).await.is_ok());
    assert_eq!(controller.asked().len(), 7);
    for (settings, why) in [
        (with(Proof::Certificate([1; 32])), controller.fingerprint.as_str()),
        (with(settings_of(&other).proof), "another certificate"),
        (ca(&other), "certificate"),
        (with(Proof::Ca(other.password_file())), "no certificate"),
    ] {
        let error = ask(&settings).await.unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(controller.asked(), [""; 0]);
    let closed = BmcSettings { port: 1, ..pinned.clone() };
    assert!(ask(&closed).await.unwrap_err().contains("cannot be reached"));
    assert!(!format!("{:?}", settings_of(&controller)).contains(PASSWORD));
}

async fn view(bench: &Bench, machine: &Machine) -> BmcView {
    bench.node(&machine.node.to_string()).await.bmc.unwrap()
}

async fn record(bench: &Bench, machine: &Machine) -> DecisionRecord {
    let path = format!("/v1/nodes/{}/decision-record", machine.node);
    bench.operator(Method::GET, &path, &()).await.unwrap()
}

/// The running system reports; the verdict that is on record.
async fn resident_verdict(bench: &Bench, machine: &Machine) -> DecisionRecord {
    let report = machine.report_of(bench, Trust::Resident).await;
    machine.send(bench, &report).await.unwrap();
    record(bench, machine).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_controller_says_is_in_the_verdict_and_can_be_replayed() {
    let controller = Controller::start().await;
    let bench = Bench::start_with(&controller.block()).await;
    let machine = installed(&bench).await;
    let severity = |record: &DecisionRecord, rule: &str| {
        let found = record.decision.findings.iter().filter(|finding| finding.rule == rule);
        found.map(|finding| finding.severity).max()
    };
    let before = resident_verdict(&bench, &machine).await;
    assert_eq!(severity(&before, "fitness/bmc-readings"), Some(Severity::Unknown), "nobody has asked it yet");
    bench.service.ask_controller(0).await;
    let well = resident_verdict(&bench, &machine).await;
    assert_eq!(severity(&well, "fitness/bmc-readings"), Some(Severity::Good));
    assert_eq!(well.decision.action, Action::Keep);

    controller.set(THERMAL, thermal("Critical", 21));
    bench.service.ask_controller(0).await;
    let told = view(&bench, &machine).await.told.unwrap();
    assert_eq!((told.bad_total, told.bad[0].kind), (1, BmcPartKind::Fan));
    // The running system, which cannot see that itself, is asked to look again.
    let next = machine.next(&bench).await;
    assert!(matches!(&next, Instruction::LookAgain { reason } if reason.contains("controller")), "{next:?}");
    let sick = resident_verdict(&bench, &machine).await;
    assert_eq!((sick.decision.action, sick.decision.fitness), (Action::Keep, Fitness::Watch));
    assert_eq!(severity(&sick, "fitness/bmc-fan"), Some(Severity::Warning));
    let told = explain(&sick.decision);
    assert!(told.contains("calls the fan 1/Fan 2 critical: health Critical"), "{told}");
    assert_eq!(sick.context.bmc.as_ref().unwrap().told.as_ref().unwrap().bad_total, 1);
    let (policy, model) = (Policy::parse(&sick.policy).unwrap(), Model::parse(&sick.model).unwrap());
    verdict::replay::replay(&sick.decision, &sick.evidence, &sick.context, &policy, &model).unwrap();

    // It does not answer any more: what it said last counts for its time, and why is told.
    controller.set(ROOT, Answer::Status(401));
    bench.service.ask_controller(0).await;
    let silent = view(&bench, &machine).await;
    assert!(silent.failure.as_ref().unwrap().contains("refuses the user"), "{silent:?}");
    assert_eq!(silent.told.unwrap().bad_total, 1);
    let status: StatusView = bench.operator(Method::GET, "/v1/status", &()).await.unwrap();
    assert_eq!(status.bmc, Some(BmcStatus { configured: 1, answering: 0 }));
    write_password(controller.folder.path(), "another");
    controller.be_well();
    controller.asked();
    bench.service.ask_controller(0).await;
    assert!(controller.asked()[0].ends_with("Basic d2F0Y2hlcjphbm90aGVy"), "the password is read anew");
    assert_eq!(view(&bench, &machine).await.failure, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_in_the_ramdisk_is_judged_with_what_its_agent_was_told() {
    let controller = Controller::start().await;
    let bench = Bench::start_with(&controller.block()).await;
    let mut machine = installed(&bench).await;
    controller.set(THERMAL, thermal("OK", 45));
    bench.service.ask_controller(0).await;
    let id = job_of(&bench, &machine, json!({"from_ramdisk": true})).await;
    let reply = machine.come(&bench).await;
    assert_eq!(reply.context.node.bmc.unwrap().told.unwrap().bad_total, 1);
    let report = machine.report_of(&bench, Trust::Ramdisk).await;
    assert_eq!(report.decision.as_ref().unwrap().action, Action::Quarantine);
    // It cools down while the agent looks; the agent is judged with what it was told all the same.
    controller.be_well();
    bench.service.ask_controller(0).await;
    let instruction = machine.send(&bench, &report).await.unwrap();
    assert!(matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
    let held = job(&bench, id).await;
    match held.state {
        JobState::Held { reason } => assert!(reason.contains("1/inlet critical: 45 cel"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let record = record(&bench, &machine).await;
    assert_eq!(
        serde_json::to_value(&record.decision).unwrap(),
        serde_json::to_value(report.decision).unwrap()
    );
    // The next look is told what is so now.
    assert_eq!(machine.context(&bench).await.node.bmc.unwrap().told.unwrap().bad_total, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_asks_by_itself_and_only_about_nodes_that_it_knows() {
    let controller = Controller::start().await;
    let bench = Bench::start_with(&controller.block()).await;
    bench.service.ask_controller(0).await;
    assert_eq!(controller.asked(), [""; 0], "no node with this serial number was seen");
    let machine = installed(&bench).await;
    assert_eq!(view(&bench, &machine).await.told, None);
    let service = Arc::clone(&bench.service);
    let polling = tokio::spawn(async move { service.keep_asking_controllers().await });
    let told = async {
        while view(&bench, &machine).await.told.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
    polling.abort();
}
