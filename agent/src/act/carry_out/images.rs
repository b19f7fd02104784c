//! Images that are written to different disks side by side.
//!
//! Each has its own device, its own record of its beginning and its own proof. They begin in the order of
//! the plan. One that fails stops no other, but the system's disk gets its tables only when all others of
//! its plan are proven. Together they use the memory that one alone would.

use std::sync::Arc;
use std::time::Instant;

use imaging::layout::DiskLayout;
use imaging::manifest::Manifest;
use verdict::permit::StepPermit;

use super::{Outcome, Proven, World, all_ended, open, with_firmware};
use crate::act::begun::Begun;
use crate::act::boot_entries::BootEntries;
use crate::act::buffers::Buffers;
use crate::act::grow_root::grow_root;
use crate::act::meter::Meter;
use crate::act::others::{Others, Teller};
use crate::act::seed::Seed;
use crate::act::work::Work;
use crate::act::write_image::{write_data_image, write_image};

/// So many disks are written at a time; the others wait. Each needs some chunks of memory to go on at all.
pub(super) const SIDE_BY_SIDE_MAX: usize = 4;

/// An image and where it goes, got ready while nothing has been written yet.
pub(super) enum Image {
    System { manifest: Arc<Manifest>, layout: Box<DiskLayout>, seed: Seed },
    Data { manifest: Arc<Manifest>, layout: Arc<DiskLayout> },
}

/// One image with the right to write it.
pub(super) struct Writing {
    pub permit: StepPermit,
    pub image: Image,
    pub meter: Arc<Meter>,
}

/// What the disks share that are written at the same time.
struct Together {
    disks_at_once: usize,
    buffers: Arc<Buffers>,
}

/// What one disk has to do with the others: the system's waits for them, a data disk tells.
enum Tie {
    Waits(Others),
    Tells(Teller),
}

/// Writes all these images; outcomes in the order of the plan. Once one cannot begin, none after it begins.
pub(super) async fn write_side_by_side(writings: Vec<Writing>, world: &World) -> Vec<Outcome> {
    let together = Together { disks_at_once: writings.len(), buffers: Arc::default() };
    let mut under_way = Vec::new();
    let mut refused = None;
    for (writing, tie) in tied(writings) {
        let Writing { permit, image, meter } = writing;
        let (step, begun_at) = (permit.index(), Instant::now());
        match begin(permit, &meter, world, &together).await {
            Ok((begun, work)) => {
                let world = world.clone();
                let task = tokio::spawn(async move {
                    let proven = write(begun, work, image, tie, &world).await;
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
    all_ended(under_way, refused, "the task that wrote an image ended early").await
}

/// Ties the system's disk to all the others, wherever it stands among them. A disk that never begins drops
/// its end.
fn tied(writings: Vec<Writing>) -> Vec<(Writing, Tie)> {
    let mut others = Others::default();
    let is_data = |writing: &Writing| matches!(writing.image, Image::Data { .. });
    let tellers: Vec<Option<Teller>> =
        writings.iter().map(|writing| is_data(writing).then(|| others.add())).collect();
    let tie = |teller| match teller {
        Some(teller) => Tie::Tells(teller),
        None => Tie::Waits(std::mem::take(&mut others)),
    };
    let ties: Vec<Tie> = tellers.into_iter().map(tie).collect();
    writings.into_iter().zip(ties).collect()
}

async fn begin(
    permit: StepPermit,
    meter: &Arc<Meter>,
    world: &World,
    together: &Together,
) -> anyhow::Result<(Begun, Work)> {
    let Together { disks_at_once, buffers } = together;
    let open = open(permit.step(), meter, world).await?;
    let work = Work { disks_at_once: *disks_at_once, buffers: Arc::clone(buffers), ..open };
    Ok((Begun::record(permit, &*world.service).await?, work))
}

async fn write(begun: Begun, work: Work, image: Image, tie: Tie, world: &World) -> anyhow::Result<Proven> {
    let proof = match (image, tie) {
        (Image::Data { manifest, layout }, tie) => {
            let written = write_data_image(&begun, &work, manifest, layout).await?;
            if let Tie::Tells(teller) = tie {
                teller.proven();
            }
            written
        }
        (Image::System { .. }, Tie::Tells(_)) => {
            anyhow::bail!("the system's disk was taken for a data disk; nothing of it was written")
        }
        (Image::System { manifest, layout, seed }, Tie::Waits(others)) => {
            let firmware = BootEntries::permitted_by(&begun, &manifest, world.firmware.as_ref());
            let laid_out = (*layout).clone();
            let written = write_image(&begun, &work, Arc::clone(&manifest), laid_out, seed, others).await?;
            let written = with_firmware(written, firmware).await?;
            // The kernel mounts a partition only when nobody has the disk.
            drop(work);
            match grow_root(&begun, &world.disks, &manifest, &layout).await {
                Some(grown) => format!("{written}; {grown}"),
                None => written,
            }
        }
    };
    Ok(Proven { proof, erase_record: None })
}

#[cfg(test)]
mod tests;
