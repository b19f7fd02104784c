use std::sync::Arc;

use contract::plan::KeptPartition;
use contract::reading::{Outcome, ReadingValue};
use imaging::chunk::CHUNK_BYTES;
use imaging::layout::LayoutRequest;
use imaging::manifest::PartitionRole;
use uuid::Uuid;

use super::*;
use crate::act::device::BlockDevice;
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, Image, layout_request, noise, of_bytes, partition};
use crate::probe::data_partitions;

const DISK_BYTES: usize = 46 << 20;

/// Whether a sector of a write survives, by its place and by how many there are.
type Survives = fn(usize, usize) -> bool;

fn image(seed: u32) -> Image {
    of_bytes(noise(seed, 2 * CHUNK_BYTES), vec![partition(seed, 1 << 20, 2 << 20, PartitionRole::Other)])
}

fn data() -> KeptPartition {
    KeptPartition {
        number: 4,
        type_guid: Uuid::from_u128(0x11),
        unique_guid: Uuid::from_u128(0x22),
        first_byte: 3 << 20,
        length_bytes: 1 << 20,
        attributes: 0,
        name: "data".to_owned(),
    }
}

fn layout(image: &Image) -> DiskLayout {
    let keep = [data()];
    let request = LayoutRequest { keep: &keep, ..layout_request(DISK_BYTES as u64) };
    DiskLayout::compute(&image.manifest, &image.bytes[..CHUNK_BYTES], &request).unwrap()
}

/// From the old tables to the new ones, as writing an image does it.
fn replace(work: &Work, layout: &DiskLayout) -> anyhow::Result<()> {
    let start = layout.tables_bytes();
    destroy_tables(work, layout, start)?;
    write_backup_entries(work, layout)?;
    work.flush()?;
    write_backup_header(work, layout)?;
    work.write(0, &layout.first_chunk[..start])?;
    work.flush()
}

/// A disk makes no promise about the order in which the sectors of a write, and writes between two
/// flushes, become durable. Where the power was cut, the old table, none, or the new one is found: the data
/// are in either, and without one they are in the plan that was begun (`verdict` test
/// `work_that_was_cut_off_goes_on_with_what_it_was_to_keep`).
#[test]
fn torn_writes_leave_a_whole_table_or_none() {
    let (old, new) = (image(1), image(2));
    let before = layout(&old);
    let mut whole = vec![0; DISK_BYTES];
    whole[..CHUNK_BYTES].copy_from_slice(&before.first_chunk);
    whole[before.backup_table_offset as usize..].copy_from_slice(&before.backup_table);
    // With one copy of the table it is the other one that counts.
    let mut backup_alone = whole.clone();
    backup_alone[512..1024].fill(0);
    let mut primary_alone = whole.clone();
    primary_alone[DISK_BYTES - 512..].fill(0);
    let survivals: [(&str, Survives); 5] = [
        ("all", |_, _| true),
        ("first", |at, _| at == 0),
        ("last", |at, sectors| at + 1 == sectors),
        ("all but the last", |at, sectors| at + 1 < sectors),
        ("all but the second", |at, _| at != 1),
    ];
    for (what, before) in [("both", whole), ("backup", backup_alone), ("primary", primary_alone)] {
        for at in 0.. {
            let cut = Faults { power_cut_at_write: Some(at), ..Faults::default() };
            let device = Arc::new(FakeDevice::new(before.clone(), cut));
            let work = Work {
                device: Arc::clone(&device) as Arc<dyn BlockDevice>,
                disk: "disk".to_owned(),
                service: Arc::new(FakeService::without_images()),
                meter: Arc::default(),
                disks_at_once: 1,
                buffers: Arc::default(),
            };
            if replace(&work, &layout(&new)).is_ok() {
                assert!(at > 5, "{what}: this test cut nothing");
                break;
            }
            for (survivors, kept) in survivals {
                let found = device.after_torn_power_cut(kept, |content| {
                    data_partitions::read(content, &[&old.manifest, &new.manifest])
                });
                let listed = ReadingValue::list(vec![serde_json::to_string(&data()).unwrap()]);
                assert!(
                    matches!(found, Outcome::Absent) || found == Outcome::Value(listed),
                    "{what}: write {at} {:?}, {survivors}: {found:?}",
                    device.writes().last()
                );
            }
        }
    }
}
