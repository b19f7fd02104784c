//! I9 to I11, I13, I14 and I17: whether the way from power-on into the kernel is proven, and by whose key.
//!
//! The service checks the quote and says in the context what it found; a register that is not as recorded is a
//! sign of compromise (H3), which no policy makes mild: the node is taken out as it is, for a person to look
//! at. A way that is recorded and is not shown any more counts as the policy says, "quarantine" as shipped, so that
//! to show nothing is never milder than to show what was changed. A way that nobody asked to prove, or that could not
//! be proven, and Secure Boot are "ignore" as shipped: most fleets record no registers.
//!
//! A running system that was started from something else than before, under the same image and firmware, is a change
//! (I17), "watch" as shipped: loaders on the way, revocation lists and kernels change it too. To show nothing is no
//! milder than that: a lost proof of a running system demands a deeper look.
//!
//! Less is known of the key than the policy wants: then nothing is proven by it. The service says so already; the
//! rule says it again, so that another policy can be tried on old evidence. A certificate of the TPM that no
//! configured maker stands for is a finding of its own.
//!
//! What kernels are started with is judged by `command_line`, and by registers where they are recorded.

use contract::assignment::BootTrust;
use contract::boot_key::KnownBy;
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
/// I13: the proof that was recorded is still there.
const LOST: Rule = Rule {
    id: "integrity/boot-proof-lost",
    axis: Axis::Integrity,
    source: "decision model 6.2 H3: who cannot show a register any more shows none that matches; policy: boot_trust.lost",
};
/// I11: Secure Boot, if the policy wants it.
const SECURE_BOOT: Rule = Rule {
    id: "integrity/secure-boot",
    axis: Axis::Integrity,
    source: "UEFI variables SecureBoot and SetupMode; policy: boot_trust.secure_boot_off",
};

/// I17: the running system was started as before.
const CHANGED: Rule = Rule {
    id: "integrity/system-boot",
    axis: Axis::Integrity,
    source: "decision model 6.2 H3, of what is changed on purpose too; policy: boot_trust.system_changed",
};

/// I14: no certificate of the TPM that is not believed.
const CERTIFICATE: Rule = Rule {
    id: "integrity/boot-key",
    axis: Axis::Integrity,
    source: "TCG EK Credential Profile; policy: boot_trust.certificate_refused",
};

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    ruled.extend(proof(facts));
    ruled.extend(certificate(facts));
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
    let key = facts.context.boot_key.as_ref();
    let known_by = key.map_or(KnownBy::FirstUse, |key| key.known_by);
    match &facts.context.boot_trust {
        Some(BootTrust::Verified) if known_by < facts.thresholds().boot_trust.key_known_by => {
            let why = key.map_or("nobody asked for its endorsement key", |key| key.why.as_str());
            unproven(&format!("too little is known of the key that signed: {why}"))
        }
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
        Some(BootTrust::Changed { what }) => changed(facts, what),
        Some(BootTrust::Lost { why }) => lost(facts, why),
        Some(BootTrust::Unproven { why }) => unproven(why),
        None => unproven("nobody asked for a quote"),
    }
}

fn certificate(facts: &Facts<'_>) -> Option<Ruled> {
    let demand = demanded(facts.thresholds().boot_trust.certificate_refused)?;
    let why = facts.context.boot_key.as_ref()?.refused_certificate.as_ref()?;
    let seen = Seen::fact(Subject::Node, "refused", "a certificate of a configured maker");
    Some(CERTIFICATE.found(demand, seen, format!("The TPM's certificate is not believed: {why}.")))
}

/// I17. Never less than an unproven boot. Whether the image is what it should be says the ramdisk.
fn changed(facts: &Facts<'_>, what: &[String]) -> Option<Ruled> {
    let policy = &facts.thresholds().boot_trust;
    let demand = demanded(policy.system_changed).max(demanded(policy.unproven))?;
    let in_place = demand != Demand::Quarantine || facts.in_ramdisk();
    let some: Vec<&str> = what.iter().take(5).map(String::as_str).collect();
    let statement = format!(
        "The running system was started from something else than when it was recorded for this image: {}.",
        some.join(", ")
    );
    let seen = Seen::fact(Subject::Node, "changed", "as recorded for this image");
    Some(CHANGED.found(if in_place { demand } else { Demand::LookDeeper }, seen, statement))
}

/// I13. A running system goes into the ramdisk first.
fn lost(facts: &Facts<'_>, why: &str) -> Option<Ruled> {
    let policy = &facts.thresholds().boot_trust;
    let demand = demanded(policy.lost).max(demanded(policy.unproven))?;
    let in_place = demand != Demand::Quarantine || facts.in_ramdisk();
    let seen = Seen::fact(Subject::Node, "not proven any more", "a proof, as recorded");
    let statement = format!("How this node boots is recorded, and this boot is not proven: {why}.");
    Some(LOST.unknown(if in_place { demand } else { Demand::LookDeeper }, seen, statement))
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
