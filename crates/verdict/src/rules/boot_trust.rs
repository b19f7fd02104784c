//! I9 to I11: whether the way from power-on into the kernel is proven.
//!
//! The service checks the quote and says in the context what it found; a register that is not as recorded is a
//! sign of compromise (H3), which no policy makes mild: the node is taken out as it is, for a person to look
//! at. A way that nobody asked to prove, or that could not be proven, and Secure Boot count as the policy
//! says, "ignore" as shipped: most fleets record no registers.
//!
//! The kernel command line is part of what the image starts and is compared with no other of its time; it is
//! shown, and judged by registers where they are recorded.

use contract::assignment::BootTrust;
use contract::decision::Axis;
use contract::reading::{Outcome, ReadingKey, Subject};

use super::flags::{demanded, if_lost};
use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;

/// I9: no register that is not as recorded.
const MISMATCH: Rule = Rule {
    id: "integrity/boot-registers",
    axis: Axis::Integrity,
    source: "decision model 6.2 H3: a register or quote that does not match is a sign of compromise",
};
/// I10: a proof, if the policy wants one.
const UNPROVEN: Rule =
    Rule { id: "integrity/boot-unproven", axis: Axis::Integrity, source: "policy: boot_trust.unproven" };
/// I11: Secure Boot, if the policy wants it.
const SECURE_BOOT: Rule = Rule {
    id: "integrity/secure-boot",
    axis: Axis::Integrity,
    source: "UEFI variables SecureBoot and SetupMode; policy: boot_trust.secure_boot_off",
};

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    ruled.extend(proof(facts));
    ruled.extend(secure_boot(facts));
}

fn proof(facts: &Facts<'_>) -> Option<Ruled> {
    let seen = |observed: &str| Seen::fact(Subject::Node, observed, "every register as recorded");
    let response = facts.thresholds().boot_trust.unproven;
    let unproven = |why: &str| {
        demanded(response)?;
        let statement = format!("How this boot came about is not proven: {why}.");
        Some(UNPROVEN.unknown(if_lost(facts, response), seen("unproven"), statement))
    };
    match &facts.context.boot_trust {
        Some(BootTrust::Verified) => Some(MISMATCH.found(
            Demand::Nothing,
            seen("verified"),
            "The service checked a quote of this boot, and every register is as recorded.",
        )),
        Some(BootTrust::Mismatch { registers }) => {
            let some: Vec<&str> = registers.iter().take(5).map(String::as_str).collect();
            let statement = format!(
                "{} registers of this boot are not as recorded: {}. Nothing is written, so that a person can look.",
                registers.len(),
                some.join(", ")
            );
            Some(MISMATCH.found(Demand::Quarantine, seen("not as recorded"), statement))
        }
        Some(BootTrust::Unproven { why }) => unproven(why),
        None => unproven("nobody asked for a quote"),
    }
}

fn secure_boot(facts: &Facts<'_>) -> Option<Ruled> {
    let key = ReadingKey::SecureBootOff;
    let response = facts.thresholds().boot_trust.secure_boot_off;
    let demand = demanded(response)?;
    let seen = |observed: &str| Seen::reading(Subject::Node, key, observed, "Secure Boot enforced");
    Some(match facts.flag(&Subject::Node, key) {
        Outcome::Value(false) => SECURE_BOOT.found(Demand::Nothing, seen("on"), "Secure Boot is enforced."),
        Outcome::Value(true) => SECURE_BOOT.found(demand, seen("off"), "Secure Boot is not enforced."),
        Outcome::Absent => {
            SECURE_BOOT.found(demand, seen("the firmware has none"), "The firmware has no Secure Boot.")
        }
        Outcome::Unreadable(why) => SECURE_BOOT.unknown(
            if_lost(facts, response),
            seen(&why),
            format!("Whether Secure Boot is enforced could not be read: {why}."),
        ),
    })
}
