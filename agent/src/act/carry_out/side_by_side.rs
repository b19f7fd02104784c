//! Disks that are erased side by side.
//!
//! Each has its own thread, its own time budget and its own proof. They begin in the order of the
//! plan, each only after the service has recorded that it begins. One that fails stops no other: what a
//! device has begun cannot be called back, and its end has to be seen.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use verdict::permit::StepPermit;

use super::{Outcome, Proven, World, all_ended};
use crate::act::begun::Begun;
use crate::act::erase::{Erase, erase, proof};
use crate::act::meter::Meter;

/// Erases all these disks; outcomes in the order of the plan. Once the service does not record that one
/// begins, none after it begins.
pub(super) async fn erase_side_by_side(
    permits: Vec<(StepPermit, Arc<Meter>)>,
    world: &World,
) -> Vec<Outcome> {
    let mut under_way = Vec::new();
    let mut refused = None;
    for (permit, meter) in permits {
        let (step, begun_at) = (permit.index(), Instant::now());
        match Begun::record(permit, &*world.service).await {
            Ok(begun) => {
                let with = Erase {
                    disks: Arc::clone(&world.disks),
                    meter: Arc::clone(&meter),
                    clock: Arc::clone(&world.clock),
                };
                let task = tokio::task::spawn_blocking(move || {
                    let proven = prove(begun, &with);
                    (proven, begun_at.elapsed())
                });
                under_way.push((step, meter, task));
            }
            Err(error) => {
                refused = Some(Outcome { step, meter, elapsed: begun_at.elapsed(), result: Err(error) });
                break;
            }
        }
    }
    all_ended(under_way, refused, "the thread that erased a disk ended early").await
}

fn prove(begun: Begun, with: &Erase) -> anyhow::Result<Proven> {
    let record = erase(begun, with)?;
    let text = serde_json::to_string(&record).context("could not encode the erase record")?;
    Ok(Proven { proof: proof(&record), erase_record: Some(text) })
}

#[cfg(test)]
mod tests;
