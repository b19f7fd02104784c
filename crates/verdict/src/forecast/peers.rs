//! Parts that are unlike those of the same model in other machines.
//!
//! Robust z: `0.6745 × (value − median) / MAD` (Iglewicz and Hoaglin). A median deviation of nothing counts as
//! one, or a single error among machines without any would be infinitely far away.

use contract::assignment::PeerValue;
use contract::outlook::ComponentKind;
use contract::reading::{Counting, Outcome, ReadingKey};

use super::parts::Part;
use crate::facts::Facts;
use crate::model::ForecastModel;
use crate::peers::is_network_rate;

/// Which way a number is bad.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bad {
    More,
    Less,
}

fn bad_way(key: ReadingKey) -> Option<Bad> {
    match key {
        ReadingKey::MemoryBandwidthMegabytes
        | ReadingKey::ProcessorRounds
        | ReadingKey::DiskReadMegabytes
        | ReadingKey::NetworkSendMegabytes
        | ReadingKey::NetworkReceiveMegabytes
        | ReadingKey::GpuAnswers
        | ReadingKey::GpuMemoryMegabytes => Some(Bad::Less),
        // How old a part is, and how much it was used, is no sign by itself.
        ReadingKey::DiskPowerOnHours | ReadingKey::DiskBytesWritten => None,
        ReadingKey::TemperatureMillicelsius | ReadingKey::AtaPendingSectors => Some(Bad::More),
        key => (key.counting() != Counting::Present).then_some(Bad::More),
    }
}

/// Whether a number says something beside those of other machines.
pub(crate) fn is_compared(key: ReadingKey) -> bool {
    bad_way(key).is_some()
}

/// What is unlike its peers, in words, and the factor for it; none if nothing is.
pub(super) fn unlike(facts: &Facts<'_>, part: &Part<'_>, model: &ForecastModel) -> Option<(String, u64)> {
    let peers = facts.context.peers.iter().filter(|peer| is_of(peer, part));
    // A rate of half a second is no rate of a burn-in; a counter is one at any depth.
    let alike = |peer: &&PeerValue| bad_way(peer.key) != Some(Bad::Less) || peer.tier == facts.evidence.tier;
    let enough = peers.filter(|peer| peer.nodes >= model.peer_nodes_min).filter(alike);
    let far = enough.filter_map(|peer| {
        let Outcome::Value(value) = facts.count(&part.subject, peer.key) else { return None };
        let z = z_thousandths(bad_way(peer.key)?, value, peer);
        (z > u128::from(model.peer_z_thousandths_above)).then_some((z, value, peer))
    });
    let (z, value, peer) = far.max_by_key(|(z, _, peer)| (*z, peer.key))?;
    let words = format!(
        "{} is {value}, where {} machines have {} (robust z {}.{})",
        peer.key,
        peer.nodes,
        peer.median,
        z / 1000,
        z % 1000 / 100
    );
    Some((words, model.peer_factor_thousandths))
}

/// Whether these peers are those of this part. The context holds peers of this node's models only; what is
/// said of the machine as a whole belongs to its memory or else to its processors.
fn is_of(peer: &PeerValue, part: &Part<'_>) -> bool {
    let of_memory = matches!(
        peer.key,
        ReadingKey::MemoryBandwidthMegabytes
            | ReadingKey::MemoryCorrectedErrors
            | ReadingKey::MemoryUncorrectedErrors
    );
    let of_processor = matches!(peer.key, ReadingKey::ProcessorRounds | ReadingKey::ProcessorThrottles);
    match part.kind {
        ComponentKind::Memory => of_memory,
        ComponentKind::Processor => of_processor,
        // No part of those that a forecast is made for is a network card.
        _ if is_network_rate(peer.key) => false,
        _ => !of_memory && !of_processor && peer.hardware_model == part.hardware_model,
    }
}

fn z_thousandths(bad: Bad, value: u64, peer: &PeerValue) -> u128 {
    let distance = match bad {
        Bad::More => value.saturating_sub(peer.median),
        Bad::Less => peer.median.saturating_sub(value),
    };
    u128::from(distance) * 6745 / 10 / u128::from(peer.median_deviation.max(1))
}
