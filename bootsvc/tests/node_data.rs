//! What belongs to one node: kept, shown without secrets, and handed only to whom it was ordered for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{FinishResult, Instruction};
use contract::id::UnixMillis;
use contract::node_data::{NodeDataView, SeedFiles};
use contract::operator_api::{ErrorBody, ErrorKind};
use contract::order::Order;
use contract::plan::{Plan, Step};
use contract::reading::Trust;
use reprieve_bootsvc::store::{self, leases::LeaseRow};
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

/// What was changed since the image was written is written alone, by the next look from the ramdisk.
#[tokio::test(flavor = "multi_thread")]
async fn changed_data_are_written_alone() {
    let bench = Bench::start().await;
    let mut machine = discovered(&bench).await;
    assign(&bench, &machine, "debian", "a").await;
    set(&bench, &machine, &data("node-1")).await.unwrap();
    job_of(&bench, &machine, json!({"at_least": "reimage", "confirm_serial": SERIAL})).await;
    assert!(matches!(machine.next(&bench).await, Instruction::LookAgain { .. }));
    let (report, instruction) = machine.report(&bench).await;
    let (identity, _) =
        machine.carry_out(&bench, &order_in(&bench, &instruction), &report.plan.unwrap()).await;
    machine.come_up_and_settle(&bench, &identity.unwrap()).await;

    let changed = set(&bench, &machine, &data("node-2")).await.unwrap();
    assert!(changed.written.is_some() && changed.written != changed.wanted);
    job_of(&bench, &machine, json!({"at_least": "repair", "confirm_serial": SERIAL})).await;
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let (order, plan) = (order_in(&bench, &instruction), report.plan.unwrap());
    let [Step::WriteSeed { node_data, .. }] = &plan.steps[..] else { panic!("{plan:?}") };
    assert_eq!(*node_data, changed.wanted);
    let volume = imaging::seed::volume(&files(&bench, &machine).await.unwrap()).unwrap();
    assert_eq!(Some(imaging::seed::digest(&volume)), changed.wanted);
    let (_, instruction) = machine.carry_out(&bench, &order, &plan).await;
    assert!(matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
    let view = shown(&bench, &machine).await.unwrap();
    assert_eq!(view.written, view.wanted);
}

/// A node whose data are on its disk, and which is told to wipe it.
async fn to_be_wiped(bench: &Bench, at_least: &str) -> (Machine, Order, Plan) {
    let mut machine = discovered(bench).await;
    assign(bench, &machine, "debian", "a").await;
    set(bench, &machine, &data("node-1")).await.unwrap();
    job_of(bench, &machine, json!({"at_least": "reimage", "confirm_serial": SERIAL})).await;
    assert!(matches!(machine.next(bench).await, Instruction::LookAgain { .. }));
    let (report, instruction) = machine.report(bench).await;
    let order = order_in(bench, &instruction);
    let (identity, _) = machine.carry_out(bench, &order, &report.plan.unwrap()).await;
    let view = shown(bench, &machine).await.unwrap();
    assert!(view.wanted.is_some() && view.written == view.wanted, "{view:?}");
    machine.come_up_and_settle(bench, &identity.unwrap()).await;
    let wipe =
        json!({"at_least": at_least, "sanitize_level": "clear", "why": "RMA", "confirm_serial": SERIAL});
    job_of(bench, &machine, wipe).await;
    machine.come(bench).await;
    let (report, instruction) = machine.report(bench).await;
    let order = order_in(bench, &instruction);
    (machine, order, report.plan.unwrap())
}

/// From the beginning of a step that may change them until the order is proven, nobody says that they are
/// on the disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_on_the_disk_is_not_claimed_after_work_that_failed() {
    let bench = Bench::start().await;
    let (machine, order, _) = to_be_wiped(&bench, "wipe").await;
    machine.begin(&bench, &order, 0).await.unwrap();
    assert_eq!(shown(&bench, &machine).await.unwrap().written, None, "while it is erased");
    let failed = FinishResult::Failed { step: 0, error: "the disk is gone".to_owned() };
    machine.finish(&bench, &order, failed, Vec::new()).await.unwrap();
    assert_eq!(shown(&bench, &machine).await.unwrap().written, None, "after it failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_left_empty_has_no_data_of_its_own() {
    let bench = Bench::start().await;
    let (mut machine, order, plan) = to_be_wiped(&bench, "empty").await;
    machine.carry_out(&bench, &order, &plan).await;
    assert_eq!(kind_of(shown(&bench, &machine).await), ErrorKind::NotFound);
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

/// A lease of this service's DHCP, as the listener would have written it.
async fn lend(bench: &Bench, address: &str, mac: &str, expires_at: u64) {
    let row = LeaseRow {
        interface: "lo".to_owned(),
        address: address.to_owned(),
        client: mac.to_owned(),
        expires_at: UnixMillis(expires_at),
        body: "{}".to_owned(),
    };
    let mut transaction = bench.service.store.write().await.unwrap();
    store::leases::put(&mut transaction, &row).await.unwrap();
    store::commit(transaction).await.unwrap();
}

/// What whoever asks from this address is told.
async fn told(bench: &Bench, file: &str) -> Option<String> {
    let response = bench.plain(&format!("/metadata/{file}")).await;
    match response.status().as_u16() {
        200 => Some(response.text().await.unwrap()),
        404 => None,
        other => panic!("{other}"),
    }
}

const DHCP: &str = "[[dhcp]]\ninterface = \"lo\"\nmode = \"authoritative\"\naddress = \"127.0.0.1\"\n\
                    subnet = \"127.0.0.0/24\"\npool = [\"127.0.0.100-127.0.0.200\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn over_plain_http_only_the_running_system_of_the_tenant_is_told_and_no_secret() {
    let bench = Bench::start_with(&format!("[metadata]\nenabled = true\n{DHCP}")).await;
    let mut machine = discovered(&bench).await;
    let mac = machine.mac.to_string();
    assign(&bench, &machine, "debian", "a").await;
    set(&bench, &machine, &data("node-1")).await.unwrap();
    assert_eq!(told(&bench, "meta-data").await, None, "whom nothing is lent");
    lend(&bench, "127.0.0.1", &mac, 1).await;
    assert_eq!(told(&bench, "meta-data").await, None, "a lease that is over");
    lend(&bench, "127.0.0.1", &mac, u64::MAX / 4).await;
    assert_eq!(told(&bench, "meta-data").await, None, "not installed yet");

    job_of(&bench, &machine, json!({"at_least": "reimage", "confirm_serial": SERIAL})).await;
    assert!(matches!(machine.next(&bench).await, Instruction::LookAgain { .. }));
    let (report, instruction) = machine.report(&bench).await;
    let (order, plan) = (order_in(&bench, &instruction), report.plan.unwrap());
    let ordered = files(&bench, &machine).await.unwrap();
    assert_eq!(told(&bench, "meta-data").await, None, "in the ramdisk");
    let (identity, _) = machine.carry_out(&bench, &order, &plan).await;
    assert_eq!(told(&bench, "meta-data").await, Some(ordered.meta_data), "one instance, from both places");
    let user_data = told(&bench, "user-data").await.unwrap();
    assert!(user_data.contains("anna"), "{user_data}");
    assert!(!user_data.contains("saltsalt") && !user_data.contains("secret-package"), "{user_data}");
    assert_eq!(told(&bench, "vendor-data").await, Some(String::new()));
    for file in ["network-config", "seed", "..%2Fhealthz"] {
        assert_eq!(told(&bench, file).await, None, "{file}");
    }
    let resident = machine.into_resident(&identity.unwrap().credential);
    let report = resident.report_of(&bench, Trust::Resident).await;
    resident.send(&bench, &report).await.unwrap();
    assert!(told(&bench, "meta-data").await.is_some(), "the running system");
    // The next tenant's data are not for the system of the last one, nor the last one's for anybody.
    assign(&bench, &resident, "debian", "b").await;
    assert_eq!(told(&bench, "meta-data").await, None, "the last tenant's");
    set(&bench, &resident, &data("node-2")).await.unwrap();
    assert_eq!(told(&bench, "meta-data").await, None, "the next tenant's");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_over_plain_http_unless_it_is_configured() {
    let bench = Bench::start_with(DHCP).await;
    let mut machine = discovered(&bench).await;
    assign(&bench, &machine, "debian", "a").await;
    set(&bench, &machine, &data("node-1")).await.unwrap();
    lend(&bench, "127.0.0.1", &machine.mac.to_string(), u64::MAX / 4).await;
    job_of(&bench, &machine, json!({"at_least": "reimage", "confirm_serial": SERIAL})).await;
    assert!(matches!(machine.next(&bench).await, Instruction::LookAgain { .. }));
    let (report, instruction) = machine.report(&bench).await;
    machine.carry_out(&bench, &order_in(&bench, &instruction), report.plan.as_ref().unwrap()).await;
    assert_eq!(told(&bench, "meta-data").await, None);
}
