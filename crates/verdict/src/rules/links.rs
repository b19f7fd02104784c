//! F37 to F46: errors of PCIe links, network interfaces and fabric ports since the node was last found right.
//!
//! A slot or port that was counted and is not tried any more is watched: it is known by its place, and the
//! ramdisk has no driver for some. What could not be read is `cautious` where it could have demanded
//! quarantine.

use contract::decision::Axis;
use contract::reading::{ReadingKey, Subject};

use super::counters::{Counter, Untried};
use super::golden::lanes_and_speed;
use super::{Rule, Ruled};
use crate::facts::Facts;
use crate::policy::{Limits, Sections};

const NVSENTINEL: &str = "NVSentinel NIC monitor; policy: links";
const AER: &str = "PCI Express Base Specification, Advanced Error Reporting; policy: links";

const fn link(
    id: &'static str,
    source: &'static str,
    (key, what): (ReadingKey, &'static str),
    limits: fn(&Sections) -> Limits,
) -> Counter {
    let rule = Rule { id, axis: Axis::Fitness, source };
    Counter { rule, key, limits, what, always_there: false, untried: Untried::WatchIfCounted }
}

/// F37: as many errors as the link's rate and the specified bit error rate explain.
const CORRECTABLE: Counter = link(
    "fitness/pcie-correctable",
    "NVIDIA DCGM: bit error rate 1e-12 of the link; policy: links.pcie_bit_errors_per_quadrillion",
    (ReadingKey::PcieCorrectableErrors, "corrected errors of the PCIe link"),
    |_| Limits { per_hours: Some(1), ..Limits::NONE },
);

/// F38 to F46.
const COUNTERS: [Counter; 9] = [
    link(
        "fitness/pcie-nonfatal",
        AER,
        (ReadingKey::PcieNonfatalErrors, "uncorrected errors of the PCIe link that were not fatal"),
        |policy| policy.links.pcie_nonfatal_errors,
    ),
    link(
        "fitness/pcie-fatal",
        AER,
        (ReadingKey::PcieFatalErrors, "fatal errors of the PCIe link"),
        |policy| policy.links.pcie_fatal_errors,
    ),
    link(
        "fitness/nic-link-downs",
        "Azure NHC: five times without carrier in a day; policy: links.nic_link_downs",
        (ReadingKey::NicLinkDowns, "times that the link went down"),
        |policy| policy.links.nic_link_downs,
    ),
    link(
        "fitness/fabric-link-downed",
        NVSENTINEL,
        (ReadingKey::FabricLinkDowned, "times that the link went down"),
        |policy| policy.links.fabric_link_downed,
    ),
    link(
        "fitness/fabric-symbol-errors",
        NVSENTINEL,
        (ReadingKey::FabricSymbolErrors, "symbol errors"),
        |policy| policy.links.fabric_symbol_errors,
    ),
    link(
        "fitness/fabric-link-recoveries",
        NVSENTINEL,
        (ReadingKey::FabricLinkErrorRecoveries, "times that the link had to recover"),
        |policy| policy.links.fabric_link_error_recoveries,
    ),
    link(
        "fitness/fabric-receive-errors",
        NVSENTINEL,
        (ReadingKey::FabricReceiveErrors, "errors in what was received"),
        |policy| policy.links.fabric_receive_errors,
    ),
    link(
        "fitness/fabric-transmit-discards",
        NVSENTINEL,
        (ReadingKey::FabricTransmitDiscards, "packets thrown away before they were sent"),
        |policy| policy.links.fabric_transmit_discards,
    ),
    link(
        "fitness/fabric-integrity",
        NVSENTINEL,
        (ReadingKey::FabricIntegrityErrors, "errors of the link's integrity and overruns of its buffers"),
        |policy| policy.links.fabric_integrity_errors,
    ),
];

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    for slot in facts.subjects(CORRECTABLE.key) {
        let limits = (CORRECTABLE.limits)(facts.thresholds());
        let limits = Limits { watch_above: Some(errors_an_hour(facts, &slot)), ..limits };
        ruled.extend(CORRECTABLE.judge_within(facts, &slot, limits));
    }
    for counter in &COUNTERS {
        for subject in facts.subjects(counter.key) {
            ruled.extend(counter.judge(facts, &subject));
        }
    }
}

/// Lanes × bits a second × seconds × errors a bit, as it is now: a link that fell back to fewer lanes or a
/// lower speed has fewer to make.
fn errors_an_hour(facts: &Facts<'_>, slot: &Subject) -> u64 {
    let (lanes, megatransfers) = lanes_and_speed(facts, slot);
    let rate = facts.thresholds().links.pcie_bit_errors_per_quadrillion;
    let bits_an_hour = u128::from(lanes) * u128::from(megatransfers) * 1_000_000 * 3_600;
    let errors = (bits_an_hour * u128::from(rate)).div_ceil(1_000_000_000_000_000);
    u64::try_from(errors).unwrap_or(u64::MAX)
}
