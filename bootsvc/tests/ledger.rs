//! What became of verdicts and what they saved, over the real API and through a kill.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::Instruction;
use contract::blast_radius::{Alike, Group};
use contract::decision::Action;
use contract::id::UnixMillis;
use contract::ledger::{Aftermath, LedgerEntry, SavingsReport};
use contract::operator_api::{ErrorKind, ReimageReply};
use contract::reading::{ReadingKey, ReadingValue, Subject, Trust};
use reprieve_bootsvc::store;
use reqwest::Method;
use serde_json::json;
use support::flow::{asked, installed, reimage};
use support::machine::{DISK, Machine};
use support::{Bench, kind_of};

/// The month that it is now, in UTC.
fn this_month() -> String {
    let now = reprieve_bootsvc::clock::now();
    let months = (2020..2200).flat_map(|year| (1..=12).map(move |month| format!("{year}-{month:02}")));
    let is_now = |month: &String| {
        let (from, until) = verdict::savings::month(month).unwrap();
        from <= now && now < until
    };
    months.into_iter().find(is_now).unwrap()
}

async fn entries(bench: &Bench) -> Vec<LedgerEntry> {
    bench.operator(Method::GET, &format!("/v1/ledger?month={}", this_month()), &()).await.unwrap()
}

/// The same, asked for entry by entry.
async fn one_by_one(bench: &Bench) -> Vec<LedgerEntry> {
    let (mut all, mut after): (Vec<LedgerEntry>, String) = Default::default();
    for _ in 0..10 {
        let path = format!("/v1/ledger?month={}&limit=1{after}", this_month());
        let mut one: Vec<LedgerEntry> = bench.operator(Method::GET, &path, &()).await.unwrap();
        assert!(one.len() <= 1);
        let Some(last) = one.last() else { return all };
        after = format!("&after={}", last.evidence);
        all.append(&mut one);
    }
    panic!("the ledger does not end: {all:#?}");
}

async fn report(bench: &Bench) -> SavingsReport {
    bench.operator(Method::GET, &format!("/v1/savings?month={}", this_month()), &()).await.unwrap()
}

async fn say(
    bench: &Bench,
    machine: &Machine,
    failed: Option<&str>,
) -> Result<LedgerEntry, contract::operator_api::ErrorBody> {
    let path = format!("/v1/nodes/{}/outcome", machine.node);
    bench.operator(Method::POST, &path, &json!({"failed": failed, "why": "looked at it"})).await
}

/// Somebody asks, and the running system can answer.
async fn nothing_to_do(bench: &Bench, resident: &Machine) {
    let agent = async {
        let instruction = resident.next(bench).await;
        assert!(matches!(instruction, Instruction::LookAgain { .. }), "{instruction:?}");
        let report = resident.report_of(bench, Trust::Resident).await;
        resident.send(bench, &report).await.unwrap();
    };
    let (reply, ()) = tokio::join!(reimage(bench, resident, json!({})), agent);
    assert!(matches!(reply.unwrap(), ReimageReply::NothingToDo { .. }));
}

