//! What too many nodes want at once is held until a person has looked, over the real API and through a kill.
#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy does not see that this is test code")]

mod support;

use contract::agent_api::Instruction;
use contract::blast_radius::{Alike, Group, IncidentView, Release};
use contract::decision::Action;
use contract::operator_api::{ErrorKind, JobState, NodeState, StatusView};
use contract::reading::Trust;
use reprieve_bootsvc::store;
use reqwest::Method;
use serde_json::json;
use support::flow::{asked, fleet, job};
use support::{Bench, kind_of};

async fn incidents(bench: &Bench) -> Vec<IncidentView> {
    bench.operator(Method::GET, "/v1/blast-radius", &()).await.unwrap()
}

async fn status(bench: &Bench) -> StatusView {
    bench.operator(Method::GET, "/v1/status", &()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_that_want_the_same_are_held_and_go_on_when_a_person_has_looked() {
    let bench = Bench::start_with_policy("[blast_radius]\nnodes_min = 2\n").await;
    // Images for disks that are nobody's take nothing from anybody, however many they are.
    let mut machines = fleet(&bench, 5).await;
    assert_eq!(incidents(&bench).await, []);
    let again = json!({"at_least": "reimage", "confirmed": true});
    let mut held = Vec::new();
    for (at, machine) in machines.iter_mut().enumerate() {
        let (id, instruction) = asked(&bench, machine, again.clone()).await;
        match (at, &instruction) {
            (0 | 1, Instruction::Proceed { .. }) => {}
            (_, Instruction::Wait { reason, .. }) => {
                assert!(reason.contains("nodes of pool default want"), "{reason}");
                assert!(reason.contains("reprieve blast-radius release"), "{reason}");
                assert!(matches!(job(&bench, id).await.state, JobState::Held { .. }));
                held.push(id);
            }
            _ => panic!("machine {at}: {instruction:?}"),
        }
    }
    assert_eq!(held.len(), 3);
    let [incident] = incidents(&bench).await.try_into().unwrap();
    assert_eq!(incident.group, Group::Pool("default".parse().unwrap()));
    assert_eq!(incident.alike, Alike::Action(Action::Reimage));
    assert_eq!((incident.wanting, incident.nodes, incident.most, incident.held_total), (3, 5, 2, 3));
    let counters = status(&bench).await.counters;
    assert!(counters.contains(&("blast-radius.incidents".to_owned(), 1)), "{counters:?}");

    let bench = bench.restart().await;
    assert_eq!(status(&bench).await.incidents, std::slice::from_ref(&incident));
    // Whoever releases one node alone gets it held again: the incident is open.
    let path = format!("/v1/nodes/{}/release-hold", machines[2].node);
    bench.operator::<serde_json::Value>(Method::POST, &path, &()).await.unwrap();
    machines[2].come(&bench).await;
    let (_, instruction) = machines[2].report(&bench).await;
    assert!(matches!(instruction, Instruction::Wait { .. }), "{instruction:?}");

    let release = format!("/v1/blast-radius/{}/release", incident.id);
    let ask = |why: &str, minutes: u64| json!({"why": why, "allow_minutes": minutes, "keep_held": false});
    let refused = bench.operator::<IncidentView>(Method::POST, &release, &ask(" ", 60)).await;
    assert_eq!(kind_of(refused), ErrorKind::BadRequest);
    let refused = bench.operator::<IncidentView>(Method::POST, &release, &ask("x", 1_441)).await;
    assert_eq!(kind_of(refused), ErrorKind::BadRequest);
    // A release that the service did not survive: it was written down, one node went on, and the others stay held.
    let mut transaction = bench.service.store.write().await.unwrap();
    let at = reprieve_bootsvc::clock::now();
    let cut_off = Release { at, why: "cut off".to_owned(), allowed_until: at, released: 1 };
    let closed = IncidentView { release: Some(cut_off), ..incident.clone() };
    store::incidents::close(&mut transaction, &closed).await.unwrap();
    store::commit(transaction).await.unwrap();
    bench.operator::<serde_json::Value>(Method::POST, &path, &()).await.unwrap();
    // The same call goes on with them.
    let released: IncidentView =
        bench.operator(Method::POST, &release, &ask("the new image is meant", 60)).await.unwrap();
    assert_eq!(released.release.unwrap().released, 3);
    for machine in &mut machines[2..] {
        machine.come(&bench).await;
        let (_, instruction) = machine.report(&bench).await;
        assert!(matches!(instruction, Instruction::Proceed { .. }), "{instruction:?}");
    }
    assert_eq!(status(&bench).await.incidents, []);
    let twice = bench.operator::<IncidentView>(Method::POST, &release, &ask("again", 0)).await;
    assert_eq!(kind_of(twice), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_verdicts_with_one_cause_are_one_incident_and_take_nobody_out() {
    let bench = Bench::start_with_policy("[blast_radius]\ncause_nodes_min = 3\n").await;
    let mut machines = fleet(&bench, 5).await;
    for machine in &mut machines {
        machine.failing = true;
        let report = machine.report_of(&bench, Trust::Resident).await;
        assert_eq!(report.decision.as_ref().unwrap().action, Action::Quarantine);
        machine.send(&bench, &report).await.unwrap();
        // It says the same once more, and is still one node.
        let report = machine.report_of(&bench, Trust::Resident).await;
        machine.send(&bench, &report).await.unwrap();
    }
    let [incident] = incidents(&bench).await.try_into().unwrap();
    assert!(matches!(&incident.alike, Alike::Cause(cause) if cause.starts_with("fitness/")), "{incident:?}");
    assert_eq!((incident.wanting, incident.nodes, incident.held_total), (4, 5, 0));
    for machine in &machines {
        assert_eq!(bench.node(&machine.node.to_string()).await.state, NodeState::Idle);
    }
    // Who is looked at from outside is held for that incident, and not for itself.
    let (_, instruction) = asked(&bench, &mut machines[0], json!({"from_ramdisk": true})).await;
    let Instruction::Wait { reason, .. } = instruction else { panic!("{instruction:?}") };
    assert!(reason.contains("quarantine") && reason.contains(&incident.id.to_string()), "{reason}");
    // The switch is mended: they look again, and nothing was written.
    let release = format!("/v1/blast-radius/{}/release", incident.id);
    let why = json!({"why": "a switch had failed", "allow_minutes": 0, "keep_held": false});
    bench.operator::<IncidentView>(Method::POST, &release, &why).await.unwrap();
    machines[0].failing = false;
    machines[0].come(&bench).await;
    let (_, instruction) = machines[0].report(&bench).await;
    assert!(matches!(instruction, Instruction::BootLocal { .. }), "{instruction:?}");
}

/// A pool that looks smaller than it is lets less through, and one without nodes none of its share.
#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_of_an_older_database_are_counted() {
    let bench = Bench::start().await;
    fleet(&bench, 2).await;
    let mut transaction = bench.service.store.write().await.unwrap();
    let emptied = "UPDATE nodes SET approved = 0, pool = '', rack = '', hardware_model = ''";
    sqlx::query(emptied).execute(&mut *transaction).await.unwrap();
    store::commit(transaction).await.unwrap();
    let bench = bench.restart().await;
    let mut reading = bench.service.store.read().await.unwrap();
    let pool = Group::Pool("default".parse().unwrap());
    assert_eq!(store::wishes::nodes_of(&mut reading, &pool).await.unwrap(), 2);
}
