//! F51: the Xid messages of NVIDIA's driver, by class.
//!
//! The classes are data, from NVIDIA's Xid catalogue as mirrored in gpud (generated 2025-10-29). Each class
//! has its rule, so that what is to be done about it can be told from the finding; what the policy makes of
//! each class stands in `[gpu]`. No Xid is evidence for wiping a disk.

use std::collections::BTreeMap;

use contract::decision::Axis;
use contract::reading::{Outcome, ReadingKey, Subject};

use super::flags::demanded;
use super::{Demand, Rule, Ruled, Seen};
use crate::facts::{Facts, Listed};
use crate::policy::{GpuPolicy, Response};

const CATALOGUE: &str = "NVIDIA Xid catalogue as mirrored in gpud, 2025-10-29; policy: gpu";

/// What is to be done about some Xids.
pub(crate) struct Class {
    rule: Rule,
    /// What is to be done, for people.
    pub remedy: &'static str,
    response: fn(&GpuPolicy) -> Response,
    /// From how many of one GPU in one boot on it is the hardware; none if never.
    repeats: fn(&GpuPolicy) -> Option<u64>,
    /// Inclusive ranges.
    numbers: &'static [(u16, u16)],
}

const fn class(
    id: &'static str,
    remedy: &'static str,
    response: fn(&GpuPolicy) -> Response,
    repeats: fn(&GpuPolicy) -> Option<u64>,
    numbers: &'static [(u16, u16)],
) -> Class {
    Class { rule: Rule { id, axis: Axis::Fitness, source: CATALOGUE }, remedy, response, repeats, numbers }
}

/// All that the catalogue has a word for.
const CLASSES: [Class; 9] = [
    class(
        "fitness/gpu-xid-logged",
        "nothing",
        |gpu| gpu.xid_logged,
        |_| None,
        &[
            (37, 38),
            (43, 44),
            (63, 63),
            (66, 67),
            (92, 93),
            (106, 108),
            (121, 121),
            (137, 137),
            (141, 141),
            (152, 153),
            (157, 157),
            (160, 161),
        ],
    ),
    class(
        "fitness/gpu-xid-restart-application",
        "restart the application",
        |gpu| gpu.xid_restart_application,
        |_| None,
        &[
            (8, 8),
            (11, 11),
            (13, 13),
            (25, 25),
            (31, 32),
            (39, 41),
            (60, 60),
            (68, 70),
            (75, 77),
            (80, 80),
            (82, 86),
            (88, 89),
            (94, 94),
            (96, 105),
            (126, 135),
            (139, 139),
        ],
    ),
    class(
        "fitness/gpu-xid-reset-gpu",
        "reset the GPU",
        |gpu| gpu.xid_reset_gpu,
        |gpu| Some(gpu.xid_reset_repeats_quarantine_from),
        &[
            (46, 46),
            (62, 62),
            (64, 64),
            (95, 95),
            (109, 110),
            (119, 120),
            (136, 136),
            (140, 140),
            (143, 143),
            (155, 156),
            (158, 158),
        ],
    ),
    class(
        "fitness/gpu-xid-reboot",
        "reboot the node",
        |gpu| gpu.xid_reboot,
        |gpu| Some(gpu.xid_reboot_repeats_quarantine_from),
        &[(79, 79)],
    ),
    class(
        "fitness/gpu-xid-restart-machine",
        "restart the virtual machine",
        |gpu| gpu.xid_restart_application,
        |_| None,
        &[(151, 151)],
    ),
    class(
        "fitness/gpu-xid-check-power",
        "check the power connector",
        |gpu| gpu.xid_check_power,
        |_| None,
        &[(54, 54)],
    ),
    class(
        "fitness/gpu-xid-update-software",
        "update driver and firmware",
        |gpu| gpu.xid_update_software,
        |_| None,
        &[(78, 78)],
    ),
    class(
        "fitness/gpu-xid-workflow",
        "follow the recovery action that the driver names",
        |gpu| gpu.xid_workflow,
        |_| None,
        &[(45, 45), (48, 48), (74, 74), (144, 150), (154, 154)],
    ),
    class(
        "fitness/gpu-xid-power-smoothing",
        "look at the power limits",
        |gpu| gpu.xid_power_smoothing,
        |_| None,
        &[(162, 172)],
    ),
];

/// What the catalogue does not know, and lines that are no Xid at all.
const UNKNOWN: Class =
    class("fitness/gpu-xid-unknown", "look at the message", |gpu| gpu.xid_unknown, |_| None, &[]);

/// The class of an Xid.
fn class_of(number: u16) -> &'static Class {
    const ALL: &[Class] = &CLASSES;
    const OTHER: &Class = &UNKNOWN;
    let named = |class: &&Class| class.numbers.iter().any(|(first, last)| (*first..=*last).contains(&number));
    ALL.iter().find(named).unwrap_or(OTHER)
}

