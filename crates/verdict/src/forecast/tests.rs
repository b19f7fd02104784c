use contract::assignment::{Baseline, PeerValue};
use contract::inventory::Transport;
use contract::outlook::{ComponentKind, Effect};
use contract::reading::{Outcome, ReadingKey as Key, Subject};
use proptest::prelude::{prop_assert, proptest};

use super::{components, risk};
use crate::facts::Facts;
use crate::model::{Model, NO_SIGN, Observed};
use crate::testing::{Case, DATA_DISK, NOW, disk_subject};

fn facts(case: &Case) -> Facts<'_> {
    Facts::of(&case.evidence, &case.context, &case.policy, case.now)
}

fn data() -> Subject {
    disk_subject(DATA_DISK)
}

/// The data disk is a hard disk of this model, and says that all its signs are 0.
fn hard_disk() -> Case {
    let mut case = Case::healthy().evidence(|evidence| {
        let Outcome::Value(disks) = &mut evidence.inventory.disks else { panic!("no disks") };
        let disk = disks.iter_mut().find(|disk| disk.id.as_str() == DATA_DISK).unwrap();
        disk.transport = Transport::Ata;
        disk.rotational = Outcome::Value(true);
        disk.model = Outcome::Value("SPIN 3000".to_owned());
        evidence.readings.retain(|reading| !reading.key.to_string().starts_with("nvme"));
    });
    for key in [
        Key::AtaReallocatedSectors,
        Key::AtaReportedUncorrectable,
        Key::AtaCommandTimeouts,
        Key::AtaPendingSectors,
        Key::AtaOfflineUncorrectable,
        Key::AtaSpinRetries,
        Key::AtaInterfaceCrcErrors,
        Key::DiskReadErrors,
    ] {
        case = case.count(data(), key, 0);
    }
    case
}

fn of_data_disk(case: &Case) -> (u64, String) {
    let all = components(&facts(case), &case.model);
    let disk = all.into_iter().find(|part| part.subject == data()).unwrap();
    (disk.failure_parts_per_million, disk.bucket)
}

#[test]
fn each_bucket_gives_its_published_rate_over_the_horizon() {
    // Without counts of the fleet, 1 - (b / (b + t))^a is near 1 - exp(-rate * t).
    for (key, value, percent_a_year, bucket) in [
        (Key::DiskReadErrors, 0, 1.57, NO_SIGN),
        (Key::AtaReallocatedSectors, 3, 2.7, "ata-reallocated-sectors 1-3"),
        (Key::AtaReallocatedSectors, 4, 7.5, "ata-reallocated-sectors 4-15"),
        (Key::AtaReallocatedSectors, 16, 23.6, "ata-reallocated-sectors 16-69"),
        (Key::AtaReallocatedSectors, 70, 36.0, "ata-reallocated-sectors 70-259"),
        (Key::AtaReallocatedSectors, u64::MAX, 57.0, "ata-reallocated-sectors from 260"),
        (Key::AtaReportedUncorrectable, 35, 144.0, "ata-reported-uncorrectable from 35"),
        (Key::AtaCommandTimeouts, 100, 1.57, NO_SIGN),
        (Key::AtaCommandTimeouts, 101, 22.0, "ata-command-timeouts 101-999"),
        (Key::AtaPendingSectors, 1, 34.0, "ata-pending-sectors 1"),
        (Key::AtaOfflineUncorrectable, 1, 81.0, "ata-offline-uncorrectable from 1"),
        (Key::AtaInterfaceCrcErrors, 9, 15.0, "ata-interface-crc-errors from 1"),
        (Key::DiskReadErrors, 1, 61.23, "disk-read-errors from 1"),
    ] {
        let (found, named) = of_data_disk(&hard_disk().count(data(), key, value));
        let expected = (1.0 - f64::exp(-percent_a_year / 100.0 * 30.0 / 365.25)) * 1e6;
        assert!(
            (found as f64 - expected).abs() < expected * 0.001 + 1.0,
            "{key} {value}: {found} {expected}"
        );
        assert_eq!(named, bucket, "{key} {value}");
    }
}

#[test]
fn a_module_that_cannot_be_read_hides_nothing_that_another_one_says() {
    let module = |name: &str| Subject::MemoryModule(name.to_owned());
    let key = Key::MemoryCorrectedErrors;
    let of_memory = |case: &Case| {
        let all = components(&facts(case), &case.model);
        let memory = all.into_iter().find(|part| part.kind == ComponentKind::Memory).unwrap();
        (memory.failure_parts_per_million, memory.bucket)
    };
    let bad = Case::healthy().count(module("A1"), key, 900);
    let and_lost = bad.clone().unreadable(module("A2"), key);
    assert_eq!(of_memory(&and_lost), of_memory(&bad));
    assert!(of_memory(&bad).0 > of_memory(&Case::healthy().unreadable(module("A2"), key)).0);
    let risk_of = |case: &Case| risk(&facts(case), &case.model);
    let worst = bad.count(module("A2"), key, u64::MAX);
    assert_eq!(risk_of(&and_lost).at_worst_parts_per_million, risk_of(&worst).at_worst_parts_per_million);
}

