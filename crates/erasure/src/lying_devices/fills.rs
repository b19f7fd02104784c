//! What stands in the blocks of a disk: what an honest erase leaves, and what a tenant wrote.

use super::device::BLOCK;
use crate::command::{DeviceCommand, SanitizeAction};

/// With which byte an honest device fills; none for a new key.
pub(super) fn leaves(command: DeviceCommand) -> Option<u8> {
    match command {
        DeviceCommand::NvmeFormat { crypto: true }
        | DeviceCommand::AtaSecurityErase { enhanced: true }
        | DeviceCommand::NvmeSanitize(SanitizeAction::Crypto)
        | DeviceCommand::AtaSanitize(SanitizeAction::Crypto)
        | DeviceCommand::ScsiSanitize(SanitizeAction::Crypto) => None,
        DeviceCommand::NvmeFormat { crypto: false }
        | DeviceCommand::NvmeSanitize(SanitizeAction::Block)
        | DeviceCommand::AtaSanitize(SanitizeAction::Block)
        | DeviceCommand::ScsiSanitize(SanitizeAction::Block) => Some(0xff),
        DeviceCommand::AtaSecurityErase { enhanced: false }
        | DeviceCommand::NvmeSanitize(SanitizeAction::Overwrite)
        | DeviceCommand::AtaSanitize(SanitizeAction::Overwrite)
        | DeviceCommand::ScsiSanitize(SanitizeAction::Overwrite)
        | DeviceCommand::ScsiWriteSame => Some(0),
    }
}

/// The text of a tenant in this block.
pub(super) fn tenant_text(number: usize) -> Vec<u8> {
    let line = format!("secret of tenant a, block {number:07}. ").into_bytes();
    let mut text = line.repeat(BLOCK / line.len() + 1);
    text.truncate(BLOCK);
    text
}
