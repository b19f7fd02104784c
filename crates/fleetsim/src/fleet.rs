//! All nodes of a fleet, on all processors. Nodes do not meet, so the order does not matter, and the sums
//! are made in the order of the nodes: the same seed gives the same figures on any machine.

use crate::life::live;
use crate::parameters::Parameters;
use crate::score::Score;
use crate::strategy::Strategy;

/// Nodes that one thread takes at a time.
const NODES_AT_ONCE: u32 = 64;

/// A fleet's year under one strategy.
///
/// # Errors
/// As [`live`]; also if a thread broke off.
pub fn run(parameters: &Parameters, strategy: &(dyn Strategy + Sync), seed: u64) -> anyhow::Result<Score> {
    let batches: Vec<u32> = (0..parameters.nodes.div_ceil(NODES_AT_ONCE)).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let mut scores: Vec<(u32, Score)> = std::thread::scope(|scope| {
        let worker = || {
            let mut mine = Vec::new();
            while let Some(batch) = batches.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                mine.push((*batch, run_batch(parameters, strategy, seed, *batch)?));
            }
            Ok(mine)
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for thread in running {
            let mine: anyhow::Result<Vec<_>> =
                thread.join().map_err(|_| anyhow::anyhow!("a thread of the simulation broke off"))?;
            all.extend(mine?);
        }
        anyhow::Ok(all)
    })?;
    scores.sort_by_key(|(batch, _)| *batch);
    let mut sum = Score::default();
    scores.iter().for_each(|(_, score)| sum.add(score));
    Ok(sum)
}

fn run_batch(
    parameters: &Parameters,
    strategy: &dyn Strategy,
    seed: u64,
    batch: u32,
) -> anyhow::Result<Score> {
    let from = batch * NODES_AT_ONCE;
    let mut sum = Score::default();
    for number in from..(from + NODES_AT_ONCE).min(parameters.nodes) {
        sum.add(&live(parameters, strategy, seed, number)?);
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::{AlwaysWipe, NeverWipe, Oracle, StaticThresholds};

    fn small() -> Parameters {
        Parameters { nodes: 300, ..Parameters::published() }
    }

    #[test]
    fn the_same_seed_gives_the_same_year() {
        let run = |seed| run(&small(), &StaticThresholds, seed).unwrap();
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn simple_strategies_do_what_their_names_say() {
        let of = |strategy: &(dyn Strategy + Sync)| run(&small(), strategy, 1).unwrap();
        let (always, never, fixed, oracle) =
            (of(&AlwaysWipe), of(&NeverWipe), of(&StaticThresholds), of(&Oracle));
        assert!(always.leaks == 0.0 && fixed.leaks == 0.0 && oracle.leaks == 0.0);
        assert!((never.leaks - never.tenant_changes).abs() < never.tenant_changes * 0.1);
        assert!((always.unneeded_share() - 1.0).abs() < 1e-9);
        assert!(oracle.unneeded_reimages == 0.0 && oracle.false_quarantines == 0.0);
        assert!((always.minutes_per_release() - 30.0).abs() < 1e-9);
        assert!(oracle.interruptions() < fixed.interruptions());
        assert!(oracle.grey_share_caught() > 0.999 && fixed.grey_share_caught() == 0.0);
    }
}
