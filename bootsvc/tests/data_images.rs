//! Images for data disks: assigned, written once, gone on with after a cut, and never written over data.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::{FinishResult, Instruction};
use contract::assignment::DataOwner;
use contract::operator_api::{ErrorBody, ErrorKind, NodeView, ReimageReply};
use contract::plan::{Plan, Step};
use reqwest::Method;
use serde_json::{Value, json};
use support::flow::{approve, factory_new, job_of, reimage};
use support::machine::{DISK, Machine, SERIAL, order_in};
use support::{Bench, kind_of};

const DATA_DISK: &str = "virtio-zdata";

/// A machine with two blank disks, approved; a system's image and one for data are there.
async fn with_two_disks(bench: &Bench) -> Machine {
    let mut machine = Machine::new(1);
    machine.more_disks = vec![DATA_DISK];
    machine.come(bench).await;
    machine.report(bench).await;
    approve(bench, &machine, factory_new()).await;
    bench.import("debian", 1).await;
    bench.import_data("scratch", 2).await;
    machine
}

async fn assign(bench: &Bench, data_images: Value) -> Result<Vec<String>, ErrorBody> {
    let request =
        json!({"image": null, "tenant": null, "pool": null, "os_disk": null, "data_images": data_images});
    let path = format!("/v1/nodes/{SERIAL}/assign");
    let node: NodeView = bench.operator(Method::POST, &path, &request).await?;
    Ok(node.assignment.data_images.iter().map(|data| data.disk.to_string()).collect())
}

fn on(disk: &str, image: &str) -> Value {
    json!({"disk": {"rule": "disk", "disk": disk}, "image": image})
}

