//! What must hold for any reading of a server's parts, and for anything said of them.
//!
//! A case is the server of the situations with some changes, each a kind, a place and an amount. The places are
//! all its readings and baselines; amounts are any number there is. As in `properties`, "milder" knows that
//! look deeper writes nothing and allows nothing.
//!
//! Three things that are not claimed, each on purpose:
//! - a counter below its baseline was reset, and counts more than at the baseline: "worse" is from there upwards;
//! - a reading that nobody tries and nobody remembers is unknown to all (an older agent takes no fleet out);
//! - what cannot be read of GPUs, links and fabric ports in the ramdisk is watched (see `rules::gpus`,
//!   `rules::links`). For GPUs the properties hold where the policy says so, and are tried under that policy.

use std::sync::OnceLock;

use contract::assignment::{Baseline, BootTrust, DataOwner};
use contract::decision::{Action, Confidentiality};
use contract::id::{BootId, UnixMillis};
use contract::reading::{Counting, Outcome, Reading, ReadingKey as Key, ReadingValue, Subject, Trust};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, proptest};
use uuid::Uuid;

use crate::testing::Case;

/// The server, where every agent can ask the GPUs.
fn server() -> Case {
    static SERVER: OnceLock<Case> = OnceLock::new();
    let text = "base = \"server\"\npolicy = '''\n[gpu]\nunreadable = \"quarantine\"\n'''";
    SERVER.get_or_init(|| Case::of_text(text)).clone()
}

/// The same under rules of the operator's own, one for each way that a reading is asked for.
fn ruled_server() -> Case {
    static SERVER: OnceLock<Case> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let rules = [
                ("evidence.nvme_percentage_used.exists(r, r.value > 95)", "reimage"),
                ("has(evidence.disk_power_on_hours) && evidence.disk_power_on_hours.exists(r, r.value > 50000)", "repair"),
                ("has(evidence.memory_corrected_errors) && evidence.memory_corrected_errors.filter(r, r.value > 100).size() > 0", "sanitize"),
                ("evidence.ata_reallocated_sectors.exists(r, r.value > 250)", "quarantine"),
                ("has(evidence.disk_self_test_failed) && evidence.disk_self_test_failed.exists(r, r.value)", "reimage"),
            ];
            let rule = |(at, (when, action)): (usize, &(&str, &str))| {
                format!("[[rule]]\nname = \"r{at}\"\nwhen = \"{when}\"\naction = \"{action}\"\nwhy = \"w\"\n")
            };
            let text = rules.iter().enumerate().map(rule).collect::<String>();
            server().policy(&format!("[gpu]\nunreadable = \"quarantine\"\n{text}"))
        })
        .clone()
}

fn another_boot() -> BootId {
    BootId(Uuid::from_u128(0xdead))
}

/// A value at least as bad as this one; none where no value is worse than another.
fn worse(key: Key, value: &ReadingValue, amount: u64) -> Option<ReadingValue> {
    use ReadingValue::{Count, Flag, List, Text};
    let less_is_worse = matches!(
        key,
        Key::NvmeAvailableSparePercent
            | Key::PcieLinkWidth
            | Key::PcieLinkMegatransfers
            | Key::FabricRateMegabits
    );
    // Sizes and ages, not errors; and lists of which nothing is the good value only for some.
    let neutral = matches!(
        key,
        Key::ImageFilesChecked
            | Key::DiskContentSignatures
            | Key::DiskDataPartitions
            | Key::DiskBytesWritten
            | Key::DiskPowerOnHours
            | Key::NvmeUnsafeShutdowns
    );
    match value {
        _ if neutral => None,
        Count(count) if less_is_worse => Some(Count(count.saturating_sub(amount))),
        Count(count) if matches!(key, Key::KernelTaint | Key::NvmeCriticalWarning) => {
            Some(Count(count | amount))
        }
        Count(count) => Some(Count(count.saturating_add(amount))),
        Flag(_) => Some(Flag(true)),
        List { items, .. } => {
            let lines =
                ["79 0000:3b:00.0 fell off", "119 0000:3b:00.0 timeout", "severity: fatal", "/usr/bin/ls"];
            let mut items = items.clone();
            items.truncate(900);
            let line = lines[(amount % 4) as usize];
            items.extend((0..=amount % 6).map(|_| line.to_owned()));
            Some(ReadingValue::list(items))
        }
        Text(_) => Some(Text("another".to_owned())),
    }
}

