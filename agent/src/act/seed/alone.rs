//! The node's data alone: into the seed partition of a disk that was laid out before, and nowhere else.

use anyhow::{Context, bail};
use contract::plan::Step;
use imaging::gpt::Gpt;
use imaging::layout::{ByteRange, seed_place};

use super::Seed;
use crate::act::begun::Begun;
use crate::act::work::Work;
use crate::image_check::DiskSource;

/// Where the seed partition lies. Both copies of the table must say the same, and nothing else may lie
/// there.
///
/// # Errors
/// When there is none, it cannot be told, or the tables disagree. Nothing is written then.
pub async fn place(work: &Work) -> anyhow::Result<ByteRange> {
    work.blocking(|work| {
        work.drop_caches()?;
        let disk = DiskSource(&*work.device);
        let read = |table: Result<Gpt, _>, which: &str| {
            let table = table.with_context(|| {
                format!("could not read the {which} partition table of disk {}; ask for a reimage", work.disk)
            })?;
            let place = seed_place(&table);
            place.with_context(|| format!("the {which} partition table of disk {}; ask for a reimage", work.disk))
        };
        let (primary, backup) =
            (read(Gpt::read(&disk), "primary")?, read(Gpt::read_backup(&disk), "backup")?);
        match (primary, backup) {
            (Some(primary), Some(backup)) if primary == backup => Ok(primary),
            (None, None) => {
                bail!("disk {} has no place for the node's data; ask for a reimage, which makes one", work.disk)
            }
            _ => bail!(
                "the partition tables of disk {} disagree about where the node's data stand; ask for a reimage",
                work.disk
            ),
        }
    })
    .await
}

/// Writes the node's data and proves it by reading them back.
///
/// # Errors
/// When anything was not written or not read back as written.
pub async fn write_alone(begun: Begun, work: &Work, seed: Seed, place: ByteRange) -> anyhow::Result<String> {
    let Step::WriteSeed { .. } = begun.step() else { bail!("this is no writing of the node's data") };
    work.blocking(move |work| seed.write(work, place)).await
}

#[cfg(test)]
mod tests;
