//! What a look says of parts of which other nodes have the same, and what is usual for such parts.
//!
//! The service keeps the newest value of each node; here is said which values these are, and what the middle of
//! many is. [`crate::rules`] and the forecast compare with it.

use std::collections::BTreeMap;

use contract::assignment::{NodeContext, PeerValue};
use contract::evidence::Evidence;
use contract::gpu_test::GpuTest;
use contract::inventory::Inventory;
use contract::reading::{Outcome, Reading, ReadingKey, ReadingValue, Subject, Tier};

use crate::forecast::parts::name;
use crate::forecast::peers::is_compared;
use crate::policy::Policy;

/// How many hardware models one machine has at most, itself among them; what is more is not compared.
pub const MODELS_MAX: usize = 64;

/// What is the same in several nodes. Names come from devices: they are compared and shown, never believed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HardwareModel {
    /// The machine as a whole: maker, product, processors and memory.
    Machine(String),
    /// A disk or a GPU, by the name that it gives itself.
    Part(String),
}

/// One value of a node that is compared with that of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerMeasure {
    /// Of what.
    pub hardware_model: HardwareModel,
    /// Which reading.
    pub key: ReadingKey,
    /// How deep the look was: rates of different depths are different things. Counters are all of
    /// [`Tier::T2`], because they count alike at any depth.
    pub tier: Tier,
    /// What it says; the middle one where a node has several such parts.
    pub value: u64,
}

/// The middle of many values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Middle {
    /// Half of them are no more than this.
    pub median: u64,
    /// Half of them are no further from the median than this.
    pub median_deviation: u64,
}

/// Whether a reading tells how fast something is, measured while it works.
#[must_use]
pub fn is_rate(key: ReadingKey) -> bool {
    matches!(
        key,
        ReadingKey::ProcessorRounds | ReadingKey::MemoryBandwidthMegabytes | ReadingKey::DiskReadMegabytes
    ) || is_network_rate(key)
        || is_gpu_rate(key)
}

/// Whether a reading tells how fast the network between two nodes is.
#[must_use]
pub fn is_network_rate(key: ReadingKey) -> bool {
    matches!(key, ReadingKey::NetworkSendMegabytes | ReadingKey::NetworkReceiveMegabytes)
}

/// Whether a reading tells how fast a GPU is. Only a burn-in measures that, whichever look saw it.
#[must_use]
pub fn is_gpu_rate(key: ReadingKey) -> bool {
    matches!(key, ReadingKey::GpuAnswers | ReadingKey::GpuMemoryMegabytes)
}

/// Whether a burn-in's rate of the machine as a whole is so far below that of enough other nodes that it is found.
#[must_use]
pub fn is_slower_in_burn_in(context: &NodeContext, policy: &Policy, key: ReadingKey, rate: u64) -> bool {
    let thresholds = &policy.sections().burn_in;
    let of_machine = |peer: &&PeerValue| peer.hardware_model.is_empty() && peer.key == key;
    let mut peers = context.peers.iter().filter(of_machine);
    peers.any(|peer| {
        peer.tier == Tier::T3
            && peer.nodes >= thresholds.peer_nodes_min
            && is_below(rate, peer.median, thresholds.variance_percent)
    })
}

/// More than so many percent below.
pub(crate) fn is_below(rate: u64, median: u64, percent: u64) -> bool {
    u128::from(rate) * 100 < u128::from(median) * u128::from(100_u64.saturating_sub(percent))
}

/// Median and median deviation; none of nothing.
#[must_use]
pub fn middle(values: &[u64]) -> Option<Middle> {
    let median = median(values.to_vec())?;
    let median_deviation = self::median(values.iter().map(|value| value.abs_diff(median)).collect())?;
    Some(Middle { median, median_deviation })
}

/// The lower of the two in the middle where their number is even: never a value that nobody has.
fn median(mut values: Vec<u64>) -> Option<u64> {
    let at = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable(at).1)
}

/// The hardware models of a machine, ordered; the machine as a whole only where its processors are known.
#[must_use]
pub fn models(inventory: &Inventory) -> Vec<HardwareModel> {
    let mut models: Vec<HardwareModel> = parts(inventory).into_values().collect();
    models.sort();
    models.dedup();
    models.truncate(MODELS_MAX);
    models
}

/// The hardware models of GPUs that were tested, ordered. The ramdisk, which says what hardware a node has, has no
/// driver that would name them.
#[must_use]
pub fn models_of_gpus(tests: &[GpuTest]) -> Vec<HardwareModel> {
    let names = tests.iter().map(|test| &test.hardware_model).filter(|name| !name.is_empty());
    let mut models: Vec<HardwareModel> = names.map(|name| HardwareModel::Part(name.clone())).collect();
    models.sort();
    models.dedup();
    models
}

