//! What stands in the seed partition: the node's data, by digest. Only read.

use contract::reading::{Outcome, ReadingValue};
use imaging::layout::{read_table, seed_place};
use imaging::seed::digest_of_partition;
use imaging::source::ReadAt;

/// Looks for the seed partition of a disk and reads all of it. Absent if the disk has none; what cannot
/// be read, or cannot be told from something else, is not "none".
#[must_use]
pub fn read(disk: &(impl ReadAt + ?Sized)) -> Outcome<ReadingValue> {
    let table = match read_table(disk) {
        Ok(Some(table)) => table,
        Ok(None) => return Outcome::Absent,
        Err(error) => return Outcome::Unreadable(format!("{:#}", anyhow::Error::new(error))),
    };
    let place = match seed_place(&table) {
        Ok(Some(place)) => place,
        Ok(None) => return Outcome::Absent,
        Err(error) => return Outcome::Unreadable(error.to_string()),
    };
    let Ok(length) = usize::try_from(place.length_bytes) else {
        return Outcome::Unreadable("the partition is longer than memory".to_owned());
    };
    let mut bytes = vec![0; length];
    match disk.read_at(place.offset, &mut bytes) {
        Ok(()) => {
            let found = digest_of_partition(&bytes).map(|digest| digest.to_string());
            Outcome::Value(ReadingValue::list(found.into_iter().collect()))
        }
        Err(error) => Outcome::Unreadable(format!("cannot read the partition with the node's data: {error}")),
    }
}
