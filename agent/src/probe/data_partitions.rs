//! The partitions on the disk of the operating system that are neither the image's nor ours.

use contract::plan::KeptPartition;
use contract::reading::{Outcome, ReadingValue};
use imaging::layout::{data_partitions, read_table};
use imaging::manifest::Manifest;
use imaging::source::ReadAt;

/// Reads the partition table of a disk and takes away what is ours or one of these images'. Absent if
/// the disk has no table; a table that cannot be read is not "no partitions".
#[must_use]
pub fn read(disk: &(impl ReadAt + ?Sized), images: &[&Manifest]) -> Outcome<ReadingValue> {
    let found = match read_table(disk) {
        Ok(Some(table)) => data_partitions(&table, images),
        Ok(None) => return Outcome::Absent,
        Err(error) => return Outcome::Unreadable(format!("{:#}", anyhow::Error::new(error))),
    };
    let items: Result<Vec<String>, _> = found.iter().map(in_json).collect();
    Outcome::from(items).map(ReadingValue::list)
}

fn in_json(partition: &KeptPartition) -> serde_json::Result<String> {
    serde_json::to_string(partition)
}

#[cfg(test)]
mod tests {
    use contract::plan::KeptPartition;
    use contract::reading::{Outcome, ReadingValue};
    use imaging::chunk::CHUNK_BYTES;
    use imaging::layout::{DiskLayout, LayoutRequest};

    use super::read;
    use crate::act::fixture::{data_partition, image, layout_request};

    #[test]
    fn data_is_listed_and_what_cannot_be_read_is_not_absent() {
        let image = image();
        let data = data_partition();
        let keep = [data.clone()];
        let request = LayoutRequest { keep: &keep, ..layout_request(64 << 20) };
        let layout = DiskLayout::compute(&image.manifest, &image.bytes[..CHUNK_BYTES], &request).unwrap();
        let mut disk = vec![0; 64 << 20];
        assert_eq!(read(&disk, &[&image.manifest]), Outcome::Absent);
        disk[..CHUNK_BYTES].copy_from_slice(&layout.first_chunk);
        let Outcome::Value(ReadingValue::List { items, total: 1 }) = read(&disk, &[&image.manifest]) else {
            panic!("not one")
        };
        assert_eq!(serde_json::from_str::<KeptPartition>(&items[0]).unwrap(), data);
        disk[1100] ^= 1;
        let Outcome::Unreadable(why) = read(&disk, &[&image.manifest]) else { panic!("readable") };
        assert!(why.contains("neither copy"), "{why}");
    }
}
