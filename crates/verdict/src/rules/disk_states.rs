//! F15 to F18: what disks say of themselves besides their counters.
//!
//! A self-test that was never run and a disk that predicts nothing are fine; an older agent does not ask. The
//! sanitize and security state come with the inventory: where they could not be read, the reads of the disk
//! say whether it answers.

use contract::decision::Axis;
use contract::inventory::{DiskFacts, SanitizeState};
use contract::reading::{Outcome, ReadingKey, Subject};

use super::disk_counters::{erase_begun_here, excuse_silence};
use super::fitness::cautious;
use super::flags::{Flag, demanded};
use super::{Demand, Rule, Ruled, Seen};
use crate::facts::Facts;

/// F15 and F16.
const FLAGS: [Flag; 2] = [
    Flag {
        rule: Rule {
            id: "fitness/disk-self-test",
            axis: Axis::Fitness,
            source: "NVM Express log page 06h, ATA self-test log, SCSI log page 10h",
        },
        key: ReadingKey::DiskSelfTestFailed,
        response: |policy| policy.disks.self_test_failed,
        good: "passed its newest self-test",
        bad: "failed its newest self-test",
    },
    Flag {
        rule: Rule {
            id: "fitness/scsi-failure-predicted",
            axis: Axis::Fitness,
            source: "SCSI additional sense code 5Dh: failure prediction threshold exceeded",
        },
        key: ReadingKey::ScsiFailurePredicted,
        response: |policy| policy.disks.failure_predicted,
        good: "predicts no failure",
        bad: "predicts its failure",
    },
];
/// F17: no sanitize that failed or that nobody here began.
const SANITIZE: Rule = Rule {
    id: "fitness/disk-sanitize",
    axis: Axis::Fitness,
    source: "NVM Express Base Specification, Sanitize Status log: a disk that is being sanitized, or failed to be, answers no reads",
};
/// F18: no password of ATA security that keeps others out.
const SECURITY: Rule = Rule {
    id: "fitness/ata-security",
    axis: Axis::Fitness,
    source: "ACS, IDENTIFY DEVICE word 128; policy: disks.security_enabled",
};

pub(super) fn judge(facts: &Facts<'_>, disk: &DiskFacts, ruled: &mut Vec<Ruled>) {
    let subject = Subject::Disk(disk.id.clone());
    let before = ruled.len();
    ruled.extend(FLAGS.iter().filter_map(|flag| flag.judge(facts, &subject)));
    excuse_silence(facts, disk, &mut ruled[before..]);
    ruled.extend(sanitize(facts, disk, &subject));
    ruled.extend(security(facts, disk, &subject));
}

/// F17. What the reads show goes before: a disk that answers them is only watched.
fn sanitize(facts: &Facts<'_>, disk: &DiskFacts, subject: &Subject) -> Option<Ruled> {
    let id = &disk.id;
    let (observed, statement) = match disk.sanitize.value()?.state {
        SanitizeState::Never | SanitizeState::Done { .. } => return None,
        SanitizeState::Running { progress_65536 } => {
            let percent = u32::from(progress_65536) * 100 / 65_536;
            ("running", format!("A sanitize of disk {id} is under way, {percent} % done."))
        }
        SanitizeState::Failed => ("failed", format!("The last sanitize of disk {id} failed.")),
    };
    let answers = facts.count(subject, ReadingKey::DiskReadErrors) == Outcome::Value(0);
    let demand = if answers || erase_begun_here(facts, disk) { Demand::Watch } else { cautious(facts) };
    let seen = Seen::fact(subject.clone(), observed, "none, or one that ended well");
    Some(SANITIZE.found(demand, seen, statement))
}

/// F18. A locked disk gives nothing to read, so nothing is known of it; an erase of ours that was cut off may
/// have left the password, and takes it away again.
fn security(facts: &Facts<'_>, disk: &DiskFacts, subject: &Subject) -> Option<Ruled> {
    let ata = disk.ata.value()?;
    let id = &disk.id;
    let seen = |observed| Seen::fact(subject.clone(), observed, "no password set");
    if ata.security_locked {
        let demand = if erase_begun_here(facts, disk) { Demand::Watch } else { cautious(facts) };
        let statement = format!("Disk {id} is locked with a password, so nothing of it can be read.");
        return Some(SECURITY.unknown(demand, seen("locked"), statement));
    }
    let demand = demanded(facts.thresholds().disks.security_enabled)?;
    let ours = erase_begun_here(facts, disk);
    ata.security_enabled.then(|| {
        SECURITY.found(
            if ours { Demand::Watch } else { demand },
            seen("password set"),
            format!("Disk {id} has a password set and locks itself at the next power cycle."),
        )
    })
}
