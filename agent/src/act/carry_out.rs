//! Carrying out a permitted plan, step by step, each proven before the next begins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use contract::agent_api::{Finish, FinishResult, StepResult};
use contract::id::ImageId;
use contract::plan::Step;
use imaging::layout::DiskLayout;
use imaging::manifest::Manifest;
use verdict::permit::{Permit, StepPermit};

use super::begun::Begun;
use super::device::Disks;
use super::erase::{Clock, Erase, erase, proof};
use super::meter::{Meter, Reporter};
use super::repair_files::{FileChanges, FileRepair, check_changes, repair_files};
use super::repair_partitions::repair_partitions;
use super::service::Service;
use super::work::Work;
use super::write_image::{Identities, lay_out, write_image};

/// Everything outside of this process that acting needs.
#[derive(Clone)]
pub struct World {
    /// The boot service.
    pub service: Arc<dyn Service>,
    /// The machine's disks.
    pub disks: Arc<dyn Disks>,
    /// The service's time.
    pub clock: Clock,
}

/// What a step needs besides its permit, got ready while nothing has been written yet.
enum Prepared {
    Erase,
    WriteImage { manifest: Arc<Manifest>, layout: Box<DiskLayout> },
    RepairPartitions { manifest: Arc<Manifest> },
    RepairFiles { manifest: Arc<Manifest> },
}

/// What a finished step proved.
struct Proven {
    proof: String,
    erase_record: Option<String>,
}

/// Carries out the plan of this permit. Everything that can be found wrong without writing is found
/// before the first step begins: a plan whose image does not come erases nothing.
pub async fn carry_out(permit: Permit, world: &World) -> Finish {
    let order = permit.order().id;
    let steps = permit.into_steps();
    let meters: Vec<Arc<Meter>> = steps.iter().map(|_| Arc::new(Meter::default())).collect();
    let mut results = Vec::new();
    let prepared = match prepare(&steps, &meters, world).await {
        Ok(prepared) => prepared,
        Err((step, error)) => return failed(order, step, &error, results),
    };
    for ((permit, prepared), meter) in steps.into_iter().zip(prepared).zip(meters) {
        let step = permit.index();
        let begun_at = Instant::now();
        let reporter = Reporter::start(Arc::clone(&world.service), Arc::clone(&meter));
        let outcome = run(permit, prepared, world, &meter).await;
        drop(reporter);
        match outcome {
            Ok(proven) => results.push(StepResult {
                step,
                bytes_read: meter.bytes_read(),
                bytes_fetched: meter.bytes_fetched(),
                bytes_written: meter.bytes_written(),
                millis: u64::try_from(begun_at.elapsed().as_millis()).unwrap_or(u64::MAX),
                proof: proven.proof,
                erase_record: proven.erase_record,
            }),
            Err(error) => return failed(order, step, &error, results),
        }
    }
    Finish { order, result: FinishResult::Done, steps: results }
}

fn failed(order: contract::id::OrderId, step: u32, error: &anyhow::Error, steps: Vec<StepResult>) -> Finish {
    Finish { order, result: FinishResult::Failed { step, error: format!("{error:#}") }, steps }
}

/// Gets every step ready; names the step that cannot be.
async fn prepare(
    steps: &[StepPermit],
    meters: &[Arc<Meter>],
    world: &World,
) -> Result<Vec<Prepared>, (u32, anyhow::Error)> {
    let mut manifests = BTreeMap::new();
    let mut prepared = Vec::new();
    for (permit, meter) in steps.iter().zip(meters) {
        let ready = prepare_step(permit.step(), meter, world, &mut manifests).await;
        prepared.push(ready.map_err(|error| (permit.index(), error.context("nothing was written")))?);
    }
    Ok(prepared)
}

