//! What belongs to one node: kept, shown without secrets, and handed only to whom it was ordered for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::Instruction;
use contract::node_data::{NodeDataView, SeedFiles};
use contract::operator_api::{ErrorBody, ErrorKind};
use contract::plan::Step;
use reqwest::Method;
use serde_json::{Value, json};
use support::flow::{discovered, job_of, reimage};
use support::machine::{Machine, SERIAL, order_in};
use support::{Bench, kind_of};

const HASH: &str = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc";

fn data(host_name: &str) -> Value {
    json!({
        "host_name": host_name,
        "users": [{"name": "anna", "password_hash": HASH}],
        "user_data": "#cloud-config\npackages: [secret-package]\n",
    })
}

async fn set(bench: &Bench, machine: &Machine, data: &Value) -> Result<NodeDataView, ErrorBody> {
    bench.operator(Method::PUT, &format!("/v1/nodes/{}/data", machine.node), data).await
}

async fn shown(bench: &Bench, machine: &Machine) -> Result<NodeDataView, ErrorBody> {
    bench.operator(Method::GET, &format!("/v1/nodes/{}/data", machine.node), &()).await
}

async fn assign(bench: &Bench, machine: &Machine, image: &str, tenant: &str) {
    let request = json!({"image": image, "tenant": tenant, "pool": null, "os_disk": null});
    let path = format!("/v1/nodes/{}/assign", machine.node);
    bench.operator::<Value>(Method::POST, &path, &request).await.unwrap();
}

async fn files(bench: &Bench, machine: &Machine) -> Result<SeedFiles, ErrorBody> {
    bench.call(Method::GET, "/v1/agent/node-data", &machine.session, &()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_reach_the_ramdisk_that_has_them_in_its_order_and_nobody_else() {
    let bench = Bench::start().await;
    let mut machine = discovered(&bench).await;
    assert_eq!(kind_of(set(&bench, &machine, &data("early")).await), ErrorKind::Conflict, "no tenant");
    assign(&bench, &machine, "debian", "a").await;
    assert_eq!(kind_of(shown(&bench, &machine).await), ErrorKind::NotFound);
    let view = set(&bench, &machine, &data("node-1")).await.unwrap();
    assert!(view.wanted.is_some() && view.written.is_none());
    assert_eq!(view.users_with_password, ["anna"]);
    let text =
        bench.raw(Method::GET, &format!("/v1/nodes/{}/data", machine.node), &bench.token, vec![]).await;
    let text = text.text().await.unwrap();
    assert!(text.contains("node-1") && !text.contains("saltsalt") && !text.contains("secret-package"));

    job_of(&bench, &machine, json!({"at_least": "reimage", "confirm_serial": SERIAL})).await;
    assert!(matches!(machine.next(&bench).await, Instruction::LookAgain { .. }));
    assert_eq!(kind_of(files(&bench, &machine).await), ErrorKind::Conflict, "before the order");
    let (report, instruction) = machine.report(&bench).await;
    let (order, plan) = (order_in(&bench, &instruction), report.plan.unwrap());
    let ordered = plan.steps.iter().find_map(|step| match step {
        Step::WriteImage { node_data, .. } => *node_data,
        _ => None,
    });
    assert_eq!(ordered, view.wanted);
    let files_given = files(&bench, &machine).await.unwrap();
    let volume = imaging::seed::volume(&files_given).unwrap();
    assert_eq!(Some(imaging::seed::digest(&volume)), ordered);
    assert!(files_given.user_data.reveal().contains("multipart/mixed"));
    assert_eq!(kind_of(set(&bench, &machine, &data("late")).await), ErrorKind::Conflict, "while writing");
    // Nobody else is given them: no stranger, no operator, not the installed system.
    for bearer in ["none", bench.token.as_str()] {
        let refused = bench.raw(Method::GET, "/v1/agent/node-data", bearer, vec![]).await;
        assert_eq!(refused.status(), 401);
    }
    let (identity, _) = machine.carry_out(&bench, &order, &plan).await;
    assert_eq!(shown(&bench, &machine).await.unwrap().written, ordered);
    assert_eq!(kind_of(files(&bench, &machine).await), ErrorKind::Conflict, "after the order");
    let credential = identity.unwrap().credential;
    let refused = bench.raw(Method::GET, "/v1/agent/node-data", credential.reveal(), vec![]).await;
    assert_eq!(refused.status(), 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_never_gets_them() {
    let bench = Bench::start().await;
    let machine = discovered(&bench).await;
    bench.import("newer", 2).await;
    assign(&bench, &machine, "debian", "a").await;
    let of_a = set(&bench, &machine, &data("node-1")).await.unwrap();
    // Another image is another volume of the same data.
    assign(&bench, &machine, "newer", "a").await;
    let newer = shown(&bench, &machine).await.unwrap();
    assert!(newer.wanted.is_some() && newer.wanted != of_a.wanted);
    // The request itself changes the tenant.
    reimage(&bench, &machine, json!({"tenant": "b", "confirm_serial": SERIAL})).await.unwrap();
    assert_eq!(shown(&bench, &machine).await.unwrap().wanted, None);
    assert!(matches!(machine.next(&bench).await, Instruction::LookAgain { .. }));
    assert_eq!(machine.context(&bench).await.node.node_data, None);
    let (report, _) = machine.report(&bench).await;
    let steps = report.plan.unwrap().steps;
    assert!(steps.iter().any(|step| matches!(step, Step::WriteImage { node_data: None, .. })), "{steps:?}");
    assert_eq!(kind_of(files(&bench, &machine).await), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_what_is_cleared_is_gone() {
    let bench = Bench::start().await;
    let machine = discovered(&bench).await;
    assign(&bench, &machine, "debian", "a").await;
    for wrong in [
        json!({"hostname": "x"}),
        json!({"host_name": "a b"}),
        json!({"users": [{"name": "anna", "password_hash": "hunter2"}]}),
        json!({"user_data": "no first line that anybody knows"}),
    ] {
        let refused = set(&bench, &machine, &wrong).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::BadRequest, "{wrong}");
        assert!(!format!("{refused:?}").contains("hunter2"));
    }
    let long = json!({"user_data": format!("#{}", "x".repeat(300 << 10))});
    assert_eq!(kind_of(set(&bench, &machine, &long).await), ErrorKind::TooLarge);
    set(&bench, &machine, &data("node-1")).await.unwrap();
    let path = format!("/v1/nodes/{}/data", machine.node);
    bench.operator::<Value>(Method::DELETE, &path, &()).await.unwrap();
    assert_eq!(kind_of(shown(&bench, &machine).await), ErrorKind::NotFound);
    let again: Result<Value, ErrorBody> = bench.operator(Method::DELETE, &path, &()).await;
    assert_eq!(kind_of(again), ErrorKind::NotFound);
}
