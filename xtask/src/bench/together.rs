//! Several disks written in one order: what it takes together, above all how much memory.

use anyhow::{Result, ensure};

use super::device::{Device, MEBIBYTE};
use super::image::{self, Folder};
use super::imaging::{Contest, ROOM_MEBIBYTES, Row, Stage};
use super::service::Service;
use super::tools;

/// Data disks beside the system's.
const DATA_DISKS: u64 = 2;
/// Size of the image of each, in mebibytes; how much is under way at a time does not depend on it.
const SIZE_MEBIBYTES: u64 = 512;

/// Measures one agent that writes the system's disk and two data disks at once, each with old content
/// between its ends.
pub fn written(stage: &Stage, service: &Service, runs: u8) -> Result<Vec<Row>> {
    let size_mebibytes = SIZE_MEBIBYTES.min(stage.size_bytes / MEBIBYTE);
    let size_bytes = size_mebibytes * MEBIBYTE;
    let image = stage.folder.file(&format!("image-{size_mebibytes}.raw"));
    image::make(&image, size_mebibytes)?;
    let system = service.import(&image, "bench-together")?;
    let data = service.import_data(&image, "bench-together-data")?;
    let device = |number| {
        let place = Folder::new(stage.place.file(&format!("data-{number}")))?;
        Device::new(&place.path, (size_mebibytes + ROOM_MEBIBYTES) * MEBIBYTE)
    };
    let devices = (0..DATA_DISKS).map(device).collect::<Result<Vec<Device>>>()?;
    let prepare = || {
        stage.device.fill_with_old_content()?;
        devices.iter().try_for_each(|device| {
            device.fill_with_old_content()?;
            device.make_ends_blank()
        })
    };
    let measure = || {
        let (system, data) = ((&stage.device, system.id.as_str()), (devices.as_slice(), data.id.as_str()));
        let ours = tools::agent_beside(&stage.programs, service, system, data)?;
        for device in devices.iter().chain([&stage.device]) {
            let same = device.holds(&image, MEBIBYTE, size_bytes - MEBIBYTE)?;
            ensure!(same, "a device does not hold the image after our agent said so");
        }
        Ok(ours)
    };
    let mut contest = Contest::new("write");
    contest.add(
        "reprieve, the system's disk and two data disks",
        (DATA_DISKS + 1) * size_bytes,
        prepare,
        measure,
    );
    contest.hold(runs)
}
