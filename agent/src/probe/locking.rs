//! Whether a self-encrypting disk is locked (TCG Level 0 Discovery).

use std::io;

use contract::inventory::LockingState;
use contract::reading::Outcome;
use erasure::nvme::admin::CNS_CONTROLLER;
use erasure::nvme::identify::Controller;
use erasure::opal::{self, DISCOVERY_BYTES};
use erasure::scsi::inquiry;
use erasure::scsi::sense::{
    INVALID_FIELD, INVALID_OPERATION_CODE, KEY_ILLEGAL_REQUEST, KEY_UNIT_ATTENTION, Sense,
};

use super::ata_port::AtaPort;
use super::nvme_admin::{NvmePort, READ_TIMEOUT_MILLIS};
use super::scsi_facts::refused;
use super::scsi_generic::{self, Data, ScsiPort};

/// A disk reports what happened to it once for each; more are not waited for.
const ATTENTIONS_MAX: usize = 4;

/// Of an NVMe controller; absent where it has no Security Receive.
#[must_use]
pub fn of_nvme(port: &dyn NvmePort) -> Outcome<LockingState> {
    let controller = match port.identify(CNS_CONTROLLER, 0) {
        Ok(data) => Controller::parse(&data),
        Err(error) => return Outcome::Unreadable(format!("cannot read Identify Controller: {error}")),
    };
    match controller {
        Some(controller) if !controller.security => Outcome::Absent,
        Some(_) => {
            let mut data = vec![0; DISCOVERY_BYTES];
            match port.admin(opal::security_receive(), &mut data, READ_TIMEOUT_MILLIS) {
                Ok(_) => opal::locking(&data),
                Err(error) => Outcome::Unreadable(format!("cannot read Level 0 Discovery: {error}")),
            }
        }
        None => Outcome::Unreadable("the Identify Controller data are too short".to_owned()),
    }
}

/// Of an ATA disk; absent where it has no Trusted Computing feature set.
#[must_use]
pub fn of_ata(disk: &AtaPort<'_>) -> Outcome<LockingState> {
    match disk.identify() {
        Ok(identify) if !identify.trusted_computing => Outcome::Absent,
        // It says that it has it, so a refusal is not "none".
        Ok(_) => asked(disk.translator()).unwrap_or_else(|refusal| {
            Outcome::Unreadable(format!(
                "the disk has a Trusted Computing feature set and the question for it was refused: {refusal}"
            ))
        }),
        Err(error) => Outcome::Unreadable(format!("cannot read IDENTIFY DEVICE: {error}")),
    }
}

/// Of a SCSI disk; absent where the disk itself does not know the question. A translator knows only what
/// it translates, and then nobody has asked the disk.
#[must_use]
pub fn of_scsi(port: &dyn ScsiPort) -> Outcome<LockingState> {
    let refusal = match asked(port) {
        Ok(found) => return found,
        Err(refusal) => refusal,
    };
    match is_translated(port) {
        Ok(false) => Outcome::Absent,
        Ok(true) => Outcome::Unreadable(format!(
            "the translator before the disk does not know the question: {refusal}"
        )),
        Err(error) => Outcome::Unreadable(format!(
            "the question was refused, and whether by the disk or by a translator before it is not known: {error}"
        )),
    }
}

/// The answer to Level 0 Discovery.
///
/// # Errors
/// The refusal, if the question is not known: the command is not, or this security protocol is not.
fn asked(port: &dyn ScsiPort) -> Result<Outcome<LockingState>, io::Error> {
    let mut data = vec![0; DISCOVERY_BYTES];
    for _ in 0..ATTENTIONS_MAX {
        let question = opal::security_protocol_in();
        let answer = match port.send(&question, Data::In(&mut data), scsi_generic::READ_TIMEOUT_MILLIS) {
            Ok(answer) => answer,
            Err(error) => {
                return Ok(Outcome::Unreadable(format!("cannot read Level 0 Discovery: {error}")));
            }
        };
        if answer.status == 0 {
            return Ok(opal::locking(data.get(..answer.moved_bytes).unwrap_or(&data)));
        }
        match Sense::parse(&answer.sense) {
            Some(Sense { key: KEY_ILLEGAL_REQUEST, additional, deferred: false, .. })
                if [INVALID_OPERATION_CODE, INVALID_FIELD].contains(&additional) =>
            {
                return Err(refused("SECURITY PROTOCOL IN", &answer));
            }
            Some(Sense { key: KEY_UNIT_ATTENTION, .. }) => {}
            _ => return Ok(Outcome::Unreadable(refused("SECURITY PROTOCOL IN", &answer).to_string())),
        }
    }
    Ok(Outcome::Unreadable("the disk reports one event after another; look again".to_owned()))
}

