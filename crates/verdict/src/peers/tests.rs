use contract::assignment::PeerValue;
use contract::decision::{Action, Fitness};
use contract::inventory::MemoryModuleFacts;
use contract::reading::{Outcome, ReadingKey as Key, ReadingValue, Subject, Tier};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use super::{HardwareModel, Middle, PeerMeasure, is_slower_in_burn_in, measures, middle, models};
use crate::testing::{Case, DATA_DISK, OS_DISK, disk_subject};

fn named(mut case: Case) -> Case {
    let inventory = &mut case.evidence.inventory;
    inventory.vendor = Outcome::Value("Maker".to_owned());
    inventory.product = Outcome::Value(" Box\n".to_owned());
    inventory.cpu_model = Outcome::Value("CPU 9".to_owned());
    inventory.cpu_count = Outcome::Value(8);
    let module = |locator: &str| MemoryModuleFacts {
        locator: locator.to_owned(),
        serial: Outcome::Absent,
        part: Outcome::Absent,
        size_bytes: 4 << 30,
    };
    inventory.memory_modules = Outcome::Value(vec![module("A"), module("B")]);
    let Outcome::Value(disks) = &mut inventory.disks else { panic!("no disks") };
    disks.iter_mut().for_each(|disk| disk.model = Outcome::Value("DISK".to_owned()));
    case
}

#[test]
fn a_machine_is_known_by_what_makes_it_fast_and_a_part_by_its_name() {
    let case = named(Case::healthy());
    let machine = HardwareModel::Machine("Maker / Box / CPU 9 x 8 / 2 modules, 8192 MiB".to_owned());
    assert_eq!(models(&case.evidence.inventory), [machine, HardwareModel::Part("DISK".to_owned())]);
    let mut nameless = case.evidence.inventory;
    nameless.cpu_count = Outcome::Unreadable("EIO".to_owned());
    nameless.disks = Outcome::Absent;
    assert_eq!(models(&nameless), [], "an unknown machine is like no other");
}

#[test]
fn rates_keep_their_depth_and_a_node_counts_once_for_each_model() {
    let mut case = named(Case::healthy());
    case.evidence.tier = Tier::T3;
    let case = case
        .count(Subject::Node, Key::ProcessorRounds, 700)
        .count(disk_subject(OS_DISK), Key::DiskReadMegabytes, 500)
        .count(disk_subject(DATA_DISK), Key::DiskReadMegabytes, 900)
        .count(disk_subject(OS_DISK), Key::NvmeMediaErrors, 3)
        .count(disk_subject(OS_DISK), Key::DiskPowerOnHours, 9_000);
    let found = measures(&case.evidence);
    let of = |key| -> Vec<&PeerMeasure> { found.iter().filter(|measure| measure.key == key).collect() };
    let told = |key| of(key).iter().map(|one| (one.tier, one.value)).collect::<Vec<_>>();
    assert_eq!(told(Key::ProcessorRounds), [(Tier::T3, 700)]);
    assert_eq!(told(Key::DiskReadMegabytes), [(Tier::T3, 500)]);
    assert_eq!(told(Key::NvmeMediaErrors).len(), 1);
    assert_eq!(of(Key::NvmeMediaErrors)[0].tier, Tier::T2, "counters count alike at any depth");
    assert_eq!(told(Key::DiskPowerOnHours), [], "how old a part is, is no sign");
}

#[test]
fn the_middle_is_a_value_that_somebody_has() {
    assert_eq!(middle(&[]), None);
    assert_eq!(middle(&[7]), Some(Middle { median: 7, median_deviation: 0 }));
    assert_eq!(middle(&[1, 100, 3, 2]), Some(Middle { median: 2, median_deviation: 1 }));
    assert_eq!(middle(&[0, u64::MAX, u64::MAX]), Some(Middle { median: u64::MAX, median_deviation: 0 }));
}

