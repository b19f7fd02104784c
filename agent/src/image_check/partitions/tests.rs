use super::*;
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{Image, noise, of_bytes, partition};
use imaging::manifest::PartitionRole;

const MIB: usize = 1 << 20;

/// An image of 8 MiB with zeros in its third and fourth.
fn image(partitions: Vec<ManifestPartition>) -> Image {
    let mut bytes = noise(7, 8 * MIB);
    bytes[2 * MIB..4 * MIB].fill(0);
    of_bytes(bytes, partitions)
}

fn altered(image: &Image, change: Option<usize>, faults: Faults) -> (Outcome<ReadingValue>, u64) {
    let mut bytes = image.bytes.clone();
    if let Some(at) = change {
        bytes[at] ^= 1;
    }
    let findings = compare_partitions(&FakeDevice::new(bytes, faults), &image.manifest);
    (findings.reading.2, findings.device_errors)
}

fn list(items: &[&str]) -> Outcome<ReadingValue> {
    Outcome::Value(ReadingValue::list(items.iter().map(|item| (*item).to_owned()).collect()))
}

#[test]
fn each_changed_byte_is_found_in_whole_chunks_and_in_parts_of_them() {
    let esp =
        |number, first: usize, end: usize| partition(number, first as u64, end as u64, PartitionRole::Esp);
    let whole = image(vec![esp(1, MIB, 6 * MIB), esp(2, 6 * MIB, 7 * MIB)]);
    assert!(whole_chunks(&whole.manifest, &whole.manifest.partitions[0]).is_some());
    let parts = image(vec![esp(1, MIB, 6 * MIB - 4096), esp(2, 6 * MIB - 4096, 7 * MIB)]);
    assert!(whole_chunks(&parts.manifest, &parts.manifest.partitions[0]).is_none());
    for image in [whole, parts] {
        assert_eq!(altered(&image, None, Faults::default()), (list(&[]), 0));
        for (at, expected) in [
            (MIB - 1, None),
            (MIB, Some("1")),
            (2 * MIB, Some("1")),
            (4 * MIB - 1, Some("1")),
            (5 * MIB + 77, Some("1")),
            (6 * MIB - 4097, Some("1")),
            (7 * MIB - 1, Some("2")),
            (7 * MIB, None),
        ] {
            let expected: Vec<&str> = expected.into_iter().collect();
            assert_eq!(altered(&image, Some(at), Faults::default()).0, list(&expected), "byte {at}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_neither_altered_nor_fine() {
    let image = image(vec![partition(1, MIB as u64, 6 * MIB as u64, PartitionRole::Esp)]);
    let faults = Faults { unreadable: Some(3 << 20..(3 << 20) + 1), ..Faults::default() };
    let (outcome, _) = altered(&image, None, faults);
    assert!(matches!(outcome, Outcome::Unreadable(why) if why.contains("partition 1")));
}
