//! Carrying out a permitted plan, step by step, each proven before the next begins; only erases that
//! follow each other directly run side by side, and so do images for different disks.

mod images;
mod side_by_side;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use contract::agent_api::{Finish, FinishResult, StepResult};
use contract::id::ImageId;
use contract::plan::Step;
use imaging::layout::ByteRange;
use imaging::manifest::Manifest;
use tokio::task::JoinHandle;
use verdict::permit::{Permit, StepPermit};

use self::images::{Image, SIDE_BY_SIDE_MAX, Writing, write_side_by_side};
use self::side_by_side::erase_side_by_side;
use super::begun::Begun;
use super::boot_entries::BootEntries;
use super::device::Disks;
use super::erase::Clock;
use super::meter::{Meter, Reporter};
use super::repair_files::{FileChanges, FileRepair, check_changes, repair_files};
use super::repair_partitions::repair_partitions;
use super::seed::{self, Seed};
use super::service::Service;
use super::work::Work;
use super::write_image::{Wanted, WantedData, lay_out, lay_out_data};
use crate::efi::variables::Variables;

/// Everything outside of this process that acting needs.
#[derive(Clone)]
pub struct World {
    /// The boot service.
    pub service: Arc<dyn Service>,
    /// The machine's disks.
    pub disks: Arc<dyn Disks>,
    /// The service's time.
    pub clock: Clock,
    /// The firmware's variables; none on a machine without.
    pub firmware: Option<Variables>,
}

/// What a step needs besides its permit, got ready while nothing has been written yet.
enum Prepared {
    Erase,
    Image(Image),
    RepairPartitions { manifest: Arc<Manifest> },
    RepairFiles { manifest: Arc<Manifest> },
    WriteSeed { seed: Seed, place: ByteRange },
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
    let mut waiting: VecDeque<(StepPermit, Prepared, Arc<Meter>)> = steps
        .into_iter()
        .zip(prepared)
        .zip(meters)
        .map(|((permit, prepared), meter)| (permit, prepared, meter))
        .collect();
    while let Some((permit, prepared, meter)) = waiting.pop_front() {
        let outcomes = match prepared {
            Prepared::Erase => erase_all(permit, meter, &mut waiting, world).await,
            Prepared::Image(image) => write_all(Writing { permit, image, meter }, &mut waiting, world).await,
            prepared => vec![run_one(permit, prepared, meter, world).await],
        };
        let mut failures = Vec::new();
        for outcome in outcomes {
            let step = outcome.step;
            match outcome.into_result() {
                Ok(result) => results.push(result),
                Err(error) => failures.push((step, error)),
            }
        }
        if let Some((step, error)) = all_told(failures) {
            return failed(order, step, &error, results);
        }
    }
    Finish { order, result: FinishResult::Done, steps: results }
}

/// The first failure, with what is to be said of those beside it.
fn all_told(failures: Vec<(u32, anyhow::Error)>) -> Option<(u32, anyhow::Error)> {
    let mut failures = failures.into_iter();
    let (step, first) = failures.next()?;
    let others: String =
        failures.map(|(step, error)| format!("; and step {}: {error:#}", step.saturating_add(1))).collect();
    match others.is_empty() {
        true => Some((step, first)),
        false => Some((step, anyhow::anyhow!("{first:#}{others}"))),
    }
}

/// How one step ended.
struct Outcome {
    step: u32,
    meter: Arc<Meter>,
    elapsed: Duration,
    result: anyhow::Result<Proven>,
}

impl Outcome {
    fn into_result(self) -> anyhow::Result<StepResult> {
        self.result.map(|proven| StepResult {
            step: self.step,
            bytes_read: self.meter.bytes_read(),
            bytes_fetched: self.meter.bytes_fetched(),
            bytes_written: self.meter.bytes_written(),
            millis: u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX),
            proof: proven.proof,
            erase_record: proven.erase_record,
        })
    }
}