fn beside(tier: Tier, median: u64, deviation: u64, nodes: u64) -> Case {
    let mut case = named(Case::healthy());
    case.evidence.tier = tier;
    let peer = |hardware_model: &str, key| PeerValue {
        hardware_model: hardware_model.to_owned(),
        key,
        tier,
        median,
        median_deviation: deviation,
        nodes,
    };
    case.context.peers = vec![peer("", Key::ProcessorRounds), peer("DISK", Key::DiskReadMegabytes)];
    case.count(Subject::Node, Key::ProcessorRounds, median)
        .count(disk_subject(OS_DISK), Key::DiskReadMegabytes, median)
        .count(disk_subject(DATA_DISK), Key::DiskReadMegabytes, median)
}

fn verdict(case: &Case) -> (Fitness, Action) {
    let decision = case.judge();
    (decision.fitness, decision.action)
}

#[test]
fn a_slow_part_is_found_by_depth_distance_and_number_of_peers() {
    let quarantine = (Fitness::Quarantine, Action::Quarantine);
    let (fit, watch) = ((Fitness::Fit, Action::Keep), (Fitness::Watch, Action::Keep));
    for (tier, deviation, nodes, rate, expected) in [
        (Tier::T3, 5, 10, 951, fit),
        (Tier::T3, 5, 10, 950, fit),
        (Tier::T3, 5, 10, 949, quarantine),
        (Tier::T3, 5, 10, 5_000, fit),
        (Tier::T3, 5, 9, 10, fit),
        (Tier::T3, 20, 10, 940, watch),
        (Tier::T3, 20, 10, 900, quarantine),
        (Tier::T2, 5, 10, 949, watch),
        (Tier::T2, 5, 10, 950, fit),
        (Tier::T1, 5, 10, 10, fit),
    ] {
        for (subject, key) in
            [(Subject::Node, Key::ProcessorRounds), (disk_subject(DATA_DISK), Key::DiskReadMegabytes)]
        {
            let case = beside(tier, 1000, deviation, nodes).count(subject, key, rate);
            assert_eq!(verdict(&case), expected, "{key} {rate} at {tier:?}, {deviation}, {nodes}");
        }
    }
    // A burn-in's rates are not compared with those of quick looks.
    let mut other = beside(Tier::T2, 1000, 5, 10).count(Subject::Node, Key::ProcessorRounds, 10);
    other.evidence.tier = Tier::T3;
    assert_eq!(verdict(&other), fit);
}

#[test]
fn a_disk_with_nothing_on_it_is_not_slow_and_nothing_else_may_say_so() {
    let absent = |subject, key| beside(Tier::T3, 1000, 5, 10).outcome(subject, key, Outcome::Absent);
    assert_eq!(verdict(&absent(disk_subject(OS_DISK), Key::DiskReadMegabytes)).0, Fitness::Fit);
    assert_eq!(verdict(&absent(Subject::Node, Key::ProcessorRounds)).0, Fitness::Quarantine);
}

#[test]
fn what_was_asked_for_is_a_burn_in_and_nothing_less() {
    let asked = |tier| {
        let mut case = Case::healthy().context(|context| context.burn_in_minutes = Some(30));
        case.evidence.tier = tier;
        case
    };
    assert_eq!(asked(Tier::T2).action(), Action::LookDeeper);
    assert_eq!(asked(Tier::T3).action(), Action::Keep);
    assert_eq!(
        asked(Tier::T3).resident().action(),
        Action::LookDeeper,
        "it says so itself, but is not in the ramdisk"
    );
}

