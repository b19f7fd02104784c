//! Admin commands, as dwords.

use super::identify::Namespace;
use crate::command::SanitizeAction;

/// Opcode of Get Log Page.
pub const OPCODE_GET_LOG_PAGE: u8 = 0x02;
/// Opcode of Identify.
pub const OPCODE_IDENTIFY: u8 = 0x06;
/// Opcode of Get Features.
pub const OPCODE_GET_FEATURES: u8 = 0x0a;
/// Opcode of Format NVM.
pub const OPCODE_FORMAT: u8 = 0x80;
/// Opcode of Sanitize.
pub const OPCODE_SANITIZE: u8 = 0x84;

/// Identify: one namespace.
pub const CNS_NAMESPACE: u32 = 0x00;
/// Identify: the controller.
pub const CNS_CONTROLLER: u32 = 0x01;
/// Identify: namespaces active on this controller.
pub const CNS_ACTIVE_NAMESPACES: u32 = 0x02;
/// Identify: namespaces allocated on the subsystem.
pub const CNS_ALLOCATED_NAMESPACES: u32 = 0x10;

/// Log page of firmware slots.
pub const LOG_FIRMWARE_SLOTS: u8 = 0x03;
/// Log page of the sanitize status.
pub const LOG_SANITIZE_STATUS: u8 = 0x81;
/// Feature that says whether a namespace is write-protected.
pub const FEATURE_WRITE_PROTECTION: u32 = 0x84;

/// All namespaces, or none in particular.
pub const NAMESPACE_ALL: u32 = 0xffff_ffff;

/// One admin command, without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdminCommand {
    /// What is to be done.
    pub opcode: u8,
    /// To which namespace; 0 where the command concerns none.
    pub namespace: u32,
    /// Command dword 10.
    pub dword_10: u32,
    /// Command dword 11.
    pub dword_11: u32,
}

/// Identify with 4096 bytes of data.
#[must_use]
pub fn identify(structure: u32, namespace: u32) -> AdminCommand {
    AdminCommand { opcode: OPCODE_IDENTIFY, namespace, dword_10: structure, dword_11: 0 }
}

/// Get Log Page of a whole log of this many bytes, a multiple of four.
#[must_use]
pub fn get_log_page(page: u8, bytes: u16) -> AdminCommand {
    let dwords_less_one = u32::from(bytes / 4).saturating_sub(1);
    AdminCommand {
        opcode: OPCODE_GET_LOG_PAGE,
        namespace: NAMESPACE_ALL,
        dword_10: (dwords_less_one << 16) | u32::from(page),
        dword_11: 0,
    }
}

/// Get Features for the present write protection of a namespace; the answer is in dword 0 of the
/// completion.
#[must_use]
pub fn get_write_protection(namespace: u32) -> AdminCommand {
    AdminCommand { opcode: OPCODE_GET_FEATURES, namespace, dword_10: FEATURE_WRITE_PROTECTION, dword_11: 0 }
}

/// Sanitize in restricted failure mode (AUSE 0: a failed sanitize can only be left by one that
/// succeeds), with deallocation afterwards (NDAS 0: what is read back is then zeros and not the errors
/// of erased flash). An overwrite is one pass of zeros.
#[must_use]
pub fn sanitize(action: SanitizeAction) -> AdminCommand {
    let passes: u32 = match action {
        SanitizeAction::Overwrite => 1,
        SanitizeAction::Block | SanitizeAction::Crypto => 0,
    };
    AdminCommand {
        opcode: OPCODE_SANITIZE,
        namespace: 0,
        dword_10: sanitize_action(action) | (passes << 4),
        dword_11: 0,
    }
}

/// SANACT, dword 10 bits 2:0.
#[must_use]
pub fn sanitize_action(action: SanitizeAction) -> u32 {
    match action {
        SanitizeAction::Block => 2,
        SanitizeAction::Overwrite => 3,
        SanitizeAction::Crypto => 4,
    }
}

/// Format NVM of one namespace that keeps what it has: LBA format (FLBAS), metadata setting (FLBAS
/// bit 4) and protection (DPS). Secure Erase Settings (dword 10 bits 11:9) are 2 for a cryptographic
/// erase and 1 for a user data erase.
#[must_use]
pub fn format(id: u32, namespace: &Namespace, crypto: bool) -> AdminCommand {
    let flbas = u32::from(namespace.format_in_use);
    let protection = u32::from(namespace.protection);
    // FLBAS bits 6:5 are the upper bits only where there are more than 16 formats.
    let upper = if namespace.formats_less_one >= 16 { (flbas >> 5) & 0b11 } else { 0 };
    let settings: u32 = if crypto { 2 } else { 1 };
    AdminCommand {
        opcode: OPCODE_FORMAT,
        namespace: id,
        dword_10: (flbas & 0b1_1111)
            | ((protection & 0b111) << 5)
            | (((protection >> 3) & 1) << 8)
            | (settings << 9)
            | (upper << 12),
        dword_11: 0,
    }
}
