//! The commands with which a device erases itself, and what it says of them.
//!
//! A method is one command or two in a row; the run asks for each, polls until the device says that it
//! is done, and only then goes on. The binary sends it.

use contract::plan::EraseMethod;
use serde::{Deserialize, Serialize};

/// Which of the three sanitize operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SanitizeAction {
    /// Block erase.
    Block,
    /// Cryptographic erase.
    Crypto,
    /// Overwrite with zeros, one pass.
    Overwrite,
}

/// A command with which a device erases itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceCommand {
    /// NVMe Format NVM; answered when it is done.
    NvmeFormat {
        /// Secure Erase Settings 2 rather than 1.
        crypto: bool,
    },
    /// NVMe Sanitize, restricted failure mode (AUSE 0).
    NvmeSanitize(SanitizeAction),
    /// ATA SANITIZE DEVICE.
    AtaSanitize(SanitizeAction),
    /// ATA SECURITY ERASE UNIT; answered when it is done.
    AtaSecurityErase {
        /// Enhanced rather than normal.
        enhanced: bool,
    },
    /// SCSI SANITIZE, immediate, restricted failure mode (AUSE 0).
    ScsiSanitize(SanitizeAction),
    /// SCSI WRITE SAME (16) of zeros over the whole disk, piece by piece; each is answered when it is
    /// done.
    ScsiWriteSame,
}

impl DeviceCommand {
    /// Whether the device goes on with it after a reset or a power cut, and remembers how it ended
    /// (sanitize commands do, whatever the interface).
    #[must_use]
    pub fn outlives_a_reset(self) -> bool {
        match self {
            Self::NvmeSanitize(_) | Self::AtaSanitize(_) | Self::ScsiSanitize(_) => true,
            Self::NvmeFormat { .. } | Self::AtaSecurityErase { .. } | Self::ScsiWriteSame => false,
        }
    }
}

/// What a device says of the last command of this kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandProgress {
    /// It knows of none: none was ever given to it, or it does not remember.
    Never {
        /// Its status in words and numbers, for the record.
        status: String,
    },
    /// It is at work.
    Running {
        /// How far, in parts of 65536; none where the device does not say.
        progress_65536: Option<u16>,
    },
    /// It says that it is done.
    Done {
        /// Its status in words and numbers, for the record.
        status: String,
    },
    /// It says that it failed. A failed sanitize may make it refuse everything but another one.
    Failed {
        /// Its status in words and numbers.
        status: String,
    },
}

/// The commands that a method consists of, in order; none for an overwrite by the agent, and none where
/// nothing is erased now.
#[must_use]
pub fn commands(method: EraseMethod) -> &'static [DeviceCommand] {
    use DeviceCommand as C;
    use SanitizeAction::{Block, Crypto, Overwrite};
    match method {
        EraseMethod::NvmeFormatUserData => &[C::NvmeFormat { crypto: false }],
        EraseMethod::NvmeFormatCrypto => &[C::NvmeFormat { crypto: true }],
        EraseMethod::NvmeSanitizeBlock => &[C::NvmeSanitize(Block)],
        EraseMethod::NvmeSanitizeCrypto => &[C::NvmeSanitize(Crypto)],
        EraseMethod::NvmeSanitizeCryptoBlock => &[C::NvmeSanitize(Crypto), C::NvmeSanitize(Block)],
        EraseMethod::NvmeSanitizeOverwrite => &[C::NvmeSanitize(Overwrite)],
        EraseMethod::AtaSanitizeBlock => &[C::AtaSanitize(Block)],
        EraseMethod::AtaSanitizeCrypto => &[C::AtaSanitize(Crypto)],
        EraseMethod::AtaSanitizeCryptoBlock => &[C::AtaSanitize(Crypto), C::AtaSanitize(Block)],
        EraseMethod::AtaSanitizeOverwrite => &[C::AtaSanitize(Overwrite)],
        EraseMethod::AtaSecurityErase => &[C::AtaSecurityErase { enhanced: false }],
        EraseMethod::AtaSecurityEraseEnhanced => &[C::AtaSecurityErase { enhanced: true }],
        EraseMethod::ScsiSanitizeBlock => &[C::ScsiSanitize(Block)],
        EraseMethod::ScsiSanitizeCrypto => &[C::ScsiSanitize(Crypto)],
        EraseMethod::ScsiSanitizeCryptoBlock => &[C::ScsiSanitize(Crypto), C::ScsiSanitize(Block)],
        EraseMethod::ScsiSanitizeOverwrite => &[C::ScsiSanitize(Overwrite)],
        EraseMethod::ScsiWriteSame => &[C::ScsiWriteSame],
        EraseMethod::Overwrite | EraseMethod::NvmeFoundClean => &[],
    }
}
