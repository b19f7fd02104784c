//! TCG Level 0 Discovery: whether a self-encrypting disk is locked.
//!
//! Layouts are those of the TCG Storage Architecture Core Specification 2.01, section 3.3.6 (Level 0
//! Discovery), and the Opal SSC 2.02, section 3.1.1.3 (Locking feature). The question is the same behind
//! NVMe (Security Receive), SCSI and ATA (SECURITY PROTOCOL IN): security protocol 01h, ComID 0001h.

use contract::inventory::LockingState;
use contract::reading::Outcome;

use crate::nvme::admin::AdminCommand;

/// How much is asked for, in bytes. A disk has a handful of features of at most 20 bytes or so.
pub const DISCOVERY_BYTES: usize = 2048;
/// Opcode of NVMe Security Receive.
pub const OPCODE_SECURITY_RECEIVE: u8 = 0x82;
/// Operation code of SECURITY PROTOCOL IN (SPC-5).
pub const SECURITY_PROTOCOL_IN: u8 = 0xa2;

/// Security protocol of TCG.
const PROTOCOL: u8 = 0x01;
/// ComID of Level 0 Discovery.
const COM_ID: u16 = 0x0001;
/// Length of the header before the features.
const HEADER_BYTES: usize = 48;
/// Code of the Locking feature.
const FEATURE_LOCKING: u16 = 0x0002;

/// The question as an NVMe command; its data are [`DISCOVERY_BYTES`] long.
#[must_use]
pub fn security_receive() -> AdminCommand {
    AdminCommand {
        opcode: OPCODE_SECURITY_RECEIVE,
        namespace: 0,
        dword_10: (u32::from(PROTOCOL) << 24) | (u32::from(COM_ID) << 8),
        dword_11: DISCOVERY_BYTES as u32,
    }
}

/// The question as a SCSI command. An ATA disk gets it too: the kernel translates it, and refuses the
/// disk's own TRUSTED RECEIVE.
#[must_use]
pub fn security_protocol_in() -> [u8; 12] {
    let [com_high, com_low] = COM_ID.to_be_bytes();
    let [a, b, c, d] = (DISCOVERY_BYTES as u32).to_be_bytes();
    [SECURITY_PROTOCOL_IN, PROTOCOL, com_high, com_low, 0, 0, a, b, c, d, 0, 0]
}

/// What the answer says of locking; absent where the disk lists its features and locking is none of them.
#[must_use]
pub fn locking(data: &[u8]) -> Outcome<LockingState> {
    match read(data) {
        Ok(Some(state)) => Outcome::Value(state),
        Ok(None) => Outcome::Absent,
        Err(why) => Outcome::Unreadable(format!("cannot read Level 0 Discovery: {why}")),
    }
}

fn read(data: &[u8]) -> Result<Option<LockingState>, String> {
    let length = data.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let length = length.and_then(|length| usize::try_from(length).ok()).ok_or("it has no length")?;
    // The length does not count itself. A disk that says nothing has not said that it has no locking.
    let end = length.saturating_add(4);
    let mut rest = data
        .get(HEADER_BYTES..end.min(data.len()))
        .filter(|features| !features.is_empty())
        .ok_or_else(|| format!("it says that it is {length} bytes long, and {} came", data.len()))?;
    let (mut found, mut listed) = (None, false);
    while !rest.is_empty() {
        let [high, low, _version, bytes, after @ ..] = rest else {
            return Err("a feature is cut off".into());
        };
        let (code, bytes) = (u16::from_be_bytes([*high, *low]), usize::from(*bytes));
        let (feature, next) = after.split_at_checked(bytes).ok_or("a feature is cut off")?;
        if code == FEATURE_LOCKING {
            let flags = *feature.first().ok_or("the locking feature is empty")?;
            if found.replace(state(flags)).is_some() {
                return Err("it has two locking features".to_owned());
            }
        }
        // Features have codes from 0001h; zeros are what is behind the last.
        if code == 0 {
            break;
        }
        listed = true;
        rest = next;
    }
    if !listed {
        return Err("it lists no feature".to_owned());
    }
    if found.is_none() && end > data.len() {
        return Err(format!("it is {end} bytes long, and {} came", data.len()));
    }
    Ok(found)
}