fn actions(entries: &[LedgerEntry]) -> Vec<(Action, bool)> {
    entries.iter().map(|entry| (entry.action, entry.job.is_some())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_are_entered_once_settled_by_what_comes_and_corrected_by_a_person() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    assert_eq!(actions(&entries(&bench).await), [(Action::Reimage, true)]);
    // However often somebody asks, a wipe is saved once a day.
    nothing_to_do(&bench, &machine).await;
    nothing_to_do(&bench, &machine).await;
    let (_, instruction) = asked(&bench, &mut machine, json!({"from_ramdisk": true})).await;
    assert!(matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
    let expected = [(Action::Reimage, true), (Action::Keep, false), (Action::Keep, true)];
    assert_eq!(actions(&entries(&bench).await), expected);
    let refused = say(&bench, &machine, None).await;
    assert_eq!(kind_of(refused), ErrorKind::Conflict, "nothing was taken out");
    assert_eq!(one_by_one(&bench).await, entries(&bench).await);

    machine.failing = true;
    let (_, instruction) = asked(&bench, &mut machine, json!({"from_ramdisk": true})).await;
    assert!(matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");
    let all = entries(&bench).await;
    let [first, .., out] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((out.action, &out.aftermath), (Action::Quarantine, &Aftermath::Pending));
    let failed = |entry: &LedgerEntry| matches!(entry.aftermath, Aftermath::Failed { by, .. } if by == Some(out.evidence));
    assert!(all[..3].iter().all(failed), "{all:#?}");
    assert!(first.spent.flash_bytes > 0 && first.due_at > first.at);
    let sums = report(&bench).await;
    assert_eq!((sums.quarantines, sums.quarantines_pending, sums.false_quarantines), (1, 1, 0));
    assert_eq!(sums.escapes[0].times, 3);
    assert_eq!(sums.repeat_offenders[0].times, 2, "put right once and taken out once");

    let bench = bench.restart().await;
    let refused = say(&bench, &machine, Some("a-part-that-it-does-not-have")).await;
    assert_eq!(kind_of(refused), ErrorKind::BadRequest);
    let said = say(&bench, &machine, Some(DISK)).await.unwrap();
    let subject = Subject::Disk(DISK.parse().unwrap());
    assert_eq!(said.aftermath, Aftermath::Confirmed { subject, why: "looked at it".to_owned() });
    assert_eq!(report(&bench).await.quarantines_pending, 0);
    assert_eq!(kind_of(say(&bench, &machine, None).await), ErrorKind::Conflict, "it was said already");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_out_for_nothing_did_not_fail_before() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    machine.failing = true;
    asked(&bench, &mut machine, json!({"from_ramdisk": true})).await;
    assert_eq!(report(&bench).await.escapes.len(), 1);
    let said = say(&bench, &machine, None).await.unwrap();
    assert!(matches!(said.aftermath, Aftermath::Fine { .. }), "{said:?}");
    let sums = report(&bench).await;
    assert_eq!((sums.escapes.len(), sums.false_quarantines), (0, 1));
    // What goes on and fails all the same is for a person to say.
    let said = say(&bench, &machine, Some("node")).await.unwrap();
    assert!(matches!(said.aftermath, Aftermath::Failed { by: None, .. }), "{said:?}");
    assert_eq!(report(&bench).await.escapes.len(), 1);
    for month in ["2026-13", "november", ""] {
        let path = format!("/v1/savings?month={month}");
        let refused = bench.operator::<SavingsReport>(Method::GET, &path, &()).await;
        assert_eq!(kind_of(refused), ErrorKind::BadRequest);
    }
}

/// A node that may not be written is not sick.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_may_not_be_written_is_not_entered_as_taken_out() {
    let bench = Bench::start().await;
    let mut machine = installed(&bench).await;
    let before = entries(&bench).await;
    let path = format!("/v1/nodes/{}/protect", machine.node);
    bench.operator::<serde_json::Value>(Method::POST, &path, &json!({"protected": true})).await.unwrap();
    let altered = ReadingValue::list(vec!["/usr/bin/ls".to_owned()]);
    machine.more_readings = vec![(Subject::Image, ReadingKey::ImageFilesAltered, altered)];
    let (_, instruction) = asked(&bench, &mut machine, json!({"from_ramdisk": true})).await;
    let Instruction::Wait { reason, .. } = instruction else { panic!("{instruction:?}") };
    assert!(reason.contains("is protected"), "{reason}");
    assert_eq!(entries(&bench).await, before);
    let mut reading = bench.service.store.read().await.unwrap();
    let (group, alike) = (Group::Site, Alike::Action(Action::Quarantine));
    let wanting = store::wishes::wanting(&mut reading, &group, &alike, UnixMillis(0)).await.unwrap();
    assert_eq!(wanting, 0, "it is not counted among those that are taken out");
}