/// What one class's messages say.
struct Messages<'a> {
    class: &'static Class,
    count: u64,
    first: &'a str,
    of_gpu: BTreeMap<&'a str, u64>,
}

/// One finding for each class that was seen, and one that all is well if none was.
pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let key = ReadingKey::GpuXids;
    for subject in facts.subjects(key) {
        match facts.list(&subject, key) {
            Outcome::Value(list) => judge_list(facts, &subject, &list, ruled),
            Outcome::Absent => {}
            Outcome::Unreadable(why) => ruled.push(UNKNOWN.rule.unknown(
                super::gpus::lost(facts),
                Seen::reading(subject.clone(), key, &why, "none"),
                format!("The kernel log could not be read for messages of the GPUs: {why}."),
            )),
        }
    }
}

fn judge_list(facts: &Facts<'_>, subject: &Subject, list: &Listed, ruled: &mut Vec<Ruled>) {
    let gpu = &facts.thresholds().gpu;
    let key = ReadingKey::GpuXids;
    if list.total == 0 {
        let seen = Seen::reading(subject.clone(), key, 0, "none");
        ruled.push(UNKNOWN.rule.found(Demand::Nothing, seen, "The GPUs reported no errors in this boot."));
    }
    // What was cut from the list may have been anything, and so many are no accident.
    let cut = list.total > list.items.len() as u64;
    if cut {
        let seen = Seen::reading(subject.clone(), key, list.total, "as many as can be listed");
        let statement =
            format!("The GPUs reported {} errors in this boot, more than can be listed.", list.total);
        ruled.push(UNKNOWN.rule.found(Demand::Quarantine, seen, statement));
    }
    for messages in by_class(&list.items) {
        let class = messages.class;
        let Some(demand) = demanded((class.response)(gpu)) else { continue };
        let most = messages.of_gpu.iter().max_by_key(|(_, count)| **count);
        let repeated = match (most, (class.repeats)(gpu)) {
            (Some((_, count)), Some(from)) => *count >= from,
            _ => false,
        };
        let limit = match (class.repeats)(gpu) {
            Some(from) => format!("none; {from} of one GPU in one boot are quarantine"),
            None => "none".to_owned(),
        };
        let mut statement = format!(
            "{} of the GPUs' errors in this boot ask to {}, such as: {}.",
            messages.count, class.remedy, messages.first
        );
        if let (true, Some((address, count))) = (repeated, most) {
            statement = format!(
                "GPU {address} reported {count} errors in this boot that ask to {}: it is the hardware.",
                class.remedy
            );
        }
        let demand = if repeated { Demand::Quarantine } else { demand };
        let seen = Seen::reading(subject.clone(), key, messages.count, limit);
        ruled.push(class.rule.found(demand, seen, statement));
    }
}

/// The messages of each class, in the order of the classes' names.
fn by_class(items: &[String]) -> Vec<Messages<'_>> {
    let mut classes: BTreeMap<&'static str, Messages<'_>> = BTreeMap::new();
    for item in items {
        let (number, address) = parts(item);
        let class = number.map_or(class_of(0), class_of);
        let new = || Messages { class, count: 0, first: item, of_gpu: BTreeMap::new() };
        let messages = classes.entry(class.rule.id).or_insert_with(new);
        messages.count += 1;
        *messages.of_gpu.entry(address).or_insert(0) += 1;
    }
    classes.into_values().collect()
}

/// Number and address of `79 0000:3b:00.0 GPU has fallen off the bus`.
fn parts(item: &str) -> (Option<u16>, &str) {
    let mut words = item.split_whitespace();
    let number = words.next().and_then(|word| word.parse().ok());
    (number, words.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_catalogue_is_in_one_class() {
        let classes_with = |number: u16| {
            let named = |class: &&Class| class.numbers.iter().any(|(a, b)| (*a..=*b).contains(&number));
            CLASSES.iter().filter(named).count()
        };
        let known = (0..=u16::MAX).filter(|number| classes_with(*number) == 1).count();
        assert_eq!((0..=u16::MAX).filter(|number| classes_with(*number) > 1).count(), 0);
        assert_eq!(known, 106);
        for class in &CLASSES {
            assert!(class.numbers.is_sorted() && class.numbers.iter().all(|(first, last)| first <= last));
        }
    }

    #[test]
    fn an_item_is_taken_apart_and_a_hostile_one_is_unknown() {
        assert_eq!(parts("79 0000:3b:00.0 GPU has fallen off the bus"), (Some(79), "0000:3b:00.0"));
        for hostile in ["", "x", "-1 a", "99999999999 a", "79;rm", "\u{0}"] {
            assert_eq!(parts(hostile).0, None, "{hostile:?}");
        }
        assert_eq!(class_of(79).remedy, "reboot the node");
        assert_eq!(class_of(9999).rule.id, "fitness/gpu-xid-unknown");
    }
}
