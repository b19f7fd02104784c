//! What a node keeps for itself, in its own partition: a payload (the binary says which) in one of
//! two slots. A new record goes into the slot that does not hold the newest one, so a write that is
//! cut off at any byte leaves the older record readable.
//!
//! Slot, little-endian: magic (8), version (4), payload length in bytes (4), sequence (8), BLAKE3 of
//! the bytes before and of the payload (32), payload, zeros.

use contract::id::Digest;

/// Size of a slot in bytes.
pub const SLOT_BYTES: usize = 64 * 1024;

/// Size in bytes of both slots, which stand at the start of the node's partition.
pub const RECORD_BYTES: usize = 2 * SLOT_BYTES;

/// The largest payload in bytes.
pub const PAYLOAD_BYTES_MAX: usize = SLOT_BYTES - HEADER_BYTES;

const MAGIC: [u8; 8] = *b"REPRNODE";
const VERSION: u32 = 1;
const COVERED_BYTES: usize = 24;
const HEADER_BYTES: usize = COVERED_BYTES + 32;

/// Why a payload cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeRecordError {
    /// It does not fit into a slot.
    #[error("the node's record is {bytes} bytes long; at most {PAYLOAD_BYTES_MAX} fit into its partition")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
    },
}

/// What stands in the node's partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeRecord {
    /// Both slots are blank: nothing was ever written.
    Absent,
    /// The newest whole record.
    Value {
        /// Its sequence number; the next one to write is one higher.
        sequence: u64,
        /// What was written.
        payload: Vec<u8>,
    },
    /// Something is there and none of it is a whole record. Not the same as absent.
    Damaged {
        /// What is wrong with each slot.
        why: String,
    },
}

/// Where in the node's partition the record with this sequence number goes, in bytes.
#[must_use]
pub fn slot_offset(sequence: u64) -> u64 {
    (sequence % 2) * SLOT_BYTES as u64
}

/// The whole slot for a record: [`SLOT_BYTES`] to be written at [`slot_offset`].
///
/// # Errors
/// [`NodeRecordError::TooLarge`] if the payload does not fit.
pub fn encode(sequence: u64, payload: &[u8]) -> Result<Vec<u8>, NodeRecordError> {
    let too_large = NodeRecordError::TooLarge { bytes: payload.len() };
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(too_large);
    }
    let length = u32::try_from(payload.len()).map_err(|_| too_large)?;
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(&MAGIC);
    slot.extend_from_slice(&VERSION.to_le_bytes());
    slot.extend_from_slice(&length.to_le_bytes());
    slot.extend_from_slice(&sequence.to_le_bytes());
    let digest = slot_digest(&slot, payload);
    slot.extend_from_slice(&digest.0);
    slot.extend_from_slice(payload);
    slot.resize(SLOT_BYTES, 0);
    Ok(slot)
}

/// The content of both slots ([`RECORD_BYTES`], to be written at the start of the partition) for a
/// node that begins anew: the record has sequence 1 and whatever an earlier life of the disk left in
/// the other slot is blanked, so that it can't be taken for newer.
///
/// # Errors
/// [`NodeRecordError::TooLarge`] if the payload does not fit.
pub fn encode_initial(payload: &[u8]) -> Result<Vec<u8>, NodeRecordError> {
    let mut slots = vec![0; SLOT_BYTES];
    slots.extend(encode(1, payload)?);
    Ok(slots)
}

/// The newest whole record in the first [`RECORD_BYTES`] of the node's partition.
#[must_use]
pub fn decode_newest(slots: &[u8]) -> NodeRecord {
    let Some((first, rest)) = slots.split_at_checked(SLOT_BYTES) else {
        return NodeRecord::Damaged { why: format!("the record is cut off after {} bytes", slots.len()) };
    };
    let Some(second) = rest.get(..SLOT_BYTES) else {
        return NodeRecord::Damaged { why: format!("the record is cut off after {} bytes", slots.len()) };
    };
    match (decode_slot(first, 0), decode_slot(second, 1)) {
        (Slot::Whole { sequence: a, payload }, Slot::Whole { sequence: b, .. }) if a > b => {
            NodeRecord::Value { sequence: a, payload }
        }
        (_, Slot::Whole { sequence, payload }) | (Slot::Whole { sequence, payload }, _) => {
            NodeRecord::Value { sequence, payload }
        }
        (Slot::Blank, Slot::Blank) => NodeRecord::Absent,
        (first, second) => NodeRecord::Damaged {
            why: format!("slot 0 is {}, slot 1 is {}", first.describe(), second.describe()),
        },
    }
}

enum Slot {
    Blank,
    Whole { sequence: u64, payload: Vec<u8> },
    Broken(&'static str),
}

impl Slot {
    fn describe(&self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::Whole { .. } => "whole",
            Self::Broken(why) => why,
        }
    }
}