#[test]
fn the_figures_are_the_same_on_every_machine() {
    // From the first run on another C library; whoever changes a formula changes these on purpose.
    let with = |case: Case| of_data_disk(&case).0;
    assert_eq!(with(hard_disk()), 1289);
    assert_eq!(with(hard_disk().count(data(), Key::AtaPendingSectors, 2)), 54_319);
    assert_eq!(with(Case::healthy()), 821);
}

#[test]
fn a_missing_value_counts_as_the_step_that_the_model_names_and_its_worst_is_known() {
    let lost = hard_disk().unreadable(data(), Key::AtaReallocatedSectors);
    let four = hard_disk().count(data(), Key::AtaReallocatedSectors, 4);
    assert_eq!(of_data_disk(&lost), of_data_disk(&four));
    let untried = hard_disk().untried(&data(), Key::AtaReallocatedSectors);
    assert_eq!(of_data_disk(&untried), of_data_disk(&four));
    let absent = hard_disk().outcome(data(), Key::AtaReallocatedSectors, Outcome::Absent);
    assert_eq!(of_data_disk(&absent), of_data_disk(&hard_disk()));
    let risk_of = |case: &Case| risk(&facts(case), &case.model);
    let worst = risk_of(&hard_disk().count(data(), Key::AtaReallocatedSectors, 260));
    assert_eq!(risk_of(&lost).at_worst_parts_per_million, worst.failure_parts_per_million);
    assert!(risk_of(&lost).failure_parts_per_million < worst.failure_parts_per_million);
}

#[test]
fn what_the_fleet_has_seen_moves_the_rate_and_is_told() {
    let row = |hardware_model: &str, failures| Observed {
        kind: ComponentKind::HardDisk,
        hardware_model: hardware_model.to_owned(),
        bucket: NO_SIGN.to_owned(),
        exposure_days: 365_250,
        failures,
    };
    let with = |rows: Vec<Observed>| {
        let mut case = hard_disk();
        case.model = case.model.with_observed(rows).unwrap();
        case
    };
    let published = of_data_disk(&hard_disk()).0;
    assert!(of_data_disk(&with(vec![row("SPIN 3000", 100)])).0 > published * 3);
    assert!(of_data_disk(&with(vec![row("SPIN 3000", 0)])).0 < published);
    // A row of its own goes before that of all others.
    let both = with(vec![row("", 0), row("SPIN 3000", 100)]);
    assert_eq!(of_data_disk(&both), of_data_disk(&with(vec![row("SPIN 3000", 100)])));
    let told = components(&facts(&both), &both.model);
    let disk = told.iter().find(|part| part.subject == data()).unwrap();
    // (15.7 + 100) failures in (1000 + 1000) years.
    let own = Effect::Rate { failures_per_million_years: 57_850 };
    assert_eq!(disk.contributions.iter().map(|part| part.effect).nth(1), Some(own));
}

#[test]
fn a_worse_value_is_no_better_whatever_the_fleet_has_seen() {
    let mut case = hard_disk();
    let seen = |bucket: &str, failures| Observed {
        kind: ComponentKind::HardDisk,
        hardware_model: String::new(),
        bucket: bucket.to_owned(),
        exposure_days: 36_525_000,
        failures,
    };
    let rows = vec![seen("ata-reallocated-sectors 4-15", 90_000), seen("ata-reallocated-sectors 16-69", 0)];
    case.model = case.model.with_observed(rows).unwrap();
    let at = |value| of_data_disk(&case.clone().count(data(), Key::AtaReallocatedSectors, value)).0;
    let risks = [0, 1, 4, 16, 70, 260].map(at);
    assert!(risks.is_sorted(), "{risks:?}");
    assert_eq!(risks[2], risks[3]);
}

#[test]
fn a_part_unlike_its_peers_is_likelier_to_fail() {
    let peers = |median, median_deviation, nodes, hardware_model: &str| PeerValue {
        hardware_model: hardware_model.to_owned(),
        key: Key::AtaInterfaceCrcErrors,
        tier: contract::reading::Tier::T2,
        median,
        median_deviation,
        nodes,
    };
    let base = hard_disk().count(data(), Key::AtaInterfaceCrcErrors, 60);
    let with = |peer: PeerValue| of_data_disk(&base.clone().context(|context| context.peers = vec![peer])).0;
    let alone = of_data_disk(&base).0;
    for (name, peer, expected) in [
        ("five deviations away", peers(10, 5, 50, "SPIN 3000"), true),
        ("not so far", peers(50, 5, 50, "SPIN 3000"), false),
        ("too few of them", peers(10, 5, 9, "SPIN 3000"), false),
        ("another model", peers(10, 5, 50, "OTHER"), false),
        ("better than they are", peers(600, 5, 50, "SPIN 3000"), false),
        ("none of them differ", peers(0, 0, 50, "SPIN 3000"), true),
    ] {
        assert_eq!(with(peer) > alone * 19 / 10, expected, "{name}");
    }
}