/// The rates of GPUs that were tested, for the comparison with other nodes; ordered by model and key.
#[must_use]
pub fn measures_of_gpus(tests: &[GpuTest]) -> Vec<PeerMeasure> {
    let mut values: BTreeMap<(&str, ReadingKey), Vec<u64>> = BTreeMap::new();
    for test in tests.iter().filter(|test| !test.hardware_model.is_empty()) {
        for (key, rate) in rates(test) {
            let rate = rate.value().copied();
            values.entry((&test.hardware_model, key)).or_default().extend(rate);
        }
    }
    let middle_one = |((model, key), values): ((&str, _), Vec<u64>)| {
        let hardware_model = HardwareModel::Part(model.to_owned());
        Some(PeerMeasure { hardware_model, key, tier: Tier::T3, value: median(values)? })
    };
    values.into_iter().filter_map(middle_one).collect()
}

/// How fast a GPU was.
pub(crate) fn rates(test: &GpuTest) -> [(ReadingKey, &Outcome<u64>); 2] {
    [(ReadingKey::GpuAnswers, &test.answers), (ReadingKey::GpuMemoryMegabytes, &test.memory_megabytes)]
}

/// What of a look is compared with other nodes, ordered by model and key; but for GPUs
/// ([`measures_of_gpus`]).
#[must_use]
pub fn measures(evidence: &Evidence) -> Vec<PeerMeasure> {
    let (parts, models) = (parts(&evidence.inventory), models(&evidence.inventory));
    let mut values: BTreeMap<(&HardwareModel, ReadingKey, Tier), Vec<u64>> = BTreeMap::new();
    for reading in evidence.readings.iter().filter(|reading| reading.boot_id == evidence.boot_id) {
        let Some(model) = parts.get(&reading.subject).filter(|model| models.contains(model)) else {
            continue;
        };
        let Some(value) = compared(reading) else { continue };
        let tier = if is_rate(reading.key) { evidence.tier } else { Tier::T2 };
        values.entry((model, reading.key, tier)).or_default().push(value);
    }
    let middle_one = |((model, key, tier), values): ((&HardwareModel, _, _), Vec<u64>)| {
        Some(PeerMeasure { hardware_model: model.clone(), key, tier, value: median(values)? })
    };
    values.into_iter().filter_map(middle_one).collect()
}

fn compared(reading: &Reading) -> Option<u64> {
    match reading.outcome.value()? {
        ReadingValue::Count(value) if is_compared(reading.key) && !is_gpu_rate(reading.key) => Some(*value),
        _ => None,
    }
}

/// What each part of a machine is, as far as it says so. What can be taken out belongs to no machine.
fn parts(inventory: &Inventory) -> BTreeMap<Subject, HardwareModel> {
    let mut parts = BTreeMap::new();
    if let Some(model) = machine(inventory) {
        parts.insert(Subject::Node, HardwareModel::Machine(model));
    }
    let disks = inventory.disks.value().map_or(&[][..], Vec::as_slice);
    let disks = disks.iter().filter(|disk| !disk.removable);
    let named = disks.map(|disk| (Subject::Disk(disk.id.clone()), name(&disk.model)));
    let gpus = inventory.gpus.value().map_or(&[][..], Vec::as_slice);
    let named = named.chain(gpus.iter().map(|gpu| (Subject::Gpu(gpu.id.clone()), name(&gpu.model))));
    let named = named.filter(|(_, name)| !name.is_empty());
    parts.extend(named.map(|(subject, name)| (subject, HardwareModel::Part(name.to_owned()))));
    parts
}

/// Machines that are sold under one name come with one or two processors and with more or less memory, and are
/// not equally fast; so these belong to the name.
fn machine(inventory: &Inventory) -> Option<String> {
    let processor = name(&inventory.cpu_model);
    let count = inventory.cpu_count.value()?;
    if processor.is_empty() {
        return None;
    }
    let modules = match &inventory.memory_modules {
        Outcome::Value(modules) => {
            let bytes = modules.iter().fold(0_u64, |sum, module| sum.saturating_add(module.size_bytes));
            format!("{} modules, {} MiB", modules.len(), bytes >> 20)
        }
        Outcome::Absent | Outcome::Unreadable(_) => "unknown memory".to_owned(),
    };
    let [vendor, product] = [&inventory.vendor, &inventory.product].map(name);
    Some(format!("{vendor} / {product} / {processor} x {count} / {modules}"))
}

#[cfg(test)]
mod tests;