/// Any value at all.
fn any_value(amount: u64) -> ReadingValue {
    match amount % 7 {
        0 => ReadingValue::Flag(amount & 8 == 0),
        1 => ReadingValue::Text(String::from("\u{1b}[2J\u{0}keep")),
        2 => ReadingValue::List { items: vec!["79 x".to_owned()], total: amount },
        3 => ReadingValue::list(Vec::new()),
        4 => ReadingValue::Count(amount),
        5 => ReadingValue::Count(amount % 200),
        _ => ReadingValue::Count(u64::MAX),
    }
}

/// One change of a case.
type Change = (u8, u16, u64);

fn apply(case: &mut Case, (kind, place, amount): Change) {
    let (readings, baselines) = (case.evidence.readings.len(), case.context.baselines.len());
    let at = usize::from(place) % readings.max(1);
    let known = usize::from(place) % baselines.max(1);
    let Some(reading) = case.evidence.readings.get_mut(at) else { return };
    match kind {
        0 | 1 => {
            let value = reading.outcome.value().and_then(|value| worse(reading.key, value, amount % 2_000));
            reading.outcome = value.map_or(reading.outcome.clone(), Outcome::Value);
        }
        2 => reading.outcome = Outcome::Value(any_value(amount)),
        3 => reading.outcome = Outcome::Unreadable("EIO".to_owned()),
        4 => reading.outcome = Outcome::Absent,
        5 => drop(case.evidence.readings.remove(at)),
        6 => reading.boot_id = another_boot(),
        7 => reading.observed_at = UnixMillis(amount),
        8 => reading.trust = Trust::Resident,
        9 => {
            let twice = Reading { outcome: Outcome::Value(any_value(amount)), ..reading.clone() };
            case.evidence.readings.push(twice);
        }
        10 => case.context.data_owner = DataOwner::Tenant("tenant-b".parse().unwrap()),
        11 => case.context.data_owner = DataOwner::Unknown,
        12 => {
            let lost = BootTrust::Lost { why: "no TPM".to_owned() };
            let mismatch = BootTrust::Mismatch { registers: vec!["sha256:0".to_owned()] };
            let changed = BootTrust::Changed { what: vec!["PCR 4".to_owned()] };
            case.context.boot_trust = Some(match amount % 3 {
                0 => mismatch,
                1 => changed,
                _ => lost,
            });
        }
        13 => *case = case.clone().resident(),
        14 => case.now = UnixMillis(amount),
        _ if baselines == 0 => {}
        15 => drop(case.context.baselines.remove(known)),
        16 => case.context.baselines[known].count = amount,
        17 => case.context.baselines[known].observed_at = UnixMillis(amount),
        _ => case.context.baselines[known].boot_id = another_boot(),
    }
}

/// The server with up to six changes. Small amounts as likely as any.
fn case() -> impl Strategy<Value = Case> {
    case_of(server)
}

fn case_of(server: fn() -> Case) -> impl Strategy<Value = Case> {
    let amount =
        (any::<u64>(), any::<bool>()).prop_map(|(amount, small)| if small { amount % 300 } else { amount });
    proptest::collection::vec((0..19_u8, any::<u16>(), amount), 0..6).prop_map(move |changes| {
        let mut case = server();
        changes.into_iter().for_each(|change| apply(&mut case, change));
        case
    })
}

/// Whether this reading was counted before, of a part that is there.
fn is_missed(case: &Case, at: usize) -> bool {
    let reading = &case.evidence.readings[at];
    let counted = |then: &Baseline| then.subject == reading.subject && then.key == reading.key;
    let same = |other: &&Reading| other.subject == reading.subject && other.key == reading.key;
    let alone = case.evidence.readings.iter().filter(same).count() == 1;
    alone
        && case.context.baselines.iter().any(counted)
        && match &reading.subject {
            Subject::Disk(id) => case.disks().iter().any(|disk| disk.id == *id),
            // Where nobody counts, nobody misses.
            Subject::MemoryModule(_) => case.evidence.outcome(&Subject::Node, reading.key) != Outcome::Absent,
            Subject::Node => !matches!(reading.key, Key::ProcessorThrottles | Key::MemoryCorrectedErrors),
            _ => false,
        }
}

