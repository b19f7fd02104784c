//! Log page 81h, Sanitize Status.

use contract::inventory::SanitizeState;
use contract::plan::EraseMethod;

use super::identify::Controller;
use crate::command::{CommandProgress, SanitizeAction};
use crate::run::SaidClean;

/// Length of the log page in bytes.
pub const LOG_BYTES: u16 = 512;
/// "No time reported".
const NOT_REPORTED: u32 = 0xffff_ffff;
/// The estimate for an overwrite (ETO) is for this many passes, we do one.
const PASSES_OF_ESTIMATE: u32 = 16;

/// What the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SanitizeLog {
    /// SPROG (bytes 0-1): parts of 65536; FFFFh when none is running.
    pub progress_65536: u16,
    /// SSTAT (bytes 2-3) as it came, for the record.
    pub status: u16,
    /// What the last or present sanitize is doing: SSTAT bits 2:0 and, where it ended well, bit 8,
    /// Global Data Erased: set means that nothing was written since.
    pub state: SanitizeState,
    /// SCDW10 (bytes 4-7): dword 10 of the sanitize command that the log is about.
    pub command_dword_10: u32,
    /// ETO (bytes 8-11) for one pass, in seconds; none where the controller does not say.
    pub overwrite_estimate_seconds: Option<u32>,
    /// ETBE (bytes 12-15), in seconds.
    pub block_estimate_seconds: Option<u32>,
    /// ETCE (bytes 16-19), in seconds.
    pub crypto_estimate_seconds: Option<u32>,
}

impl SanitizeLog {
    /// Reads the log.
    ///
    /// # Errors
    /// In words, if the data end too early or the status is one that the specification reserves: a
    /// state that nobody knows must not pass for any that we know.
    pub fn parse(data: &[u8]) -> Result<Self, String> {
        let word = |at: usize| Some(u16::from_le_bytes([*data.get(at)?, *data.get(at + 1)?]));
        let dword = |at: usize| {
            data.get(at..at + 4).and_then(|bytes| Some(u32::from_le_bytes(bytes.try_into().ok()?)))
        };
        let short = || format!("the sanitize log has {} bytes", data.len());
        let progress_65536 = word(0).ok_or_else(short)?;
        let status = word(2).ok_or_else(short)?;
        let erased_since = status & 0x100 != 0;
        let state = match status & 0b111 {
            0 => SanitizeState::Never,
            // 4: as 1, but blocks were deallocated although that was not wanted; erased all the same.
            1 | 4 => SanitizeState::Done { erased_since },
            2 => SanitizeState::Running { progress_65536 },
            3 => SanitizeState::Failed,
            _ => return Err(format!("the sanitize log has the unknown status {status:#06x}")),
        };
        let estimate = |at: usize| dword(at).map(|seconds| (seconds != NOT_REPORTED).then_some(seconds));
        Ok(Self {
            progress_65536,
            status,
            state,
            command_dword_10: dword(4).ok_or_else(short)?,
            overwrite_estimate_seconds: estimate(8)
                .ok_or_else(short)?
                .map(|seconds| seconds.div_ceil(PASSES_OF_ESTIMATE)),
            block_estimate_seconds: estimate(12).ok_or_else(short)?,
            crypto_estimate_seconds: estimate(16).ok_or_else(short)?,
        })
    }

    /// What the log says of a sanitize with this action. That another action (an older one, or somebody
    /// else's) was done says nothing of ours. One that runs is waited for whatever it is, because nothing
    /// else can be done meanwhile, and one that failed counts whatever it was, because the controller
    /// takes nothing but another sanitize until one succeeds.
    #[must_use]
    pub fn progress_of(&self, action: SanitizeAction) -> CommandProgress {
        let status = self.in_words();
        let ours = self.command_dword_10 & 0b111 == super::admin::sanitize_action(action);
        match self.state {
            SanitizeState::Running { progress_65536 } => {
                CommandProgress::Running { progress_65536: Some(progress_65536) }
            }
            SanitizeState::Never => CommandProgress::Never { status },
            SanitizeState::Done { .. } if !ours => CommandProgress::Never { status },
            SanitizeState::Done { .. } => CommandProgress::Done { status },
            SanitizeState::Failed => CommandProgress::Failed { status },
        }
    }

