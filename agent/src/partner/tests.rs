//! Finding partners, with a service that says what it is told to.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use contract::burn_in::PartnerRole;
use contract::reading::{Outcome, ReadingKey, ReadingValue};
use contract::secret::Secret;
use reqwest::StatusCode;
use uuid::Uuid;

use super::*;

/// Gives these answers in order, then says that there is nobody.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<PartnerReply, CallError>>>,
    asked: Mutex<Vec<PartnerRequest>>,
}

impl Script {
    fn of(answers: Vec<Result<PartnerReply, CallError>>) -> Self {
        Self { answers: Mutex::new(answers.into()), asked: Mutex::default() }
    }
}

impl Matchmaker for Script {
    fn partner<'a>(&'a self, request: &'a PartnerRequest) -> Reply<'a> {
        self.asked.lock().unwrap().push(request.clone());
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(PartnerReply::Nobody));
        Box::pin(async move { answer })
    }
}

fn node(number: u128) -> NodeId {
    NodeId(Uuid::from_u128(number))
}

fn times() -> Times {
    let millis = Duration::from_millis;
    Times { patience: millis(300), favour: millis(50), send: millis(20) }
}

fn test<'a>(script: &'a Script, slow: &'a (dyn Fn(Rates) -> bool + Send + Sync)) -> Test<'a> {
    Test { matchmaker: script, link_megabits: Some(10_000), slow, times: times(), port: PARTNER_PORT }
}

fn refused(status: StatusCode) -> CallError {
    CallError::Refused { what: "name a partner", status, message: "no".to_owned() }
}

fn wait() -> Result<PartnerReply, CallError> {
    Ok(PartnerReply::Wait { poll_after_millis: 1 })
}

/// What `own` is told of `other`, at loopback addresses of this test.
fn found(test: u8, own: u8, other: u8, role: PartnerRole, link: u64) -> Result<PartnerReply, CallError> {
    let address = |last| IpAddr::V4(Ipv4Addr::new(127, 72, test, last));
    Ok(PartnerReply::Found(Partnership {
        node: node(u128::from(other)),
        address: address(other),
        own_address: address(own),
        role,
        secret: Secret::new("5a".repeat(32)),
        link_megabits: Some(link),
        ends_in_millis: 20_000,
    }))
}

fn outcome(found: &[Found], wanted: ReadingKey) -> &Outcome<ReadingValue> {
    &found.iter().find(|(_, key, _)| *key == wanted).unwrap().2
}