/// Not milder, when evidence got weaker.
fn no_permission(before: Action, after: Action) -> bool {
    after >= before || (after == Action::LookDeeper && before != Action::Keep)
}

/// The one reading that a property changes; none where two tell of the same.
fn chosen(case: &Case, place: u16) -> Option<usize> {
    let at = usize::from(place) % case.evidence.readings.len().max(1);
    let chosen = case.evidence.readings.get(at)?;
    let same = |other: &&Reading| other.subject == chosen.subject && other.key == chosen.key;
    (case.evidence.readings.iter().filter(same).count() == 1).then_some(at)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(17_000))]

    /// Total, deterministic, the same in whatever order the readings stand, and H1: data never stay across a change
    /// of tenant, whatever was measured.
    #[test]
    fn anything_is_judged_alike_and_no_data_stay_across_tenants(case in case()) {
        let judged = case.weighed();
        let mut in_order = case.clone();
        in_order.evidence.sort();
        in_order.context.baselines.sort_by(|a, b| (&a.subject, a.key).cmp(&(&b.subject, b.key)));
        prop_assert!(judged.action == in_order.bare_action());
        let nobody = DataOwner::Nobody;
        let owner = &case.context.data_owner;
        if *owner != DataOwner::Tenant("tenant-a".parse().unwrap()) && *owner != nobody {
            prop_assert!(!matches!(judged.confidentiality, Confidentiality::KeepData));
            prop_assert!(matches!(judged.action, Action::Wipe | Action::Quarantine | Action::LookDeeper));
        }
        if matches!(case.context.boot_trust, Some(BootTrust::Mismatch { .. })) {
            prop_assert!(judged.action == Action::Quarantine);
        }
        if matches!(case.context.boot_trust, Some(BootTrust::Lost { .. })) {
            let from_ramdisk = case.evidence.trust >= Trust::Ramdisk;
            prop_assert!(judged.action == Action::Quarantine || !from_ramdisk && judged.action == Action::LookDeeper);
        }
    }

    #[test]
    fn a_worse_value_is_never_milder(case in case(), place: u16, amount: u64) {
        let Some(at) = chosen(&case, place) else { return Ok(()) };
        let reading = &case.evidence.readings[at];
        let Some(value) = reading.outcome.value() else { return Ok(()) };
        let Some(value) = worse(reading.key, value, amount) else { return Ok(()) };
        // Below its baseline a counter was reset.
        if let (Some(ReadingValue::Count(count)), true) = (reading.outcome.value(), reading.key.counting() != Counting::Present) {
            let same = |subject: &Subject, key| *subject == reading.subject && key == reading.key;
            let reset = case.context.baselines.iter().any(|then| same(&then.subject, then.key) && then.count > *count);
            if reset {
                return Ok(());
            }
        }
        let before = case.weighed();
        let mut worse = case.clone();
        worse.evidence.readings[at].outcome = Outcome::Value(value);
        let after = worse.weighed();
        let reading = &worse.evidence.readings[at];
        prop_assert!(after.action >= before.action, "{:?}: {:?} after {:?}", reading, after.action, before.action);
        prop_assert!(after.fitness >= before.fitness, "{:?}: {:?} after {:?}", reading, after.fitness, before.fitness);
    }

    #[test]
    fn a_reading_that_is_lost_gives_no_permission(case in case(), place: u16, how in 0..3_u8) {
        let Some(at) = chosen(&case, place) else { return Ok(()) };
        // Of a read-only disk the inventory says the same, and is always there.
        if case.evidence.readings[at].key == Key::DiskReadOnly {
            return Ok(());
        }
        let before = case.bare_action();
        let mut weaker = case;
        let reading = &mut weaker.evidence.readings[at];
        match how {
            0 => reading.outcome = Outcome::Unreadable("EIO".to_owned()),
            1 => reading.outcome = Outcome::Value(ReadingValue::List { items: Vec::new(), total: 3 }),
            _ => reading.boot_id = another_boot(),
        }
        let after = weaker.bare_action();
        prop_assert!(no_permission(before, after), "{:?}: {:?} after {:?}", weaker.evidence.readings[at], after, before);
    }

    /// Of disks, memory and processors: what was counted before is missed.
    #[test]
    fn a_counter_that_nobody_reads_any_more_gives_no_permission(case in case(), place: u16) {
        let missed: Vec<usize> = (0..case.evidence.readings.len()).filter(|at| is_missed(&case, *at)).collect();
        let Some(at) = missed.get(usize::from(place) % missed.len().max(1)).copied() else { return Ok(()) };
        let before = case.bare_action();
        let mut weaker = case;
        let reading = weaker.evidence.readings.remove(at);
        let after = weaker.bare_action();
        prop_assert!(no_permission(before, after), "{:?}: {:?} after {:?}", reading, after, before);
    }

    #[test]
    fn a_baseline_that_is_lost_is_never_milder(case in case(), place: u16) {
        let at = usize::from(place) % case.context.baselines.len().max(1);
        let Some(then) = case.context.baselines.get(at).cloned() else { return Ok(()) };
        if case.evidence.find(&then.subject, then.key).is_none() {
            return Ok(());
        }
        let before = case.weighed();
        let mut weaker = case;
        weaker.context.baselines.remove(at);
        let after = weaker.weighed();
        prop_assert!(after.action >= before.action, "{:?}: {:?} after {:?}", then, after.action, before.action);
        prop_assert!(after.fitness >= before.fitness, "{:?}: {:?} after {:?}", then, after.fitness, before.fitness);
    }

    #[test]
    fn less_trust_gives_no_permission(case in case(), place: u16) {
        // A ramdisk and a running system read the command line of different kernels; of these there is a property
        // beside their rules.
        let mut case = case;
        case.context.command_lines = Default::default();
        let before = case.bare_action();
        let all = case.clone().resident().bare_action();
        prop_assert!(no_permission(before, all), "{:?} after {:?}", all, before);
        let Some(at) = chosen(&case, place) else { return Ok(()) };
        let mut one = case;
        one.evidence.readings[at].trust = Trust::Resident;
        let after = one.bare_action();
        prop_assert!(no_permission(before, after), "{:?} after {:?}", after, before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Rules of the operator's own: what is lost of a reading, or not read any more of a disk that every agent
    /// reads it of, is never "no".
    #[test]
    fn a_reading_that_is_lost_gives_no_permission_under_rules_of_the_operators_own(
        case in case_of(ruled_server), place: u16, how in 0..4_u8,
    ) {
        let Some(at) = chosen(&case, place) else { return Ok(()) };
        let key = case.evidence.readings[at].key;
        let needed = matches!(key, Key::NvmePercentageUsed | Key::AtaReallocatedSectors) || is_missed(&case, at);
        if key == Key::DiskReadOnly || (how == 3 && !needed) {
            return Ok(());
        }
        let before = case.bare_action();
        let mut weaker = case;
        let reading = &mut weaker.evidence.readings[at];
        match how {
            0 => reading.outcome = Outcome::Unreadable("EIO".to_owned()),
            1 => reading.outcome = Outcome::Value(ReadingValue::List { items: Vec::new(), total: 3 }),
            2 => reading.boot_id = another_boot(),
            _ => drop(weaker.evidence.readings.remove(at)),
        }
        let after = weaker.bare_action();
        prop_assert!(no_permission(before, after), "{:?} {}: {:?} after {:?}", key, how, after, before);
    }
}

/// The cases must reach every action but the reimage of a node without an image, or they say little.
#[test]
fn the_cases_of_hardware_reach_the_actions() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..2_000 {
        let case = case().new_tree(&mut runner).unwrap().current();
        *seen.entry(case.bare_action()).or_insert(0) += 1;
    }
    for action in
        [Action::Keep, Action::LookDeeper, Action::Repair, Action::Reimage, Action::Wipe, Action::Quarantine]
    {
        assert!(seen.get(&action).is_some_and(|count| *count > 2), "{action:?}: {seen:?}");
    }
}
