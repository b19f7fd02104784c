//! F32 to F36: links and versions, compared with what the node had when a person found it right.
//!
//! What a slot can do says nothing about what this machine does when it is well, so there is no other
//! threshold. Without a golden value there is nothing to compare with, and no finding.
//!
//! What could not be read counts as the policy says that a lower value would (`cautious` for quarantine); of a
//! GPU no worse than `gpu.unreadable` says. What nobody tried to read is watched only: a link is known by its
//! place, which changes when a card is added, and the ramdisk has no driver for some. That a disk, an interface
//! or a GPU is gone is told by rules that know it by its identity.

use contract::assignment::GoldenValue;
use contract::decision::Axis;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};

use super::counters::named;
use super::flags::{demanded, if_lost};
use super::{Demand, Rule, Ruled, Seen, gpus};
use crate::facts::Facts;
use crate::golden_values;
use crate::policy::{Response, Sections};

const DCGM: &str = "NVIDIA DCGM: link below what it was; policy: links";

/// A number that may not be less than it was.
struct Rate {
    rule: Rule,
    key: ReadingKey,
    response: fn(&Sections) -> Response,
    /// What it counts, behind the number.
    what: &'static str,
}

/// F32 to F35.
const RATES: [Rate; 4] = [
    Rate {
        rule: Rule { id: "fitness/pcie-link-width", axis: Axis::Fitness, source: DCGM },
        key: ReadingKey::PcieLinkWidth,
        response: |policy| policy.links.pcie_width_below_golden,
        what: "lanes",
    },
    Rate {
        rule: Rule { id: "fitness/pcie-link-speed", axis: Axis::Fitness, source: DCGM },
        key: ReadingKey::PcieLinkMegatransfers,
        response: |policy| policy.links.pcie_speed_below_golden,
        what: "megatransfers a second",
    },
    Rate {
        rule: Rule {
            id: "fitness/nic-speed",
            axis: Axis::Fitness,
            source: "what it was when a person found it right; policy: links.nic_speed_below_golden",
        },
        key: ReadingKey::NicSpeedMegabits,
        response: |policy| policy.links.nic_speed_below_golden,
        what: "megabits a second",
    },
    Rate {
        rule: Rule {
            id: "fitness/fabric-rate",
            axis: Axis::Fitness,
            source: "gpud: rate of the port; policy: links.fabric_rate_below_golden",
        },
        key: ReadingKey::FabricRateMegabits,
        response: |policy| policy.links.fabric_rate_below_golden,
        what: "megabits a second",
    },
];

/// F36: firmware is the version that it was.
const VERSION: Rule = Rule {
    id: "fitness/firmware-version",
    axis: Axis::Fitness,
    source: "what it was when a person found it right; policy: links.version_differs",
};

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    let Some(expected) = &facts.context.expected_hardware else { return };
    for golden in &expected.golden {
        match &golden.value {
            ReadingValue::Count(least) => ruled.extend(rate(facts, golden, *least)),
            ReadingValue::Text(version) => ruled.extend(version_of(facts, golden, version)),
            ReadingValue::Flag(_) | ReadingValue::List { .. } => {}
        }
    }
}

fn rate(facts: &Facts<'_>, golden: &GoldenValue, least: u64) -> Option<Ruled> {
    let rate = RATES.iter().find(|rate| rate.key == golden.key)?;
    let response = (rate.response)(facts.thresholds());
    let demand = demanded(response)?;
    let subject = &golden.subject;
    let (name, what) = (named(subject), rate.what);
    let seen = |observed: &dyn ToString| {
        Seen::reading(subject.clone(), rate.key, observed.to_string(), format!("at least {least}"))
    };
    let in_inventory = rate.key == ReadingKey::NicSpeedMegabits;
    let outcome = if in_inventory { count_now(facts, golden) } else { facts.count(subject, rate.key) };
    Some(match outcome {
        Outcome::Value(count) if count < least => {
            let statement = format!("{name}: the link has {count} {what}; it had {least}.");
            rate.rule.found(demand, seen(&count), statement)
        }
        Outcome::Value(count) => {
            rate.rule.found(Demand::Nothing, seen(&count), format!("{name}: the link has {count} {what}."))
        }
        Outcome::Absent => {
            let statement = format!("{name}: the link has no {what} now; it had {least}.");
            rate.rule.found(Demand::Watch, seen(&"absent"), statement)
        }
        Outcome::Unreadable(why) => {
            // The inventory is always read.
            let tried = in_inventory || facts.was_tried(subject, rate.key);
            let demand = if tried { if_lost(facts, response) } else { Demand::Watch };
            let statement = format!("{name}: the {what} of the link could not be read: {why}.");
            rate.rule.unknown(demand, seen(&why), statement)
        }
    })
}

/// A rate that stands in the inventory, where a link that is down has none.
fn count_now(facts: &Facts<'_>, golden: &GoldenValue) -> Outcome<u64> {
    match golden_values::in_inventory(&facts.evidence.inventory, &golden.subject, golden.key) {
        Outcome::Value(ReadingValue::Count(count)) => Outcome::Value(count),
        Outcome::Value(_) | Outcome::Absent => Outcome::Absent,
        Outcome::Unreadable(why) => Outcome::Unreadable(why),
    }
}

fn version_of(facts: &Facts<'_>, golden: &GoldenValue, version: &str) -> Option<Ruled> {
    let what = match golden.key {
        ReadingKey::FirmwareVersion => "firmware",
        ReadingKey::BmcVersion => "management controller's firmware",
        _ => return None,
    };
    let response = facts.thresholds().links.version_differs;
    let demand = demanded(response)?;
    let found = golden_values::in_inventory(&facts.evidence.inventory, &golden.subject, golden.key);
    let (subject, name) = (golden.subject.clone(), named(&golden.subject));
    let seen = |observed: &str| Seen::reading(subject.clone(), golden.key, observed, version);
    Some(match found.map(|value| value.to_string()) {
        Outcome::Value(found) if found == version => {
            VERSION.found(Demand::Nothing, seen(&found), format!("{name}: {what} is version {version}."))
        }
        Outcome::Value(found) => VERSION.found(
            demand,
            seen(&found),
            format!("{name}: {what} is version {found}; it was {version}."),
        ),
        // Its part may be gone, which another rule says.
        Outcome::Absent => VERSION.unknown(
            Demand::Watch,
            seen("not seen"),
            format!("{name}: the version of the {what} was not seen; it was {version}."),
        ),
        Outcome::Unreadable(why) => {
            let lost = if_lost(facts, response);
            let of_gpu = matches!(golden.subject, Subject::Gpu(_));
            VERSION.unknown(
                if of_gpu { lost.min(gpus::lost(facts)) } else { lost },
                seen(&why),
                format!("{name}: the version of the {what} could not be read: {why}; it was {version}."),
            )
        }
    })
}

/// The lanes and the speed of a link now; the slowest there is where nobody knows.
pub(super) fn lanes_and_speed(facts: &Facts<'_>, slot: &Subject) -> (u64, u64) {
    const SLOWEST_MEGATRANSFERS: u64 = 2_500;
    let count = |key| facts.count(slot, key).value().copied();
    (
        count(ReadingKey::PcieLinkWidth).unwrap_or(1).clamp(1, 32),
        count(ReadingKey::PcieLinkMegatransfers).unwrap_or(0).clamp(SLOWEST_MEGATRANSFERS, 256_000),
    )
}
