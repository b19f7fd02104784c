//! Opening an ATA disk that an erase of ours left with our password, as a power cut does.
//!
//! Nothing is erased by it and nothing gets lost: the disk is again as it was before the password was
//! set. A disk with somebody else's password refuses ours and stays as it is.

use std::io;

use erasure::ata::identify::Identify;
use erasure::ata::security::{self, Next};

use super::ata_port::AtaPort;

/// A password is taken in no time; disks that wake up first need some, in milliseconds.
pub const PASSWORD_TIMEOUT_MILLIS: u32 = 60_000;
/// Unlock and disable; whatever needs more steps goes in circles.
const STEPS_MAX: usize = 2;

/// Opens the disk if it has a password and it is ours; what counts is that IDENTIFY DEVICE says
/// afterwards that it has none. The answer is what the disk says of itself then.
///
/// # Errors
/// When the disk cannot be asked, its security commands are frozen, or the password is not ours.
pub fn open(disk: &AtaPort<'_>) -> io::Result<Identify> {
    let mut identify = disk.identify()?;
    for _ in 0..STEPS_MAX {
        let command = match security::next_to_open(&identify).map_err(io::Error::other)? {
            Next::Open => return Ok(identify),
            Next::Unlock => security::unlock(),
            Next::Disable => security::disable_password(),
        };
        disk.write_sector(&command, &security::password_block(), PASSWORD_TIMEOUT_MILLIS).map_err(|error| {
            io::Error::other(format!(
                "the disk has a password and does not take ours: {error}; remove the password with the program that set it"
            ))
        })?;
        identify = disk.identify()?;
    }
    match security::next_to_open(&identify).map_err(io::Error::other)? {
        Next::Open => Ok(identify),
        Next::Unlock | Next::Disable => Err(io::Error::other(
            "the disk took our password and still has one; power the machine off and on, then try again",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fake_ata::FakeAta;

    fn ours() -> [u8; 32] {
        security::password_block()[2..34].try_into().unwrap()
    }

    #[test]
    fn our_password_is_taken_away_and_a_foreign_one_is_not_touched() {
        // Enabled; enabled and locked.
        for word in [0b11, 0b111] {
            let fake = FakeAta::with_security();
            fake.password.set(ours());
            fake.security.set(word);
            let identify = open(&AtaPort::new(&fake)).unwrap();
            assert!(!identify.security_enabled && !identify.security_locked, "{word:#b}");

            fake.password.set([7; 32]);
            fake.security.set(word);
            let refused = open(&AtaPort::new(&fake)).unwrap_err().to_string();
            assert!(refused.contains("does not take ours"), "{refused}");
            assert_eq!(fake.security.get(), word);
        }
    }

    #[test]
    fn a_disk_without_a_password_is_only_asked() {
        let fake = FakeAta::with_security();
        open(&AtaPort::new(&fake)).unwrap();
        fake.security.set(0b1001);
        open(&AtaPort::new(&fake)).unwrap();
        assert_eq!(*fake.commands.borrow(), [0xec, 0xec]);
    }

    #[test]
    fn frozen_or_expired_security_is_named() {
        for (word, why) in [(0b1111, "frozen"), (0b1_0111, "no more passwords")] {
            let fake = FakeAta::with_security();
            fake.security.set(word);
            assert!(open(&AtaPort::new(&fake)).unwrap_err().to_string().contains(why));
        }
    }
}
