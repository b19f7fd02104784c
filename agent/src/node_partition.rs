//! The node's own partition: where it is, and the record in it that says who the node is and what image
//! it carries.

use contract::agent_api::ResidentIdentity;
use contract::id::DiskId;
use contract::reading::{Outcome, ReadingKey, ReadingValue, Subject};
use imaging::gpt::{Gpt, GptError};
use imaging::layout::NODE_PARTITION_TYPE;
use imaging::node_record::{NodeRecord, RECORD_BYTES, decode_newest};
use imaging::source::ReadAt;

use crate::probe::disks::FoundDisk;
use crate::probe::evidence::Found;
use crate::probe::raw_read::RawDisk;

/// The node's own partition and what stands in it.
#[derive(Debug, Clone)]
pub struct NodePartition {
    /// On which disk.
    pub disk: DiskId,
    /// Who the node is; what stood there, if it was written at all.
    pub identity: Outcome<ResidentIdentity>,
}

/// Looks on all disks. Absent only if every disk was looked at; two of them are unreadable, because
/// nobody can say which one counts.
#[must_use]
pub fn find(disks: &Outcome<Vec<FoundDisk>>) -> Outcome<NodePartition> {
    let disks = match disks {
        Outcome::Value(disks) => disks,
        Outcome::Absent => return Outcome::Absent,
        Outcome::Unreadable(why) => return Outcome::Unreadable(why.clone()),
    };
    let mut found = None;
    let mut failed = None;
    for disk in disks {
        match find_on(disk) {
            Ok(None) => {}
            Ok(Some(partition)) if found.is_none() => found = Some(partition),
            Ok(Some(partition)) => {
                let first = found.map(|first: NodePartition| first.disk.to_string()).unwrap_or_default();
                return Outcome::Unreadable(format!(
                    "disks {first} and {} both carry a node partition; take one of them out",
                    partition.disk
                ));
            }
            Err(why) => failed = Some(why),
        }
    }
    match (found, failed) {
        (Some(partition), _) => Outcome::Value(partition),
        (None, Some(why)) => Outcome::Unreadable(why),
        (None, None) => Outcome::Absent,
    }
}

fn find_on(disk: &FoundDisk) -> Result<Option<NodePartition>, String> {
    let raw = RawDisk::open(&disk.device, disk.facts.size_bytes).map_err(|error| {
        format!("cannot open disk {} ({}): {error}", disk.facts.id, disk.device.display())
    })?;
    let table = match Gpt::read(&raw) {
        Ok(table) => table,
        Err(GptError::Read { what, source }) => {
            return Err(format!("disk {}: cannot read {what}: {source}", disk.facts.id));
        }
        // No table or a damaged one: no firmware would boot from it, and no image of ours is there.
        Err(_) => return Ok(None),
    };
    let identity = identity_at(&raw, &table);
    Ok(identity.map(|identity| NodePartition { disk: disk.facts.id.clone(), identity }))
}

/// Who the node is, by the record in its own partition; none if this table has no such partition.
#[must_use]
pub fn identity_at(disk: &impl ReadAt, table: &Gpt) -> Option<Outcome<ResidentIdentity>> {
    let entry = table.partitions.iter().find(|entry| entry.type_guid == NODE_PARTITION_TYPE)?;
    let offset = entry.first_sector.saturating_mul(u64::from(table.sector_bytes));
    let mut slots = vec![0; RECORD_BYTES];
    Some(match disk.read_at(offset, &mut slots) {
        Ok(()) => identity_in(&slots),
        Err(error) => Outcome::Unreadable(error.to_string()),
    })
}

fn identity_in(slots: &[u8]) -> Outcome<ResidentIdentity> {
    match decode_newest(slots) {
        NodeRecord::Absent => Outcome::Absent,
        NodeRecord::Damaged { why } => Outcome::Unreadable(format!("the node's record is damaged: {why}")),
        // The parser's message could quote the credential, so it is not passed on.
        NodeRecord::Value { payload, .. } => match serde_json::from_slice(&payload) {
            Ok(identity) => Outcome::Value(identity),
            Err(_) => Outcome::Unreadable("the node's record is not an identity of this version".to_owned()),
        },
    }
}

/// What the partition says about the installed image. The partition table is written last, so where
/// there is a node partition the image was written to its end.
#[must_use]
pub fn readings(partition: &Outcome<NodePartition>) -> Vec<Found> {
    let (installed, unfinished) = match partition {
        Outcome::Value(partition) => {
            let image =
                partition.identity.clone().map(|identity| ReadingValue::Text(identity.image.to_string()));
            let unfinished = match &image {
                Outcome::Value(_) => Outcome::Value(ReadingValue::Flag(false)),
                Outcome::Absent => Outcome::Value(ReadingValue::Flag(true)),
                Outcome::Unreadable(why) => Outcome::Unreadable(why.clone()),
            };
            (image, unfinished)
        }
        Outcome::Absent => (Outcome::Absent, Outcome::Value(ReadingValue::Flag(true))),
        Outcome::Unreadable(why) => (Outcome::Unreadable(why.clone()), Outcome::Unreadable(why.clone())),
    };
    vec![
        (Subject::Image, ReadingKey::ImageInstalled, installed),
        (Subject::Image, ReadingKey::ImageUnfinished, unfinished),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::id::{Digest, ImageId, NodeId};
    use contract::secret::Secret;
    use imaging::node_record::encode_initial;
    use proptest::prelude::{any, proptest};
    use uuid::Uuid;

    fn identity() -> ResidentIdentity {
        ResidentIdentity {
            node: NodeId(Uuid::from_u128(1)),
            service_urls: vec!["https://192.0.2.1:8443".to_owned()],
            ca_certificate: "-----BEGIN CERTIFICATE-----".to_owned(),
            credential: Secret::new("bearer".to_owned()),
            image: ImageId(Digest([7; 32])),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let slots = encode_initial(&serde_json::to_vec(&identity()).unwrap()).unwrap();
        assert_eq!(identity_in(&slots), Outcome::Value(identity()));
        assert_eq!(identity_in(&vec![0; RECORD_BYTES]), Outcome::Absent);
    }

    #[test]
    fn a_record_of_another_kind_is_unreadable_and_not_quoted() {
        let slots = encode_initial(br#"{"node":"top-secret"}"#).unwrap();
        let Outcome::Unreadable(why) = identity_in(&slots) else { panic!("read") };
        assert!(!why.contains("top-secret"));
    }

    #[test]
    fn unseen_disks_never_mean_that_nothing_is_installed() {
        let unreadable = find(&Outcome::Unreadable("no sysfs".to_owned()));
        assert!(
            readings(&unreadable).iter().all(|(_, _, outcome)| matches!(outcome, Outcome::Unreadable(_)))
        );
        assert!(matches!(find(&Outcome::Value(vec![])), Outcome::Absent));
    }

    proptest! {
        #[test]
        fn any_record_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = identity_in(&bytes);
        }
    }
}
