//! Making a data disk identical to an image without a root. There is nothing of ours on it, and nothing of
//! anybody's is ever written over.

use std::sync::Arc;

use anyhow::{bail, ensure};
use contract::plan::Step;
use contract::root_size::RootSize;
use imaging::layout::{DataLayoutRequest, DiskLayout};
use imaging::manifest::Manifest;
use uuid::Uuid;

use super::make_so;
use crate::act::begun::Begun;
use crate::act::others::Others;
use crate::act::work::{Work, image_chunk};

/// What the plan says of a data disk as a whole.
#[derive(Debug, Clone, Copy)]
pub struct WantedData {
    /// GUID of the disk.
    pub disk_guid: Uuid,
    /// How large the last partition becomes.
    pub last_partition: RootSize,
    /// The same plan erases the disk before; then it does not matter what is on it now.
    pub erased_before: bool,
}

/// Where everything goes on the data disk that is worked on.
///
/// # Errors
/// When the first chunk does not come, the image is none for a data disk or does not fit, or there is
/// something on a disk that should hold nothing. Nothing was written then.
pub async fn lay_out_data(
    work: &Work,
    manifest: &Manifest,
    wanted: WantedData,
) -> anyhow::Result<Arc<DiskLayout>> {
    let first_chunk = image_chunk(&work.service, &work.meter, manifest, 0).await?;
    let request = DataLayoutRequest {
        disk_bytes: work.device.size_bytes(),
        sector_bytes: work.device.sector_bytes(),
        disk_guid: wanted.disk_guid,
        last_partition: wanted.last_partition,
    };
    let layout = Arc::new(DiskLayout::compute_data(manifest, &first_chunk, &request)?);
    if !wanted.erased_before {
        let expected = Arc::clone(&layout);
        work.blocking(move |work| ensure_nobodys(work, &expected)).await?;
    }
    Ok(layout)
}

/// Makes sure that both ends of a disk, where tables and file systems begin, hold nothing but what this
/// step itself may have left there before it was cut off.
fn ensure_nobodys(work: &Work, layout: &DiskLayout) -> anyhow::Result<()> {
    work.drop_caches()?;
    let sector = usize::try_from(layout.sector_bytes)?;
    for (offset, expected) in [(0, &layout.first_chunk), (layout.backup_table_offset, &layout.backup_table)] {
        let found = work.read(offset, expected.len())?;
        let mut sectors = found.chunks(sector).zip(expected.chunks(sector));
        ensure!(
            sectors.all(|(found, expected)| is_blank_or_ours(found, expected)),
            "disk {} should hold nothing yet, but something stands at byte {offset} or behind it that this step did not put there; look at the disk, and ask for a wipe if nobody needs it",
            work.disk
        );
    }
    Ok(())
}

/// Whether a sector is blank, as media read that hold nothing, or was written by us as far as the power
/// lasted. A name that anybody's tables or file systems begin with is neither.
fn is_blank_or_ours(found: &[u8], expected: &[u8]) -> bool {
    found.iter().all(|byte| *byte == 0xff)
        || found.iter().zip(expected).all(|(found, expected)| *found == 0 || found == expected)
}

/// Makes the data disk what the layout says and proves it; gives the proof in words.
///
/// # Errors
/// When anything was not written or not read back as written. The disk has no tables then.
pub async fn write_data_image(
    begun: &Begun,
    work: &Work,
    manifest: Arc<Manifest>,
    layout: Arc<DiskLayout>,
) -> anyhow::Result<String> {
    let Step::WriteDataImage { .. } = begun.step() else { bail!("this is no writing of a data image") };
    ensure!(layout.ours.is_none(), "a data disk gets no partition of ours");
    make_so(work, manifest, layout, None, Others::default()).await
}