/// Whether a translator to ATA answers for the disk, as its INQUIRY data say.
fn is_translated(port: &dyn ScsiPort) -> io::Result<bool> {
    let mut data = [0; inquiry::DATA_BYTES as usize];
    let answer = port.send(&inquiry::command(), Data::In(&mut data), scsi_generic::READ_TIMEOUT_MILLIS)?;
    if answer.status != 0 {
        return Err(refused("INQUIRY", &answer));
    }
    inquiry::is_translated(data.get(..answer.moved_bytes).unwrap_or(&data))
        .ok_or_else(|| io::Error::other(format!("INQUIRY gave {} bytes", answer.moved_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake_ata::FakeAta;
    use crate::probe::fake_nvme::FakeNvme;
    use crate::probe::fake_scsi::FakeScsi;

    /// An answer whose only feature is Locking with these flags.
    fn discovery(flags: u8) -> Vec<u8> {
        let mut data = vec![0, 0, 0, 60];
        data.resize(48, 0);
        data.extend([0x00, 0x02, 0x10, 0x0c, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        data
    }

    fn is_locked(found: &Outcome<LockingState>) -> bool {
        found.value().is_some_and(|state| state.locked)
    }

    fn is_unreadable(found: &Outcome<LockingState>) -> bool {
        matches!(found, Outcome::Unreadable(_))
    }

    #[test]
    fn an_nvme_disk_is_asked_where_it_says_that_it_can_be() {
        let mut fake = FakeNvme::without_sanitize();
        assert_eq!(of_nvme(&fake), Outcome::Absent);
        fake.set_discovery(discovery(0x0f));
        assert!(is_locked(&of_nvme(&fake)));
        fake.set_discovery(discovery(0x09));
        assert!(of_nvme(&fake).value().is_some_and(|state| !state.enabled && !state.locked));
        fake.set_discovery(Vec::new());
        assert!(is_unreadable(&of_nvme(&fake)), "zeros are no answer");
        fake.refuses = vec![opal::OPCODE_SECURITY_RECEIVE];
        assert!(is_unreadable(&of_nvme(&fake)));
        fake.refuses = vec![erasure::nvme::admin::OPCODE_IDENTIFY];
        assert!(is_unreadable(&of_nvme(&fake)));
    }

    #[test]
    fn a_scsi_disk_that_does_not_know_the_question_has_no_locking() {
        let mut fake = FakeScsi::with_sanitize(&[]);
        assert_eq!(of_scsi(&fake), Outcome::Absent);
        // The protocol is not known; the command is.
        fake.discovery_refused.set((5, 0x24, 0));
        assert_eq!(of_scsi(&fake), Outcome::Absent);
        fake.discovery = Some(discovery(0x1f));
        fake.attentions.set(2);
        assert!(is_locked(&of_scsi(&fake)));
        fake.attentions.set(100);
        assert!(is_unreadable(&of_scsi(&fake)));
        fake.attentions.set(0);
        fake.discovery = Some(vec![0; 10]);
        assert!(is_unreadable(&of_scsi(&fake)));
    }

    #[test]
    fn who_does_not_know_the_question_or_refuses_otherwise_has_not_said_that_there_is_none() {
        let fake = FakeScsi::with_sanitize(&[]);
        fake.vendor.set(Some(*b"ATA     "));
        assert!(is_unreadable(&of_scsi(&fake)), "a translator answers for itself");
        fake.vendor.set(None);
        assert!(is_unreadable(&of_scsi(&fake)), "nobody knows who answers");
        fake.vendor.set(Some(*b"QEMU    "));
        for refused in [(5, 0x2c, 0), (5, 0x26, 0), (5, 0x20, 2), (5, 0x24, 1), (7, 0x20, 0), (2, 4, 0)] {
            fake.discovery_refused.set(refused);
            assert!(is_unreadable(&of_scsi(&fake)), "{refused:x?}");
        }
    }

    #[test]
    fn an_ata_disk_that_has_the_feature_set_and_refuses_is_not_open() {
        let mut fake = FakeAta::plain();
        assert_eq!(of_ata(&AtaPort::new(&fake)), Outcome::Absent);
        fake.trusted_word = 0x4001;
        assert!(is_unreadable(&of_ata(&AtaPort::new(&fake))));
        fake.discovery = Some(discovery(0x0f));
        assert!(is_locked(&of_ata(&AtaPort::new(&fake))));
        // Bits 15:14 say whether the word means anything.
        fake.trusted_word = 0x0001;
        assert_eq!(of_ata(&AtaPort::new(&fake)), Outcome::Absent);
    }
}
