//! F60 and F61: how fast the parts are beside those of the same hardware in other nodes, and whether the
//! burn-in that was asked for was done. Called by `fitness`; a slow machine is found here even when nothing
//! reports an error.
//!
//! Rates are compared only with rates of looks that were as deep. Half a second's rate is watched, a burn-in's
//! may take the node out (policy: burn_in). Without peers nothing is found. A rate that peers have and that was
//! lost is as bad as a slow one; only a disk may say that it has too little on it to be timed, and the network that
//! nobody was there to test it with.

use contract::assignment::PeerValue;
use contract::decision::{Axis, Severity};
use contract::gpu_test::GpuTest;
use contract::reading::{Outcome, ReadingKey, Subject, Tier};

use super::counters::named;
use super::flags::{demanded, if_lost};
use super::network::Partners;
use super::{Demand, Rule, Ruled, Seen, gpu_test};
use crate::facts::Facts;
use crate::forecast::parts::name;
use crate::peers::{is_below, is_network_rate, is_rate, rates};
use crate::policy::Response;

/// F60: no part is slower than those of its model are elsewhere.
const SLOWER: Rule = Rule {
    id: "fitness/slower-than-peers",
    axis: Axis::Fitness,
    source: "the same hardware in other nodes; Anubis/SuperBench (ATC 2024); policy: burn_in",
};
/// F61: the burn-in that was asked for was done.
const BURN_IN: Rule =
    Rule { id: "fitness/burn-in", axis: Axis::Fitness, source: "the request; design: tier T3" };

pub(super) fn judge(facts: &Facts<'_>, ruled: &mut Vec<Ruled>) {
    ruled.extend(asked_for(facts));
    let policy = &facts.thresholds().burn_in;
    for test in gpu_test::of(facts) {
        ruled.extend(gpu(facts, &test));
    }
    let response = match facts.evidence.tier {
        Tier::T0 | Tier::T1 => return,
        Tier::T2 => policy.slower_in_quick_look,
        Tier::T3 => policy.slower,
    };
    let Some(demand) = demanded(response) else { return };
    for (subject, hardware_model) in parts(facts) {
        let of_part = |peer: &&PeerValue| peer.hardware_model == hardware_model && is_rate(peer.key);
        let of_depth = |peer: &&PeerValue| peer.tier == facts.evidence.tier;
        let enough = |peer: &&PeerValue| peer.nodes >= policy.peer_nodes_min;
        let peers = facts.context.peers.iter().filter(of_part).filter(of_depth);
        let peers: Vec<&PeerValue> = peers.filter(enough).collect();
        ruled.extend(peers.iter().filter_map(|peer| {
            if is_network_rate(peer.key) {
                return network(facts, peer);
            }
            let outcome = facts.count(&subject, peer.key);
            Some(beside(facts, &subject, peer, outcome, (response, demand)))
        }));
        if facts.evidence.tier == Tier::T3 {
            ruled.extend(alone(facts, &subject, &peers));
        }
    }
}

fn asked_for(facts: &Facts<'_>) -> Option<Ruled> {
    let minutes = facts.context.burn_in_minutes?;
    let seen = |observed: &str| Seen::fact(Subject::Node, observed, "a burn-in in the ramdisk (T3)");
    let done = facts.in_ramdisk() && facts.evidence.tier == Tier::T3;
    Some(if done {
        BURN_IN.found(Demand::Nothing, seen("done"), format!("The node was burned in for {minutes} min."))
    } else {
        let statement = "The burn-in that was asked for was not done; this agent may be too old for it.";
        BURN_IN.unknown(Demand::LookDeeper, seen("not done"), statement)
    })
}

/// The machine and those of its parts that have a name.
fn parts<'a>(facts: &Facts<'a>) -> Vec<(Subject, &'a str)> {
    let disks = facts.disks().unwrap_or_default().iter().filter(|disk| !disk.removable);
    let disks = disks.map(|disk| (Subject::Disk(disk.id.clone()), name(&disk.model)));
    let named = disks.filter(|(_, name)| !name.is_empty());
    std::iter::once((Subject::Node, "")).chain(named).collect()
}