proptest! {
    #[test]
    fn a_slower_part_and_a_lost_rate_are_never_milder(
        rate in 0_u64..2_000, less in 0_u64..2_000, deviation in 0_u64..40, deep in any::<bool>(), how in 0..3_u8
    ) {
        let tier = if deep { Tier::T3 } else { Tier::T2 };
        let case = |rate| beside(tier, 1000, deviation, 12).count(Subject::Node, Key::ProcessorRounds, rate);
        let before = verdict(&case(rate));
        prop_assert!(verdict(&case(rate.saturating_sub(less))) >= before);
        let mut lost = case(rate);
        let of_node = |key: Key, subject: &Subject| key == Key::ProcessorRounds && *subject == Subject::Node;
        match how {
            0 => lost.evidence.readings.retain(|one| !of_node(one.key, &one.subject)),
            _ => {
                let nonsense = ReadingValue::Text("fast".to_owned());
                let why = Outcome::Unreadable("EIO".to_owned());
                let outcome = if how == 1 { why } else { Outcome::Value(nonsense) };
                lost = lost.outcome(Subject::Node, Key::ProcessorRounds, outcome);
            }
        }
        prop_assert!(verdict(&lost) >= before);
    }

    #[test]
    fn the_middle_is_in_the_middle(values in proptest::collection::vec(any::<u64>(), 1..40)) {
        let found = middle(&values).unwrap();
        let half = values.len().div_ceil(2);
        prop_assert!(values.iter().filter(|value| **value <= found.median).count() >= half);
        prop_assert!(values.iter().filter(|value| **value >= found.median).count() >= half);
        let near = values.iter().filter(|value| value.abs_diff(found.median) <= found.median_deviation);
        prop_assert!(near.count() >= half);
        let mut turned = values;
        turned.reverse();
        prop_assert_eq!(middle(&turned), Some(found));
    }
}

/// A burn-in whose network was tested with so many partners, beside peers with a thousand each way.
fn networked(partners: usize, sent: u64) -> Case {
    let mut case = beside(Tier::T3, 1000, 5, 12);
    let network = [Key::NetworkSendMegabytes, Key::NetworkReceiveMegabytes];
    let usual = case.context.peers[0].clone();
    case.context.peers.extend(network.map(|key| PeerValue { key, ..usual.clone() }));
    let partners = (0..partners).map(|number| format!("node {number}")).collect();
    case.count(Subject::Node, Key::NetworkSendMegabytes, sent)
        .count(Subject::Node, Key::NetworkReceiveMegabytes, 1000)
        .count(Subject::Node, Key::NetworkTestErrors, 0)
        .outcome(Subject::Node, Key::NetworkTestPartners, Outcome::Value(ReadingValue::list(partners)))
}

#[test]
fn whether_the_agent_waits_for_a_second_partner_is_what_the_rule_would_find() {
    let case = networked(2, 0);
    for rate in [0, 900, 949, 950, 951, 2000] {
        let slow = is_slower_in_burn_in(&case.context, &case.policy, Key::NetworkSendMegabytes, rate);
        assert_eq!(slow, verdict(&networked(2, rate)).0 == Fitness::Quarantine, "{rate}");
        assert!(!is_slower_in_burn_in(
            &Case::healthy().context,
            &case.policy,
            Key::NetworkSendMegabytes,
            rate
        ));
    }
}

proptest! {
    /// What is lost of the network test is never milder: neither a rate nor with whom it was measured.
    #[test]
    fn a_lost_reading_of_the_network_is_never_milder(
        partners in 0..4_usize, sent in 0_u64..2_000, less in 0_u64..2_000, which in 0..3_usize, how in 0..4_u8
    ) {
        let case = networked(partners, sent);
        let before = verdict(&case);
        prop_assert!(verdict(&networked(partners, sent.saturating_sub(less))) >= before);
        let key = [Key::NetworkSendMegabytes, Key::NetworkReceiveMegabytes, Key::NetworkTestPartners][which];
        let mut lost = case;
        match how {
            0 => lost.evidence.readings.retain(|one| one.key != key),
            1 => lost = lost.outcome(Subject::Node, key, Outcome::Unreadable("EIO".to_owned())),
            2 => lost = lost.outcome(Subject::Node, key, Outcome::Value(ReadingValue::Text("fast".to_owned()))),
            _ if which == 2 || partners > 0 => lost = lost.outcome(Subject::Node, key, Outcome::Absent),
            _ => {}
        }
        prop_assert!(verdict(&lost) >= before);
    }
}
