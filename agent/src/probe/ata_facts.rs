//! What an ATA disk can do: sanitize, security, and what it hides.

use std::io;

use contract::inventory::{AtaCapabilities, SanitizeCapabilities};
use contract::reading::Outcome;
use erasure::ata::hidden;
use erasure::ata::identify::Identify;
use erasure::ata::sanitize::{self, SanitizeStatus};

use super::ata_port::AtaPort;
use super::scsi_generic::READ_TIMEOUT_MILLIS;

/// What the disk can do. One that does not answer IDENTIFY DEVICE is asked nothing else.
#[must_use]
pub fn read(disk: &AtaPort<'_>) -> (Outcome<AtaCapabilities>, Outcome<SanitizeCapabilities>) {
    match disk.identify() {
        Ok(identify) => {
            let hidden = Outcome::from(hidden_bytes(disk, &identify));
            (Outcome::Value(identify.capabilities(hidden)), sanitize(disk, &identify))
        }
        Err(error) => {
            let why = format!("cannot read IDENTIFY DEVICE: {error}");
            (Outcome::Unreadable(why.clone()), Outcome::Unreadable(why))
        }
    }
}

/// Asks only for what the disk says that it has; a disk without any of the three hides nothing.
fn hidden_bytes(disk: &AtaPort<'_>, identify: &Identify) -> Result<u64, String> {
    let native =
        match (identify.accessible_max_address, identify.host_protected_area, identify.long_addresses) {
            (true, _, _) => Some(hidden::get_native_max()),
            (false, true, true) => Some(hidden::read_native_max()),
            (false, true, false) => {
                return Err("the disk is too old to be asked for its native size".to_owned());
            }
            (false, false, _) => None,
        };
    let native_sectors = native
        .map(|command| {
            let registers = disk.complete(&command, READ_TIMEOUT_MILLIS).map_err(in_words)?;
            hidden::native_sectors(registers)
        })
        .transpose()?;
    let overlay_sectors = identify
        .configuration_overlay
        .then(|| {
            let data = disk.read_sector(&hidden::configuration_identify()).map_err(in_words)?;
            hidden::configuration_sectors(&data)
        })
        .transpose()?;
    hidden::hidden_bytes(identify, native_sectors, overlay_sectors)
}

fn sanitize(disk: &AtaPort<'_>, identify: &Identify) -> Outcome<SanitizeCapabilities> {
    if !identify.sanitize {
        return Outcome::Absent;
    }
    Outcome::from(sanitize_status(disk).map(|status| status.capabilities(identify)))
}

/// SANITIZE STATUS EXT.
///
/// # Errors
/// When it did not get through or the disk answers what makes no sense.
pub fn sanitize_status(disk: &AtaPort<'_>) -> io::Result<SanitizeStatus> {
    let registers = disk.send(&sanitize::status_command(), READ_TIMEOUT_MILLIS)?;
    SanitizeStatus::parse(registers).map_err(io::Error::other)
}

fn in_words(error: io::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake_ata::FakeAta;
    use contract::inventory::{SanitizeObstacle, SanitizeState};

    fn facts(fake: &FakeAta) -> (Outcome<AtaCapabilities>, Outcome<SanitizeCapabilities>) {
        read(&AtaPort::new(fake))
    }

    fn hidden(fake: &FakeAta) -> Outcome<u64> {
        match facts(fake).0 {
            Outcome::Value(ata) => ata.hidden_bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_disk_is_asked_for_identify_alone() {
        let fake = FakeAta::plain();
        let (ata, sanitize) = facts(&fake);
        let Outcome::Value(ata) = ata else { panic!("{ata:?}") };
        assert!(!ata.security_supported);
        assert_eq!((ata.hidden_bytes, sanitize), (Outcome::Value(0), Outcome::Absent));
        assert_eq!(*fake.commands.borrow(), [0xec]);
    }

    #[test]
    fn security_and_sanitize_are_seen() {
        let mut fake = FakeAta::plain();
        fake.sanitize_word = 0xf000;
        fake.security.set(0b10_1011);
        fake.sanitize_registers.set(FakeAta::SANITIZE_FROZEN);
        let (ata, sanitize) = facts(&fake);
        let (Outcome::Value(ata), Outcome::Value(sanitize)) = (ata, sanitize) else { panic!("unread") };
        assert!(ata.security_supported && ata.security_enabled && ata.security_frozen && ata.enhanced_erase);
        assert!(!ata.security_locked);
        assert_eq!(
            (sanitize.state, sanitize.obstacles),
            (SanitizeState::Never, vec![SanitizeObstacle::Frozen])
        );
        assert!(sanitize.block && sanitize.crypto && sanitize.overwrite);
    }

    #[test]
    fn hidden_areas_are_counted_and_refusals_are_not_nothing() {
        let mut fake = FakeAta::plain();
        fake.native_sectors = Some(FakeAta::SECTORS + 10);
        assert_eq!(hidden(&fake), Outcome::Value(5120));
        fake.overlay_sectors = Some(1);
        let Outcome::Unreadable(why) = hidden(&fake) else { panic!("accepted an overlay of one sector") };
        assert!(why.contains("overlay says 1"), "{why}");
        fake.overlay_sectors = None;
        fake.aborts = vec![0x27];
        let Outcome::Unreadable(why) = hidden(&fake) else { panic!("a refusal is not zero") };
        assert!(why.contains("aborted READ NATIVE MAX"), "{why}");
    }

    #[test]
    fn a_bridge_that_says_good_to_everything_is_not_believed() {
        let mut fake = FakeAta::plain();
        fake.good_without_registers = true;
        fake.native_sectors = Some(FakeAta::SECTORS);
        fake.sanitize_word = 0xf000;
        assert!(matches!(hidden(&fake), Outcome::Unreadable(_)));
        assert!(matches!(facts(&fake).1, Outcome::Unreadable(_)));
    }

    #[test]
    fn a_disk_that_does_not_identify_is_unreadable() {
        let mut fake = FakeAta::plain();
        fake.aborts = vec![0xec];
        assert!(matches!(facts(&fake), (Outcome::Unreadable(_), Outcome::Unreadable(_))));
    }
}
