//! What a node's counters and links are compared with, over the real API and through a kill.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::Instruction;
use contract::assignment::{Baseline, GoldenValue};
use contract::decision::Action;
use contract::id::{BootId, EvidenceId, UnixMillis};
use contract::operator_api::NodeView;
use contract::reading::{ReadingKey, ReadingValue, Subject};
use reprieve_bootsvc::store;
use reqwest::Method;
use support::Bench;
use support::flow::{approve, factory_new, with_job};
use support::machine::{Machine, SERIAL, order_in};

const SLOT: &str = "0000:3b:00.0";

fn counting(machine: &mut Machine, link_downs: u64, lanes: u64) {
    machine.more_readings = vec![
        (Subject::Nic(machine.mac), ReadingKey::NicLinkDowns, ReadingValue::Count(link_downs)),
        (Subject::PciDevice(SLOT.to_owned()), ReadingKey::PcieLinkWidth, ReadingValue::Count(lanes)),
    ];
}

fn count_of(baselines: &[Baseline], machine: &Machine) -> Option<u64> {
    let of = |baseline: &&Baseline| {
        baseline.subject == Subject::Nic(machine.mac) && baseline.key == ReadingKey::NicLinkDowns
    };
    baselines.iter().find(of).map(|baseline| baseline.count)
}

fn lanes(view: &NodeView) -> Option<ReadingValue> {
    let of = |value: &&GoldenValue| value.key == ReadingKey::PcieLinkWidth;
    let golden = &view.expected_hardware.as_ref().unwrap().golden;
    golden.iter().find(of).map(|value| value.value.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_found_right_is_compared_with_also_after_a_kill() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    machine.come(&bench).await;
    counting(&mut machine, 1, 16);
    machine.report(&bench).await;
    // More than at the look before: the first baseline stays, because it is not a day old.
    counting(&mut machine, 2, 16);
    machine.report(&bench).await;
    assert_eq!(count_of(&machine.context(&bench).await.node.baselines, &machine), Some(1));
    let view = approve(&bench, &machine, factory_new()).await;
    assert_eq!(lanes(&view), Some(ReadingValue::Count(16)));
    assert_eq!(
        count_of(&machine.context(&bench).await.node.baselines, &machine),
        Some(2),
        "not a person's word"
    );

    let bench = bench.restart().await;
    let context = machine.context(&bench).await.node;
    assert_eq!(count_of(&context.baselines, &machine), Some(2));
    // A link with fewer lanes is golden only once a person has released the node.
    counting(&mut machine, 3, 8);
    machine.report(&bench).await;
    assert_eq!(lanes(&bench.node(SERIAL).await), Some(ReadingValue::Count(16)));
    let mut change = bench.service.change(machine.node).await.unwrap();
    change.hold("a test").unwrap();
    change.commit().await.unwrap();
    let path = format!("/v1/nodes/{}/release-hold", machine.node);
    let view: NodeView = bench.operator(Method::POST, &path, &()).await.unwrap();
    assert_eq!(lanes(&view), Some(ReadingValue::Count(8)));
    assert_eq!(count_of(&machine.context(&bench).await.node.baselines, &machine), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_comes_twice_is_judged_with_the_same_baselines() {
    let bench = Bench::start().await;
    let (mut machine, _) = with_job(&bench).await;
    counting(&mut machine, 2, 16);
    let old = Baseline {
        subject: Subject::Nic(machine.mac),
        key: ReadingKey::NicLinkDowns,
        count: 1,
        boot_id: BootId(machine.boot_id.0),
        observed_at: UnixMillis(1),
    };
    let mut transaction = bench.service.store.write().await.unwrap();
    let now = reprieve_bootsvc::clock::now();
    store::baselines::set(&mut transaction, machine.node, &[old], now).await.unwrap();
    store::commit(transaction).await.unwrap();

    let (report, instruction) = machine.report(&bench).await;
    let order = order_in(&bench, &instruction);
    let judged_with = || async {
        let mut reading = bench.service.store.read().await.unwrap();
        let context = store::evidence::context(&mut reading, report.evidence.id).await.unwrap().unwrap();
        (
            count_of(&context.baselines, &machine),
            store::baselines::of(&mut reading, machine.node).await.unwrap(),
        )
    };
    let (first, baselines) = judged_with().await;
    assert_eq!((first, count_of(&baselines, &machine)), (Some(1), Some(2)), "the old baseline was renewed");
    // The answer was lost.
    match machine.send(&bench, &report).await.unwrap() {
        Instruction::Proceed { order: again } => {
            assert_eq!(order_in(&bench, &Instruction::Proceed { order: again }).id, order.id)
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(judged_with().await, (first, baselines));
}

#[tokio::test(flavor = "multi_thread")]
async fn repairs_of_weeks_are_not_pushed_out_by_the_reports_between_them() {
    let bench = Bench::start().await;
    let mut machine = Machine::new(1);
    machine.come(&bench).await;
    let (report, _) = machine.report(&bench).await;
    let context = machine.context(&bench).await.node;
    let decision = report.decision.clone().unwrap();
    let mut transaction = bench.service.store.write().await.unwrap();
    let mut at = reprieve_bootsvc::clock::now();
    // Six repairs, with two days of a report each hour after each of them.
    for hour in 0..6 * 49_u64 {
        at = at.plus_millis(3_600_000);
        let mut evidence = report.evidence.clone();
        evidence.id = EvidenceId(uuid::Uuid::from_u128(u128::from(hour)));
        let mut decision = decision.clone();
        decision.evidence = evidence.id;
        decision.action = if hour % 49 == 0 { Action::Repair } else { Action::Keep };
        let judged = Some((&decision, &context));
        store::evidence::record(&mut transaction, &evidence, None, judged, at).await.unwrap();
    }
    let history = store::evidence::history(&mut transaction, machine.node).await.unwrap();
    let kept: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM evidence").fetch_one(&mut *transaction).await.unwrap();
    drop(transaction);
    assert!((100..=130).contains(&kept), "{kept} runs are kept");
    let newest: Vec<Action> = history.iter().take(20).map(|past| past.action).collect();
    assert_eq!(newest, [Action::Keep; 20]);
    // Behind them each repair, with the end of one run of keeps before it and the beginning of another after.
    let older: Vec<Action> = history.iter().skip(20).map(|past| past.action).collect();
    assert_eq!(older.iter().filter(|action| **action == Action::Repair).count(), 6, "{older:?}");
    assert!(older.windows(3).all(|three| three != [Action::Keep; 3]), "{older:?}");
    assert!(older.windows(2).all(|pair| pair != [Action::Repair; 2]), "{older:?}");
}