/// This erase and those that follow it directly.
async fn erase_all(
    permit: StepPermit,
    meter: Arc<Meter>,
    waiting: &mut VecDeque<(StepPermit, Prepared, Arc<Meter>)>,
    world: &World,
) -> Vec<Outcome> {
    let mut permits = vec![(permit, meter)];
    while let Some((permit, _, meter)) =
        waiting.pop_front_if(|(_, prepared, _)| matches!(prepared, Prepared::Erase))
    {
        permits.push((permit, meter));
    }
    let meters = permits.iter().map(|(_, meter)| Arc::clone(meter)).collect();
    let _reporter = Reporter::start(Arc::clone(&world.service), meters);
    erase_side_by_side(permits, world).await
}

/// This image and those that follow it directly, some at a time.
async fn write_all(
    first: Writing,
    waiting: &mut VecDeque<(StepPermit, Prepared, Arc<Meter>)>,
    world: &World,
) -> Vec<Outcome> {
    let mut writings = vec![first];
    while writings.len() < SIDE_BY_SIDE_MAX {
        match waiting.pop_front() {
            Some((permit, Prepared::Image(image), meter)) => writings.push(Writing { permit, image, meter }),
            Some(other) => {
                waiting.push_front(other);
                break;
            }
            None => break,
        }
    }
    let meters = writings.iter().map(|writing| Arc::clone(&writing.meter)).collect();
    let _reporter = Reporter::start(Arc::clone(&world.service), meters);
    write_side_by_side(writings, world).await
}

async fn run_one(permit: StepPermit, prepared: Prepared, meter: Arc<Meter>, world: &World) -> Outcome {
    let (step, begun_at) = (permit.index(), Instant::now());
    let _reporter = Reporter::start(Arc::clone(&world.service), vec![Arc::clone(&meter)]);
    let result = run(permit, prepared, world, &meter).await;
    Outcome { step, meter, elapsed: begun_at.elapsed(), result }
}

/// A step that is carried out beside others.
type UnderWay = (u32, Arc<Meter>, JoinHandle<(anyhow::Result<Proven>, Duration)>);

/// Waits for all of them, whatever becomes of any; one that was refused its beginning comes last. `lost` is
/// said of one that ends without a word.
async fn all_ended(under_way: Vec<UnderWay>, refused: Option<Outcome>, lost: &'static str) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for (step, meter, task) in under_way {
        let (result, elapsed) = match task.await.context(lost) {
            Ok(ended) => ended,
            Err(error) => (Err(error), Duration::ZERO),
        };
        outcomes.push(Outcome { step, meter, elapsed, result });
    }
    outcomes.extend(refused);
    outcomes
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
        nothing_erased_is_kept(steps, permit).map_err(|error| (permit.index(), error))?;
        one_image_a_disk(steps, permit).map_err(|error| (permit.index(), error))?;
        let erased_before = is_erased_before(steps, permit);
        let ready = prepare_step(permit.step(), erased_before, meter, world, &mut manifests).await;
        prepared.push(ready.map_err(|error| (permit.index(), error.context("nothing was written")))?);
    }
    Ok(prepared)
}

/// A disk that is erased keeps nothing: a plan that says both is none.
fn nothing_erased_is_kept(steps: &[StepPermit], permit: &StepPermit) -> anyhow::Result<()> {
    let Step::WriteImage { disk, keep, .. } = permit.step() else { return Ok(()) };
    anyhow::ensure!(
        keep.is_empty() || !is_erased_before(steps, permit),
        "the plan erases disk {} and keeps partitions of it; nothing was written, plan again",
        disk.id
    );
    Ok(())
}

/// Whether a step before this one erases its disk.
fn is_erased_before(steps: &[StepPermit], permit: &StepPermit) -> bool {
    let earlier = steps.iter().take_while(|other| other.index() < permit.index());
    let disk = &permit.step().disk().id;
    let mut erased = earlier.filter(|other| matches!(other.step(), Step::Erase { .. }));
    erased.any(|other| &other.step().disk().id == disk)
}