fn decode_slot(slot: &[u8], index: u64) -> Slot {
    if slot.iter().all(|byte| *byte == 0) {
        return Slot::Blank;
    }
    let Some((covered, rest)) = slot.split_at_checked(COVERED_BYTES) else {
        return Slot::Broken("cut off");
    };
    if !covered.starts_with(&MAGIC) {
        return Slot::Broken("not a record of ours");
    }
    if u32_at(covered, 8) != Some(VERSION) {
        return Slot::Broken("of an unknown version");
    }
    let payload = u32_at(covered, 12)
        .and_then(|length| usize::try_from(length).ok())
        .and_then(|length| rest.get(32..)?.get(..length));
    let sequence = covered.get(16..24).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let (Some(payload), Some(sequence)) = (payload, sequence) else {
        return Slot::Broken("longer than its slot");
    };
    if rest.get(..32) != Some(slot_digest(covered, payload).0.as_slice()) {
        return Slot::Broken("half-written or damaged");
    }
    if sequence % 2 != index {
        return Slot::Broken("in the wrong place");
    }
    Slot::Whole { sequence, payload: payload.to_vec() }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn slot_digest(covered: &[u8], payload: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(covered).update(payload);
    Digest(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{
        NodeRecord, PAYLOAD_BYTES_MAX, RECORD_BYTES, SLOT_BYTES, decode_newest, encode, encode_initial,
        slot_offset,
    };

    fn write(slots: &mut [u8], sequence: u64, payload: &[u8], until: usize) {
        let at = usize::try_from(slot_offset(sequence)).unwrap();
        slots[at..at + until].copy_from_slice(&encode(sequence, payload).unwrap()[..until]);
    }

    fn value(sequence: u64, payload: &[u8]) -> NodeRecord {
        NodeRecord::Value { sequence, payload: payload.to_vec() }
    }

    #[test]
    fn blank_is_absent_and_garbage_is_damaged() {
        assert_eq!(decode_newest(&[0; RECORD_BYTES]), NodeRecord::Absent);
        let mut slots = vec![0; RECORD_BYTES];
        slots[SLOT_BYTES + 5] = 1;
        assert!(matches!(decode_newest(&slots), NodeRecord::Damaged { .. }));
        assert!(matches!(decode_newest(&slots[..RECORD_BYTES - 1]), NodeRecord::Damaged { .. }));
    }

    #[test]
    fn the_newest_of_two_wins_on_either_slot() {
        let mut slots = encode_initial(b"one").unwrap();
        assert_eq!(decode_newest(&slots), value(1, b"one"));
        write(&mut slots, 2, b"two", SLOT_BYTES);
        assert_eq!(decode_newest(&slots), value(2, b"two"));
        write(&mut slots, 3, b"three", SLOT_BYTES);
        assert_eq!(decode_newest(&slots), value(3, b"three"));
    }

    #[test]
    fn beginning_anew_forgets_a_higher_sequence() {
        let mut slots = encode_initial(b"new life").unwrap();
        write(&mut slots, 8, b"old life", SLOT_BYTES);
        slots.copy_from_slice(&encode_initial(b"new life").unwrap());
        assert_eq!(decode_newest(&slots), value(1, b"new life"));
    }

    #[test]
    fn too_much_is_refused_and_the_most_fits() {
        assert!(encode(1, &vec![1; PAYLOAD_BYTES_MAX + 1]).is_err());
        let most = vec![1; PAYLOAD_BYTES_MAX];
        assert_eq!(decode_newest(&encode_initial(&most).unwrap()), value(1, &most));
    }

    proptest! {
        #[test]
        fn a_write_cut_off_anywhere_leaves_the_older_record(
            older in proptest::collection::vec(any::<u8>(), 0..300),
            newer in proptest::collection::vec(any::<u8>(), 0..300),
            before in proptest::collection::vec(any::<u8>(), 0..300),
            cut in 0..400_usize,
        ) {
            let mut slots = vec![0; RECORD_BYTES];
            write(&mut slots, 5, &before, SLOT_BYTES);
            write(&mut slots, 6, &older, SLOT_BYTES);
            write(&mut slots, 7, &newer, cut);
            let found = decode_newest(&slots);
            assert!(found == value(6, &older) || found == value(7, &newer), "{found:?}");
        }

        #[test]
        fn arbitrary_bytes_are_no_record(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            let mut slots = vec![0; RECORD_BYTES];
            slots[..bytes.len()].copy_from_slice(&bytes);
            assert!(!matches!(decode_newest(&slots), NodeRecord::Value { .. }));
            slots[..8].copy_from_slice(b"REPRNODE");
            assert!(!matches!(decode_newest(&slots), NodeRecord::Value { .. }));
        }
    }
}