/// One rate beside that of its peers.
fn beside(
    facts: &Facts<'_>,
    subject: &Subject,
    peer: &PeerValue,
    outcome: Outcome<u64>,
    (response, demand): (Response, Demand),
) -> Ruled {
    let policy = &facts.thresholds().burn_in;
    let percent = policy.variance_percent;
    let threshold = format!("at most {percent} % below {}, the median of {} nodes", peer.median, peer.nodes);
    let seen =
        |observed: &dyn ToString| Seen::reading(subject.clone(), peer.key, observed.to_string(), &threshold);
    let (part, what) = (named(subject), what(peer.key));
    match outcome {
        Outcome::Value(rate) if !is_below(rate, peer.median, percent) => {
            SLOWER.found(Demand::Nothing, seen(&rate), format!("{part}: {rate} {what}, as its like."))
        }
        Outcome::Value(rate) => {
            let far = u128::from(peer.median.abs_diff(rate))
                >= u128::from(policy.median_deviations_min) * u128::from(peer.median_deviation);
            let less = less_percent(rate, peer.median);
            let statement = format!(
                "{part}: {rate} {what}, {less} % less than the {} that {} nodes of the same hardware have{}.",
                peer.median,
                peer.nodes,
                if far { "" } else { "; but these differ among each other nearly as much" }
            );
            SLOWER.found(if far { demand } else { Demand::Watch }, seen(&rate), statement)
        }
        Outcome::Absent if peer.key == ReadingKey::DiskReadMegabytes => {
            let statement = format!("{part} has too little on it to tell how fast it is read.");
            SLOWER.found(Demand::Nothing, seen(&"too little to read"), statement)
        }
        lost => {
            let why =
                if let Outcome::Unreadable(why) = lost { why } else { "it was not measured".to_owned() };
            let statement = format!("{part}: {what} could not be compared with its like: {why}.");
            SLOWER.unknown(if_lost(facts, response), seen(&why), statement)
        }
    }
}

/// The network beside that of its peers. Slow is what lies between two nodes, so what follows depends on how many
/// partners there were.
fn network(facts: &Facts<'_>, peer: &PeerValue) -> Option<Ruled> {
    let partners = Partners::of(facts);
    let outcome = facts.count(&Subject::Node, peer.key);
    if partners == Partners::Nobody && outcome == Outcome::Absent {
        // What was not tested is said by F63.
        return None;
    }
    let response = partners.response(facts);
    let mut found = beside(facts, &Subject::Node, peer, outcome, (response, demanded(response)?));
    if found.finding.severity != Severity::Good {
        found.finding.statement = partners.said_of(&found.finding.statement);
    }
    Some(found)
}

/// Rates of a burn-in that nobody can be compared with are told, and found neither good nor bad.
fn alone(facts: &Facts<'_>, subject: &Subject, peers: &[&PeerValue]) -> Vec<Ruled> {
    let readings = facts.evidence.readings.iter();
    let rates = readings.filter(|reading| reading.subject == *subject && is_rate(reading.key));
    let alone = rates.filter(|reading| !peers.iter().any(|peer| peer.key == reading.key));
    let told = alone.filter_map(|reading| {
        let Outcome::Value(rate) = facts.count(subject, reading.key) else { return None };
        Some(without_peers(facts, subject, reading.key, rate))
    });
    told.collect()
}

fn without_peers(facts: &Facts<'_>, subject: &Subject, key: ReadingKey, rate: u64) -> Ruled {
    let nodes_min = facts.thresholds().burn_in.peer_nodes_min;
    let threshold = format!("the median of at least {nodes_min} nodes; there are fewer");
    let seen = Seen::reading(subject.clone(), key, rate, threshold);
    let (part, what) = (named(subject), what(key));
    let statement = format!("{part}: {rate} {what}; too few nodes have the same hardware to compare with.");
    SLOWER.found(Demand::Nothing, seen, statement)
}

/// The rates of a GPU that was worked for a burn-in, whichever look saw it. One that was lost is not tested, which
/// F71 says.
fn gpu(facts: &Facts<'_>, test: &GpuTest) -> Vec<Ruled> {
    let policy = &facts.thresholds().burn_in;
    let Some(demand) = demanded(policy.slower) else { return Vec::new() };
    let subject = Subject::Gpu(test.gpu.clone());
    let measured = rates(test).into_iter().filter_map(|(key, rate)| Some((key, *rate.value()?)));
    let compared = measured.map(|(key, rate)| {
        let alike = |peer: &&PeerValue| {
            peer.key == key && peer.tier == Tier::T3 && peer.hardware_model == test.hardware_model
        };
        let named = !test.hardware_model.is_empty();
        let peer = facts.context.peers.iter().filter(|_| named).find(alike);
        match peer.filter(|peer| peer.nodes >= policy.peer_nodes_min) {
            Some(peer) => beside(facts, &subject, peer, Outcome::Value(rate), (policy.slower, demand)),
            None => without_peers(facts, &subject, key, rate),
        }
    });
    compared.collect()
}

fn less_percent(rate: u64, median: u64) -> u128 {
    u128::from(median.saturating_sub(rate)) * 100 / u128::from(median.max(1))
}

fn what(key: ReadingKey) -> &'static str {
    match key {
        ReadingKey::ProcessorRounds => "rounds of known answers a second",
        ReadingKey::MemoryBandwidthMegabytes => "MB of memory copied a second",
        ReadingKey::NetworkSendMegabytes => "MB sent to another node a second",
        ReadingKey::NetworkReceiveMegabytes => "MB received from another node a second",
        ReadingKey::GpuAnswers => "known answers a second",
        ReadingKey::GpuMemoryMegabytes => "MB of its memory written and read a second",
        _ => "MB read a second in sequence",
    }
}