async fn prepare_step(
    step: &Step,
    meter: &Arc<Meter>,
    world: &World,
    manifests: &mut BTreeMap<ImageId, Arc<Manifest>>,
) -> anyhow::Result<Prepared> {
    let work = open(step, meter, world).await?;
    match step {
        Step::Erase { .. } => Ok(Prepared::Erase),
        Step::WriteImage { image, disk_guid, node_partition_guid, .. } => {
            let manifest = manifest_of(*image, world, manifests).await?;
            let identities = Identities { disk_guid: *disk_guid, node_partition_guid: *node_partition_guid };
            let layout = Box::new(lay_out(&work, &manifest, identities).await?);
            Ok(Prepared::WriteImage { manifest, layout })
        }
        Step::RepairPartitions { image, .. } => {
            Ok(Prepared::RepairPartitions { manifest: manifest_of(*image, world, manifests).await? })
        }
        Step::RepairFiles { image, paths, remove, .. } => {
            let manifest = manifest_of(*image, world, manifests).await?;
            check_changes(&manifest, FileChanges { paths, remove })?;
            Ok(Prepared::RepairFiles { manifest })
        }
    }
}

async fn manifest_of(
    image: ImageId,
    world: &World,
    manifests: &mut BTreeMap<ImageId, Arc<Manifest>>,
) -> anyhow::Result<Arc<Manifest>> {
    if let Some(manifest) = manifests.get(&image) {
        return Ok(Arc::clone(manifest));
    }
    let manifest = world
        .service
        .manifest(image)
        .await
        .with_context(|| format!("could not get the manifest of image {image}"))?;
    // The service's client has checked this; an image that is another one would be the worst mistake.
    let found = manifest.id().context("the manifest that came is not consistent")?;
    anyhow::ensure!(found == image, "the manifest that came for image {image} is that of {found}");
    let manifest = Arc::new(manifest);
    manifests.insert(image, Arc::clone(&manifest));
    Ok(manifest)
}

async fn open(step: &Step, meter: &Arc<Meter>, world: &World) -> anyhow::Result<Work> {
    let (disks, target) = (Arc::clone(&world.disks), step.disk().clone());
    let device = tokio::task::spawn_blocking(move || disks.open(&target))
        .await
        .context("a thread that opened a disk ended early")??;
    Ok(Work {
        device,
        disk: step.disk().id.to_string(),
        service: Arc::clone(&world.service),
        meter: Arc::clone(meter),
    })
}

async fn run(
    permit: StepPermit,
    prepared: Prepared,
    world: &World,
    meter: &Arc<Meter>,
) -> anyhow::Result<Proven> {
    let proven = |proof| Proven { proof, erase_record: None };
    match prepared {
        Prepared::Erase => {
            let begun = Begun::record(permit, &*world.service).await?;
            let with = Erase {
                disks: Arc::clone(&world.disks),
                meter: Arc::clone(meter),
                clock: Arc::clone(&world.clock),
            };
            let record = tokio::task::spawn_blocking(move || erase(begun, &with))
                .await
                .context("the thread that erased a disk ended early")??;
            let text = serde_json::to_string(&record).context("could not encode the erase record")?;
            Ok(Proven { proof: proof(&record), erase_record: Some(text) })
        }
        Prepared::WriteImage { manifest, layout } => {
            let work = open(permit.step(), meter, world).await?;
            let begun = Begun::record(permit, &*world.service).await?;
            write_image(begun, &work, manifest, *layout).await.map(proven)
        }
        Prepared::RepairPartitions { manifest } => {
            let work = open(permit.step(), meter, world).await?;
            let begun = Begun::record(permit, &*world.service).await?;
            repair_partitions(begun, &work, manifest).await.map(proven)
        }
        Prepared::RepairFiles { manifest } => {
            let begun = Begun::record(permit, &*world.service).await?;
            let repair =
                FileRepair { service: Arc::clone(&world.service), meter: Arc::clone(meter), manifest };
            repair_files(begun, &repair, &world.disks).await.map(proven)
        }
    }
}

#[cfg(test)]
mod tests;