fn state(flags: u8) -> LockingState {
    let bit = |bit: u32| flags & (1 << bit) != 0;
    LockingState { enabled: bit(1), locked: bit(2), shadow_enabled: bit(4), shadow_done: bit(5) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    /// The answer of an Opal 2 disk as such disks give it: TPer, Locking with these flags, Geometry, Opal.
    fn answer(flags: u8) -> Vec<u8> {
        let mut data = vec![0, 0, 0, 0, 0, 0, 0, 1];
        data.resize(HEADER_BYTES, 0);
        data.extend([0x00, 0x01, 0x10, 0x0c, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        data.extend([0x00, 0x02, 0x10, 0x0c, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        data.extend([0x00, 0x03, 0x10, 0x1c]);
        data.resize(data.len() + 0x1c, 0);
        data.extend([0x02, 0x03, 0x10, 0x10, 0x10, 0, 0, 1, 0, 0, 4, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
        let length = u32::try_from(data.len() - 4).unwrap();
        data[..4].copy_from_slice(&length.to_be_bytes());
        data.resize(DISCOVERY_BYTES, 0);
        data
    }

    #[test]
    fn the_questions_byte_by_byte() {
        let nvme = security_receive();
        assert_eq!((nvme.opcode, nvme.dword_10, nvme.dword_11), (0x82, 0x0100_0100, 2048));
        assert_eq!(security_protocol_in(), [0xa2, 1, 0, 1, 0, 0, 0, 0, 8, 0, 0, 0]);
    }

    #[test]
    fn every_flag_of_the_locking_feature() {
        let state = |enabled, locked, shadow_enabled, shadow_done| {
            Outcome::Value(LockingState { enabled, locked, shadow_enabled, shadow_done })
        };
        for (flags, expected) in [
            // Supported and encrypting, nobody has taken it into use.
            (0x09, state(false, false, false, false)),
            (0x0b, state(true, false, false, false)),
            (0x0f, state(true, true, false, false)),
            (0x1f, state(true, true, true, false)),
            (0x3b, state(true, false, true, true)),
        ] {
            assert_eq!(locking(&answer(flags)), expected, "{flags:#x}");
        }
    }

    #[test]
    fn a_disk_that_says_nothing_has_not_said_that_it_is_open() {
        let mut without = answer(0);
        // The feature's code becomes that of another one.
        without[HEADER_BYTES + 17] = 0x07;
        assert_eq!(locking(&without), Outcome::Absent);
        let mut twice = answer(0x09);
        twice[HEADER_BYTES + 1] = 0x02;
        let whole = answer(0x0f);
        let cut = &whole[..HEADER_BYTES + 20];
        let mut long = whole.clone();
        long[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        long[HEADER_BYTES + 17] = 0x07;
        let mut blank = [0; DISCOVERY_BYTES];
        blank[3] = 0x3c;
        for (what, data) in [
            ("nothing", &[][..]),
            ("zeros", &[0; DISCOVERY_BYTES][..]),
            ("zeros with a length", &blank),
            ("features beyond what came", &long),
            ("two locking features", &twice),
            ("cut in a feature", cut),
            ("cut in the header", &whole[..HEADER_BYTES]),
        ] {
            assert!(matches!(locking(data), Outcome::Unreadable(_)), "{what}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = locking(&data);
        }

        #[test]
        fn an_answer_that_was_cut_is_never_absent(length in 0_usize..130, flags in any::<u8>()) {
            prop_assert!(locking(&answer(flags)[..length]) != Outcome::Absent);
        }
    }
}
