//! Faults of a machine that is looked at from the ramdisk, all at once: each is told apart by its rule.

use anyhow::{Context, Result, ensure};
use contract::decision::{Action, Fitness, Integrity};
use contract::evidence::Evidence;
use contract::operator_api::{JobState, NodeState};
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject as Of, Trust};
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::direct_boot::{DirectBoot, Told};
use reprieve_tests::guest::archive::{Addition, KERNEL_ARGUMENT, write_ramdisk};
use reprieve_tests::machine::Fittings;
use reprieve_tests::operator::describe;
use reprieve_tests::scenario::stage::{expect_action, follow_ramdisk};

use super::expected::{Expected, UNTOUCHED};
use super::{DATA_BYTES, Subject};

/// What brings the network card and the kernel's own injector of machine checks.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "mce_inject"];
/// Samples that the ramdisk reads of each disk, evenly over it, and how long one is.
const SAMPLES: u64 = 256;
const SAMPLE_BYTES: u64 = 4096;
/// Three quarters of what the node was approved with.
const LESS_MEMORY_MIB: u32 = 768;
/// Before this service was made, and after the kernel was.
const LONG_AGO: &str = "2024-01-01T00:00:00";

const OUT_OF_ORDER: Expected = Expected {
    action: Action::Quarantine,
    integrity: Integrity::Reimage,
    fitness: Fitness::Quarantine,
    first: "integrity/ramdisk-command-line",
    rules: &[
        "fitness/disk-read-errors",
        "fitness/expected-disk",
        "fitness/expected-memory",
        "fitness/expected-nic",
        // What the missing disk and card had, and nobody sees now.
        "fitness/firmware-version",
        "fitness/kernel-hardware-errors",
        "fitness/kernel-storage-errors",
        "fitness/memory-poisoned",
        "fitness/nic-link-downs",
        "fitness/nic-speed",
        // Five of the verdicts on the running system were to put something right.
        "fitness/repeated-remediation",
        "integrity/file-system-errors",
        "integrity/ramdisk-command-line",
        "policy/rule-mitigations-off",
    ],
    words: &["unrecoverable error", "added rdinit=/laboratory/init, mitigations=off"],
    ..UNTOUCHED
};

/// The machine lacks a disk, a network card and memory; a disk has a sector that cannot be read; the network
/// is slower; the processor reports a machine check and the kernel takes a page of memory out of use; its
/// clock is years behind; and its kernel is started with arguments that the boot script did not give, one of which the
/// operator does not want.
pub fn out_of_order(subject: &mut Subject<'_, '_>, artefacts: &Artefacts) -> Result<()> {
    let site = subject.site;
    let ramdisk = site.lab.folder().join("faults.cpio");
    let addition = Addition { init: "fault-attach", programs: &[], modules: &MODULES, files: &[] };
    write_ramdisk(&ramdisk, &artefacts.ramdisk, &addition)?;
    let artefacts = Artefacts { ramdisk, ..artefacts.clone() };
    let boot = DirectBoot::new(site.lab, &artefacts, &site.service);

    subject.machine.cut_power();
    let mut disks = subject.machine.disks().to_vec();
    disks.truncate(2);
    let data = disks.pop().context("the machine has one disk only")?;
    disks.push(data.unreadable(sampled_offset()));
    subject.machine.set_disks(disks);
    subject.machine.set_memory(LESS_MEMORY_MIB);
    subject.machine.fit(Fittings {
        card_megabits: Some(1_000),
        clock: Some(LONG_AGO.to_owned()),
        ..Fittings::default()
    });

    let job = site.operator.reimage(&subject.reference, &["--from-ramdisk"])?;
    let told = boot.power_on_with(&mut subject.machine, |arguments| {
        format!("{arguments} {KERNEL_ARGUMENT} mitigations=off")
    })?;
    ensure!(told == Told::Ramdisk, "the ramdisk is not handed out: {told:?}");
    let node = subject.reference.parse()?;
    let outcome = follow_ramdisk(site, &mut subject.machine, node, job, "out of order")?;
    expect_action(&outcome, Action::Quarantine)?;
    let held = matches!(outcome.job.state, JobState::Held { .. });
    ensure!(held, "the job is {}", describe(&outcome.job));
    let written = (outcome.counters.written_bytes, outcome.counters.dataless_writes);
    ensure!(written == (0, 0), "something was written: {:?}", outcome.counters);
    ensure!(site.operator.node(&subject.reference)?.state == NodeState::Held, "the node is not held");

    let view = site.operator.decision(&subject.reference)?;
    OUT_OF_ORDER.check("out of order", &view, &site.operator.explanation(&subject.reference)?)?;
    ensure!(view.evidence.trust == Trust::Ramdisk, "{:?}", view.evidence.trust);
    expect_lines(&view.evidence)
}

/// In the middle of the data disk, where a sample lies.
fn sampled_offset() -> u64 {
    let last = DATA_BYTES / SAMPLE_BYTES - 1;
    last * (SAMPLES / 2) / (SAMPLES - 1) * SAMPLE_BYTES
}

/// Machine check and lost page are told by one rule; both must be in its reading.
fn expect_lines(evidence: &Evidence) -> Result<()> {
    let lines = match evidence.outcome(&Of::Node, ReadingKey::KernelHardwareErrors) {
        Outcome::Value(ReadingValue::List { items, .. }) => items.join("\n"),
        other => format!("{other:?}"),
    };
    for words in ["Machine Check: 0 Bank 4", "Memory failure: "] {
        ensure!(lines.contains(words), "the kernel's log lacks {words:?}:\n{lines}");
    }
    Ok(())
}