fn words(plan: &Plan) -> Vec<String> {
    let word = |step: &Step| match step {
        Step::Erase { disk, .. } => format!("erase {}", disk.id),
        Step::WriteImage { disk, .. } => format!("write {}", disk.id),
        Step::WriteDataImage { disk, .. } => format!("data {}", disk.id),
        other => format!("{other:?}"),
    };
    plan.steps.iter().map(word).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_for_data_disks_are_assigned_checked_and_taken_off() {
    let bench = Bench::start().await;
    with_two_disks(&bench).await;
    assert_eq!(assign(&bench, json!([on(DATA_DISK, "scratch")])).await.unwrap(), [DATA_DISK]);
    let shown = bench.node(SERIAL).await.assignment.data_images;
    // Three MiB of image and the backup table: nothing of ours needs room there.
    assert_eq!(shown[0].image_disk_bytes, (3 << 20) + 33 * 512);
    // Whatever is refused leaves what was assigned.
    let refused: [(Value, ErrorKind); 6] = [
        (json!([on(DATA_DISK, "debian")]), ErrorKind::BadRequest),
        (json!([on(DATA_DISK, "none such")]), ErrorKind::NotFound),
        (json!([on("sdb", "scratch")]), ErrorKind::BadRequest),
        (json!([on(DATA_DISK, "scratch"), on(DATA_DISK, "scratch")]), ErrorKind::BadRequest),
        (json!([{"disk": {"rule": "smallest"}, "image": "scratch"}]), ErrorKind::BadRequest),
        (json!([{"disk": {"rule": "smallest"}, "image": "scratch", "over": true}]), ErrorKind::BadRequest),
    ];
    for (asked, kind) in refused {
        let words = asked.to_string();
        assert_eq!(kind_of(assign(&bench, asked).await), kind, "{words}");
        assert_eq!(bench.node(SERIAL).await.assignment.data_images, shown, "{words}");
    }
    assert_eq!(assign(&bench, json!(null)).await.unwrap(), [DATA_DISK]);
    assert_eq!(assign(&bench, json!([])).await.unwrap(), [] as [&str; 0]);
}

/// Both are written; the machine loses its power in between, and the service remembers what was begun on a
/// disk that is not blank any more and whose owner is the tenant.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_disk_is_written_once_and_gone_on_with_after_a_cut() {
    let bench = Bench::start().await;
    let mut machine = with_two_disks(&bench).await;
    assign(&bench, json!([on(DATA_DISK, "scratch")])).await.unwrap();
    let wanted = json!({"image": "debian", "tenant": "a", "dry_run": true});
    let ReimageReply::Job { expectation, .. } = reimage(&bench, &machine, wanted).await.unwrap() else {
        panic!()
    };
    assert!(expectation.contains("each data disk with an image of its own gets it"), "{expectation}");
    job_of(&bench, &machine, json!({"image": "debian", "tenant": "a", "confirm_serial": SERIAL})).await;
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let begun = report.plan.unwrap();
    assert_eq!(words(&begun), [format!("data {DATA_DISK}"), format!("write {DISK}")]);
    let order = order_in(&bench, &instruction);
    // From the first byte on the disks are the tenant's, whichever disk it is written to.
    machine.begin(&bench, &order, 0).await.unwrap();
    assert_eq!(bench.node(SERIAL).await.data_owner, DataOwner::Tenant("a".parse().unwrap()));
    machine.begin(&bench, &order, 1).await.unwrap();

    machine.half_written = true;
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let plan = report.plan.unwrap();
    assert_eq!(plan.steps[0], begun.steps[0], "the same step, disk GUID and all");
    assert_eq!(words(&plan), words(&begun));
    let (identity, instruction) = machine.carry_out(&bench, &order_in(&bench, &instruction), &plan).await;
    assert!(identity.is_some() && matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
    machine.come_up_and_settle(&bench, &identity.unwrap()).await;

    // What is on it now is the tenant's, and a reimage leaves it alone.
    let again = json!({"at_least": "reimage", "confirm_serial": SERIAL});
    let dry = reimage(&bench, &machine, json!({"at_least": "reimage", "dry_run": true})).await.unwrap();
    let ReimageReply::Job { expectation, .. } = dry else { panic!("{dry:?}") };
    assert!(expectation.contains("data disks stay as they are"), "{expectation}");
    job_of(&bench, &machine, again).await;
    machine.come(&bench).await;
    let (report, _) = machine.report(&bench).await;
    assert_eq!(words(&report.plan.unwrap()), [format!("write {DISK}")]);
}

/// A failed step of one disk fails the work. The machine goes on without the disk when a person says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_disk_that_fails_for_good_can_be_given_up() {
    let bench = Bench::start().await;
    let mut machine = with_two_disks(&bench).await;
    assign(&bench, json!([on(DATA_DISK, "scratch")])).await.unwrap();
    job_of(&bench, &machine, json!({"image": "debian", "tenant": "a", "confirm_serial": SERIAL})).await;
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    assert_eq!(report.plan.unwrap().steps.len(), 2);
    for step in 0..2 {
        machine.begin(&bench, &order, step).await.unwrap();
    }
    let failed = FinishResult::Failed { step: 0, error: "EIO; and step 2: not proven".to_owned() };
    machine.finish(&bench, &order, failed, Vec::new()).await.unwrap();
    let node = bench.node(SERIAL).await;
    assert!(node.hold_reason.unwrap().contains("step 1 failed: EIO; and step 2"));
    // The disk is replaced or given up; nothing else may be assigned while the job is open.
    let path = format!("/v1/nodes/{SERIAL}/assign");
    let more = json!({"image": "debian", "tenant": null, "pool": null, "os_disk": null, "data_images": []});
    let refused = bench.operator::<NodeView>(Method::POST, &path, &more).await;
    assert_eq!(kind_of(refused), ErrorKind::Conflict);
    assert_eq!(assign(&bench, json!([])).await.unwrap(), [] as [&str; 0]);
    let release = format!("/v1/nodes/{SERIAL}/release-hold");
    bench.operator::<NodeView>(Method::POST, &release, &()).await.unwrap();
    assert_eq!(kind_of(assign(&bench, json!([on(DATA_DISK, "scratch")])).await), ErrorKind::Conflict);
    machine.half_written = true;
    machine.come(&bench).await;
    let (report, _) = machine.report(&bench).await;
    assert_eq!(words(&report.plan.unwrap()), [format!("write {DISK}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wipe_erases_a_data_disk_and_writes_its_image_anew() {
    let bench = Bench::start().await;
    let mut machine = with_two_disks(&bench).await;
    assign(&bench, json!([on(DATA_DISK, "scratch")])).await.unwrap();
    let wipe = json!({"image": "debian", "tenant": "a", "at_least": "wipe", "confirm_serial": SERIAL});
    job_of(&bench, &machine, wipe).await;
    machine.come(&bench).await;
    let (report, instruction) = machine.report(&bench).await;
    let plan = report.plan.unwrap();
    let expected = [
        format!("erase {DISK}"),
        format!("erase {DATA_DISK}"),
        format!("data {DATA_DISK}"),
        format!("write {DISK}"),
    ];
    assert_eq!(words(&plan), expected);
    let (_, instruction) = machine.carry_out(&bench, &order_in(&bench, &instruction), &plan).await;
    assert!(matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
    assert_eq!(bench.node(SERIAL).await.data_owner, DataOwner::Tenant("a".parse().unwrap()));
}
