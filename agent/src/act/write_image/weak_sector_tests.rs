//! Sectors of ours that cannot be read until they are written.

use std::sync::Arc;

use contract::agent_api::FinishResult;
use imaging::layout::DiskLayout;
use imaging::manifest::PartitionRole;

use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, layout_request, noise, of_bytes, partition, run, write_step};

const DISK_BYTES: usize = 53 << 20;

#[test]
fn what_cannot_be_read_under_seed_and_record_is_written_and_read_back() {
    let image = of_bytes(noise(1, 4 << 20), vec![partition(1, 1 << 20, 3 << 20, PartitionRole::Other)]);
    let layout =
        DiskLayout::compute(&image.manifest, &image.bytes[..1 << 20], &layout_request(DISK_BYTES as u64));
    let ours = layout.unwrap().ours.unwrap();
    let write = |content: Vec<u8>, faults: Faults| {
        let disk = Arc::new(FakeDevice::new(content, faults));
        let step = write_step(&disk, &image);
        let finish = run(&disk, &Arc::new(FakeService::with(&image)), vec![step]);
        (finish.result, disk.content())
    };
    let (done, installed) = write(noise(2, DISK_BYTES), Faults::default());
    assert_eq!(done, FinishResult::Done);
    // In the seed's zeros, and in either place of the record.
    for at in [ours.seed.offset + (5 << 20), ours.node.offset, ours.node.offset + 65_536] {
        let weak = Faults { weak: Some(at..at + 512), ..Faults::default() };
        assert_eq!(write(installed.clone(), weak).0, FinishResult::Done, "{at}");
    }
    let at = ours.node.offset;
    let broken = Faults { unreadable: Some(at..at + 512), ..Faults::default() };
    assert!(matches!(write(installed, broken).0, FinishResult::Failed { .. }));
}