/// Images are written side by side, so no disk gets two.
fn one_image_a_disk(steps: &[StepPermit], permit: &StepPermit) -> anyhow::Result<()> {
    let writes = |step: &Step| matches!(step, Step::WriteImage { .. } | Step::WriteDataImage { .. });
    let disk = &permit.step().disk().id;
    let mut beside = steps.iter().filter(|other| other.index() != permit.index() && writes(other.step()));
    anyhow::ensure!(
        !writes(permit.step()) || beside.all(|other| &other.step().disk().id != disk),
        "the plan writes two images to disk {disk}; nothing was written, plan again"
    );
    Ok(())
}

async fn prepare_step(
    step: &Step,
    erased_before: bool,
    meter: &Arc<Meter>,
    world: &World,
    manifests: &mut BTreeMap<ImageId, Arc<Manifest>>,
) -> anyhow::Result<Prepared> {
    let work = open(step, meter, world).await?;
    match step {
        Step::Erase { .. } => Ok(Prepared::Erase),
        Step::WriteImage { image, disk_guid, node_partition_guid, root_size, keep, node_data, .. } => {
            let manifest = manifest_of(*image, world, manifests).await?;
            let wanted = Wanted {
                disk_guid: *disk_guid,
                node_partition_guid: *node_partition_guid,
                root_size: *root_size,
                keep,
            };
            let layout = Box::new(lay_out(&work, &manifest, wanted).await?);
            let seed = Seed::fetch(*node_data, &*world.service).await?;
            Ok(Prepared::Image(Image::System { manifest, layout, seed }))
        }
        Step::WriteDataImage { image, disk_guid, last_partition, .. } => {
            let manifest = manifest_of(*image, world, manifests).await?;
            let wanted = WantedData { disk_guid: *disk_guid, last_partition: *last_partition, erased_before };
            let layout = lay_out_data(&work, &manifest, wanted).await?;
            Ok(Prepared::Image(Image::Data { manifest, layout }))
        }
        Step::RepairPartitions { image, .. } => {
            Ok(Prepared::RepairPartitions { manifest: manifest_of(*image, world, manifests).await? })
        }
        Step::WriteSeed { node_data, .. } => {
            let place = seed::place(&work).await?;
            Ok(Prepared::WriteSeed { seed: Seed::fetch(*node_data, &*world.service).await?, place })
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
        disks_at_once: 1,
        buffers: Arc::default(),
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
            let outcomes = erase_side_by_side(vec![(permit, Arc::clone(meter))], world).await;
            outcomes.into_iter().next().context("the erase ended without an outcome")?.result
        }
        Prepared::Image(image) => {
            let outcomes =
                write_side_by_side(vec![Writing { permit, image, meter: Arc::clone(meter) }], world);
            outcomes.await.into_iter().next().context("the writing ended without an outcome")?.result
        }
        Prepared::RepairPartitions { manifest } => {
            let work = open(permit.step(), meter, world).await?;
            let begun = Begun::record(permit, &*world.service).await?;
            repair_partitions(begun, &work, manifest).await.map(proven)
        }
        Prepared::WriteSeed { seed, place } => {
            let work = open(permit.step(), meter, world).await?;
            let begun = Begun::record(permit, &*world.service).await?;
            seed::write_alone(begun, &work, seed, place).await.map(proven)
        }
        Prepared::RepairFiles { manifest } => {
            let begun = Begun::record(permit, &*world.service).await?;
            let repair =
                FileRepair { service: Arc::clone(&world.service), meter: Arc::clone(meter), manifest };
            repair_files(begun, &repair, &world.disks).await.map(proven)
        }
    }
}

/// Sets the firmware's boot entries and adds to the proof what came of it.
async fn with_firmware(proof: String, firmware: Option<BootEntries>) -> anyhow::Result<String> {
    let Some(entries) = firmware else { return Ok(proof) };
    // A firmware may take a second for each variable.
    let said = tokio::task::spawn_blocking(move || entries.set()).await;
    Ok(format!("{proof}; {}", said.context("a thread that set boot entries ended early")?))
}

#[cfg(test)]
mod tests;