#[test]
fn wear_is_told_as_a_date_with_an_interval() {
    let case =
        Case::healthy().count(data(), Key::NvmePercentageUsed, 50).count(data(), Key::DiskPowerOnHours, 5000);
    let told = |case: &Case| {
        let all = components(&facts(case), &case.model);
        all.into_iter().find(|part| part.subject == data()).unwrap().wear_out
    };
    let out = told(&case).unwrap();
    let hours = |at: contract::id::UnixMillis| (at.0 - NOW.0) / 3_600_000;
    assert_eq!(out.key, Key::NvmePercentageUsed);
    assert_eq!((hours(out.earliest), hours(out.expected), out.latest.map(hours)), (4901, 5000, Some(5102)));
    let young = case.clone().count(data(), Key::DiskPowerOnHours, 23);
    assert_eq!(told(&young), None);
    let unused = case.clone().count(data(), Key::NvmePercentageUsed, 0);
    assert_eq!(told(&unused), None);
    let over = case.clone().count(data(), Key::NvmePercentageUsed, 255);
    assert_eq!(told(&over).unwrap().expected, NOW);
    let absurd =
        case.count(data(), Key::DiskPowerOnHours, u64::MAX).count(data(), Key::NvmePercentageUsed, u64::MAX);
    assert_eq!(told(&absurd).unwrap().expected, NOW);
}

#[test]
fn corrected_errors_of_memory_count_by_the_day() {
    let module = Subject::MemoryModule("DIMM_A1".to_owned());
    let memory = |case: &Case| {
        let all = components(&facts(case), &case.model);
        all.into_iter().find(|part| part.kind == ComponentKind::Memory).unwrap().bucket
    };
    let case = Case::healthy().count(module.clone(), Key::MemoryCorrectedErrors, 300);
    assert_eq!(memory(&Case::healthy()), NO_SIGN);
    assert_eq!(memory(&case), "memory-corrected-errors 101-1000");
    let slow = case.context(|context| {
        context.baselines = vec![Baseline {
            subject: module,
            key: Key::MemoryCorrectedErrors,
            count: 0,
            boot_id: contract::id::BootId(uuid::Uuid::from_u128(2)),
            observed_at: contract::id::UnixMillis(NOW.0 - 30 * 86_400_000),
        }];
    });
    assert_eq!(memory(&slow), "memory-corrected-errors 1-100");
}

#[test]
fn removable_disks_and_volumes_are_not_taken_for_hard_disks() {
    let usb = hard_disk().evidence(|evidence| {
        let Outcome::Value(disks) = &mut evidence.inventory.disks else { panic!("no disks") };
        disks.iter_mut().for_each(|disk| disk.removable = true);
    });
    let kinds = |case: &Case| -> Vec<ComponentKind> {
        components(&facts(case), &case.model).iter().map(|part| part.kind).collect()
    };
    assert_eq!(kinds(&usb), [ComponentKind::Memory, ComponentKind::Processor]);
    assert!(kinds(&Case::healthy()).contains(&ComponentKind::VirtualDisk));
}

proptest! {
    #[test]
    fn probabilities_are_probabilities_and_rise_with_any_sign(
        values in proptest::collection::vec(proptest::num::u64::ANY, 8),
        at in 0..8_usize,
        more in 0..1000_u64,
    ) {
        let keys = [
            Key::AtaReallocatedSectors, Key::AtaReportedUncorrectable, Key::AtaCommandTimeouts,
            Key::AtaPendingSectors, Key::AtaOfflineUncorrectable, Key::AtaSpinRetries,
            Key::AtaInterfaceCrcErrors, Key::DiskReadErrors,
        ];
        let mut case = hard_disk();
        for (key, value) in keys.iter().zip(&values) {
            // Small values are where the steps are.
            case = case.count(data(), *key, value % 400);
        }
        let before = risk(&facts(&case), &case.model);
        let worse = case.clone().count(data(), keys[at], (values[at] % 400).saturating_add(more));
        let after = risk(&facts(&worse), &worse.model);
        prop_assert!(after.failure_parts_per_million >= before.failure_parts_per_million);
        prop_assert!(after.at_worst_parts_per_million >= after.failure_parts_per_million);
        prop_assert!(after.at_worst_parts_per_million <= 1_000_000);
        let lost = case.unreadable(data(), keys[at]);
        let lost = risk(&facts(&lost), &Model::parse("").unwrap());
        prop_assert!(lost.at_worst_parts_per_million >= before.failure_parts_per_million);
    }
}