    /// Which sanitize the log is about; none where it is none that erases.
    #[must_use]
    pub fn sanitized_by(&self) -> Option<EraseMethod> {
        let action = self.command_dword_10 & 0b111;
        let is = |one| super::admin::sanitize_action(one) == action;
        [
            (SanitizeAction::Block, EraseMethod::NvmeSanitizeBlock),
            (SanitizeAction::Crypto, EraseMethod::NvmeSanitizeCrypto),
            (SanitizeAction::Overwrite, EraseMethod::NvmeSanitizeOverwrite),
        ]
        .into_iter()
        .find_map(|(one, method)| is(one).then_some(method))
    }

    /// The controller's word that a sanitize ended well and that nothing was written since.
    ///
    /// # Errors
    /// In words, when the log says anything else.
    pub fn said_clean(&self) -> Result<SaidClean, String> {
        let status = self.in_words();
        match (self.state, self.sanitized_by()) {
            (SanitizeState::Done { erased_since: true }, Some(sanitized_by)) => {
                Ok(SaidClean { sanitized_by, status })
            }
            (SanitizeState::Done { erased_since: false }, _) => {
                Err(format!("something was written since the last sanitize ({status})"))
            }
            _ => Err(format!("no sanitize that erases ended well ({status})")),
        }
    }

    fn in_words(&self) -> String {
        format!(
            "NVMe sanitize log: SSTAT {:#06x}, SPROG {:#06x}, CDW10 {:#x}",
            self.status, self.progress_65536, self.command_dword_10
        )
    }

    /// The device's own estimate for an action, in seconds; none where it does not say.
    #[must_use]
    pub fn estimate_seconds(&self, action: SanitizeAction) -> Option<u32> {
        match action {
            SanitizeAction::Block => self.block_estimate_seconds,
            SanitizeAction::Crypto => self.crypto_estimate_seconds,
            SanitizeAction::Overwrite => self.overwrite_estimate_seconds,
        }
    }

    /// The same as facts for the inventory. `firmware_pending` and `write_protected` come from log 03h
    /// and the namespace.
    ///
    /// The persistent memory region, the remaining obstacle, shows only in the controller's registers
    /// (PMRCTL), which the kernel lets nobody map beside its driver. It is not guessed at: a controller
    /// whose region is enabled refuses the sanitize with a status of its own, which is named then
    /// ([`super::status::in_words`]), and nothing counts as erased.
    #[must_use]
    pub fn capabilities(
        &self,
        controller: &Controller,
        firmware_pending: bool,
        write_protected: bool,
    ) -> contract::inventory::SanitizeCapabilities {
        use contract::inventory::SanitizeObstacle as Obstacle;
        let running = matches!(self.state, SanitizeState::Running { .. });
        let obstacles = [
            (write_protected, Obstacle::NamespaceWriteProtected),
            (firmware_pending, Obstacle::FirmwareActivationPending),
            (running, Obstacle::SanitizeRunning),
        ];
        contract::inventory::SanitizeCapabilities {
            block: controller.sanitize_block,
            crypto: controller.sanitize_crypto,
            overwrite: controller.sanitize_overwrite,
            block_estimate_seconds: self.block_estimate_seconds,
            crypto_estimate_seconds: self.crypto_estimate_seconds,
            overwrite_estimate_seconds: self.overwrite_estimate_seconds,
            state: self.state,
            obstacles: obstacles.into_iter().filter(|(there, _)| *there).map(|(_, one)| one).collect(),
            sanitized_by: self.sanitized_by(),
        }
    }
}