fn partners(found: &[Found]) -> usize {
    match outcome(found, ReadingKey::NetworkTestPartners) {
        Outcome::Value(ReadingValue::List { items, .. }) => items.len(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_is_alone_tests_nothing_and_says_so() {
    let endless = (0..10_000).map(|_| wait()).collect();
    for script in [Script::default(), Script::of(vec![wait(), wait()]), Script::of(endless)] {
        let found = test(&script, &|_| false).run().await;
        assert_eq!(partners(&found), 0);
        for key in [
            ReadingKey::NetworkSendMegabytes,
            ReadingKey::NetworkReceiveMegabytes,
            ReadingKey::NetworkTestErrors,
        ] {
            assert_eq!(outcome(&found, key), &Outcome::Absent);
        }
    }
}

/// "Could not ask" is not "nobody there"; and an older service is told nothing of what it does not know.
#[tokio::test]
async fn a_service_that_cannot_be_asked_is_not_nobody() {
    let busy = CallError::Busy { what: "name a partner", status: StatusCode::SERVICE_UNAVAILABLE };
    for error in [refused(StatusCode::CONFLICT), busy] {
        let script = Script::of(vec![Err(error)]);
        let found = test(&script, &|_| false).run().await;
        assert!(found.iter().all(|(_, _, outcome)| matches!(outcome, Outcome::Unreadable(_))), "{found:?}");
    }
    let script = Script::of(vec![Err(refused(StatusCode::NOT_FOUND))]);
    assert!(test(&script, &|_| false).run().await.is_empty());
}

/// Both of a pair say the same of their network, and ask for a second partner with the first one named.
#[tokio::test]
async fn both_of_a_pair_measure_and_ask_for_another() {
    let one = Script::of(vec![wait(), found(1, 1, 2, PartnerRole::Listen, 10_000)]);
    let other = Script::of(vec![found(1, 2, 1, PartnerRole::Connect, 10_000)]);
    let (one_test, other_test) = (test(&one, &|_| false), test(&other, &|_| false));
    let (left, right) = tokio::join!(one_test.run(), other_test.run());
    for (found, script, tried) in [(&left, &one, node(2)), (&right, &other, node(1))] {
        assert_eq!(partners(found), 1);
        assert_eq!(
            outcome(found, ReadingKey::NetworkTestErrors),
            &Outcome::Value(ReadingValue::Count(0)),
            "{found:?}"
        );
        assert_eq!(script.asked.lock().unwrap().last().unwrap().tried, [tried]);
    }
    assert_eq!(
        outcome(&left, ReadingKey::NetworkSendMegabytes),
        outcome(&right, ReadingKey::NetworkReceiveMegabytes)
    );
}

/// The network with a slower link is no measure of this node; it is of the other.
#[tokio::test]
async fn a_partner_with_a_slower_link_is_no_measure() {
    let one = Script::of(vec![found(2, 1, 2, PartnerRole::Listen, 1_000)]);
    let other = Script::of(vec![found(2, 2, 1, PartnerRole::Connect, 10_000)]);
    let (one_test, mut other_test) = (test(&one, &|_| false), test(&other, &|_| false));
    other_test.link_megabits = Some(1_000);
    let (left, right) = tokio::join!(one_test.run(), other_test.run());
    assert_eq!((partners(&left), partners(&right)), (0, 1));
    assert_eq!(outcome(&left, ReadingKey::NetworkSendMegabytes), &Outcome::Absent);
    assert_eq!(outcome(&left, ReadingKey::NetworkTestErrors), &Outcome::Value(ReadingValue::Count(0)));
}

/// Who was slow waits for a second partner with all its patience, who was not for a moment; nobody has a third.
#[tokio::test]
async fn a_slow_node_waits_longer_for_a_second_partner() {
    let waited = async |number: u8, slow: bool| {
        let answers = || {
            let waits = (0..100_000).map(|_| wait());
            std::iter::once(found(number, 1, 2, PartnerRole::Listen, 10_000)).chain(waits).collect()
        };
        let one = Script::of(answers());
        let other = Script::of(vec![found(number, 2, 1, PartnerRole::Connect, 10_000)]);
        let slow = move |_| slow;
        let (mut one_test, other_test) = (test(&one, &slow), test(&other, &|_| false));
        one_test.times.favour = Duration::ZERO;
        one_test.times.patience = Duration::from_secs(2);
        let (left, _) = tokio::join!(one_test.run(), other_test.run());
        assert_eq!(partners(&left), 1);
        one.asked.lock().unwrap().len()
    };
    assert_eq!(waited(3, false).await, 2);
    assert!(waited(4, true).await > 10);
}

#[tokio::test]
async fn two_partners_are_enough_and_one_is_not_named_twice() {
    let gone = |other| {
        found(5, 1, other, PartnerRole::Connect, 10_000).map(|reply| match reply {
            // It is over before anybody answers.
            PartnerReply::Found(one) => PartnerReply::Found(Partnership { ends_in_millis: 5, ..one }),
            other => other,
        })
    };
    let script = Script::of(vec![gone(2), gone(3), gone(4)]);
    let found = test(&script, &|_| false).run().await;
    assert_eq!((partners(&found), script.asked.lock().unwrap().len()), (2, 2));
    assert!(matches!(outcome(&found, ReadingKey::NetworkSendMegabytes), Outcome::Unreadable(_)));
    let script = Script::of(vec![gone(2), gone(2)]);
    assert_eq!(partners(&test(&script, &|_| false).run().await), 1);
}
