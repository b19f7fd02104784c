//! SANITIZE DEVICE (ACS-4, B4h).

use contract::inventory::{SanitizeCapabilities, SanitizeObstacle, SanitizeState};

use super::identify::Identify;
use super::pass_through::{Command, Registers};
use crate::command::{CommandProgress, SanitizeAction};

/// The command register of all of them.
const SANITIZE_DEVICE: u8 = 0xb4;
/// Why a sanitize command was aborted (LBA bits 7:0): the last operation failed.
const REASON_FAILED: u64 = 0x01;
/// Why it was aborted: the disk is frozen.
const REASON_FROZEN: u64 = 0x03;

/// SANITIZE STATUS EXT. It changes nothing: bit 0 of the count, which would clear a failure, is 0.
#[must_use]
pub fn status_command() -> Command {
    Command::extended("SANITIZE STATUS EXT", SANITIZE_DEVICE, 0x0000, 0, 0)
}

/// The command that starts an operation. Bit 4 of the count, FAILURE MODE, is 0: a failed operation can
/// only be left by one that succeeds.
#[must_use]
pub fn start_command(action: SanitizeAction) -> Command {
    match action {
        SanitizeAction::Crypto => {
            Command::extended("CRYPTO SCRAMBLE EXT", SANITIZE_DEVICE, 0x0011, 0, key(*b"Cryp"))
        }
        SanitizeAction::Block => {
            Command::extended("BLOCK ERASE EXT", SANITIZE_DEVICE, 0x0012, 0, key(*b"BkEr"))
        }
        // The key in LBA bits 47:32, the pattern, zeros, in bits 31:0; one pass in count bits 3:0.
        SanitizeAction::Overwrite => {
            Command::extended("OVERWRITE EXT", SANITIZE_DEVICE, 0x0014, 1, key(*b"\0\0OW") << 32)
        }
    }
}

fn key(letters: [u8; 4]) -> u64 {
    u64::from(u32::from_be_bytes(letters))
}

/// What SANITIZE STATUS EXT says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SanitizeStatus {
    /// Count bit 15: the last operation ended well.
    pub succeeded: bool,
    /// Count bit 14, with the progress in LBA bits 15:0, parts of 65536.
    pub running: Option<u16>,
    /// The command was aborted because the last operation failed.
    pub failed: bool,
    /// Count bit 13: frozen until the next power cycle.
    pub frozen: bool,
    /// The registers, for the record.
    registers: Registers,
}

impl SanitizeStatus {
    /// Reads the registers that SANITIZE STATUS EXT left.
    ///
    /// # Errors
    /// In words, if they are not complete, or the command was aborted for another reason than a failed
    /// operation or a freeze lock.
    pub fn parse(registers: Registers) -> Result<Self, String> {
        let mut status = Self { succeeded: false, running: None, failed: false, frozen: false, registers };
        match registers.completed(&status_command()) {
            Ok(_) if !registers.complete => {
                return Err("SANITIZE STATUS EXT gave only half of the registers back".to_owned());
            }
            Ok(_) => {
                let bit = |number: u32| registers.count & (1 << number) != 0;
                status.succeeded = bit(15);
                // 16 bits by construction.
                status.running = bit(14).then_some((registers.lba & 0xffff) as u16);
                status.frozen = bit(13);
            }
            Err(why) => match registers.lba & 0xff {
                REASON_FAILED if registers.is_aborted() => status.failed = true,
                REASON_FROZEN if registers.is_aborted() => status.frozen = true,
                _ => return Err(why),
            },
        }
        Ok(status)
    }

    /// Where the disk's sanitize is. A failure comes first, then a running operation: a disk that
    /// claims success besides is not believed.
    #[must_use]
    pub fn state(&self) -> SanitizeState {
        match (self.failed, self.running, self.succeeded) {
            (true, _, _) => SanitizeState::Failed,
            (false, Some(progress_65536), _) => SanitizeState::Running { progress_65536 },
            // ACS has no word for "nothing was written since".
            (false, None, true) => SanitizeState::Done { erased_since: false },
            (false, None, false) => SanitizeState::Never,
        }
    }

    /// What the disk says of the operation that it was given last.
    #[must_use]
    pub fn progress(&self) -> CommandProgress {
        let status = format!(
            "ATA SANITIZE STATUS EXT: count {:#06x}, LBA {:#x}, status {:#04x}, error {:#04x}",
            self.registers.count, self.registers.lba, self.registers.status, self.registers.error
        );
        match self.state() {
            SanitizeState::Failed => CommandProgress::Failed { status },
            SanitizeState::Running { progress_65536 } => {
                CommandProgress::Running { progress_65536: Some(progress_65536) }
            }
            SanitizeState::Done { .. } => CommandProgress::Done { status },
            SanitizeState::Never => CommandProgress::Never { status },
        }
    }

    /// The same as facts for the inventory. ATA disks give no estimates for a sanitize.
    #[must_use]
    pub fn capabilities(&self, identify: &Identify) -> SanitizeCapabilities {
        let obstacles = [
            (self.running.is_some(), SanitizeObstacle::SanitizeRunning),
            (self.frozen, SanitizeObstacle::Frozen),
        ];
        SanitizeCapabilities {
            block: identify.sanitize_block,
            crypto: identify.sanitize_crypto,
            overwrite: identify.sanitize_overwrite,
            block_estimate_seconds: None,
            crypto_estimate_seconds: None,
            overwrite_estimate_seconds: None,
            state: self.state(),
            obstacles: obstacles.into_iter().filter(|(there, _)| *there).map(|(_, one)| one).collect(),
            sanitized_by: None,
        }
    }
}
