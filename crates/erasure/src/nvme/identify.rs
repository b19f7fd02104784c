//! Identify Controller and Identify Namespace, as far as erasing needs them.

use contract::inventory::{NvmeCapabilities, SeparateMemory};
use contract::reading::Outcome;

use super::separate_memory::SeparateMemories;

/// Identify data structures are this long, in bytes (NVM Express Base Specification, Identify command).
pub const IDENTIFY_BYTES: usize = 4096;

/// What a controller says it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Controller {
    /// OACS (bytes 256-257) bit 0: Security Send and Security Receive.
    pub security: bool,
    /// OACS bit 1: Format NVM.
    pub format: bool,
    /// OACS bit 3: Namespace Management, so that namespaces may exist that are not attached.
    pub manages_namespaces: bool,
    /// Memory beside the blocks, which no erase reaches.
    pub separate: SeparateMemories,
    /// SANICAP (bytes 328-331) bit 0: cryptographic erase by Sanitize.
    pub sanitize_crypto: bool,
    /// SANICAP bit 1: block erase by Sanitize.
    pub sanitize_block: bool,
    /// SANICAP bit 2: overwrite by Sanitize.
    pub sanitize_overwrite: bool,
    /// FNA (byte 524) bit 0: a format applies to all namespaces.
    pub format_covers_all_namespaces: bool,
    /// FNA bit 1: a secure erase by format applies to all namespaces.
    pub erase_covers_all_namespaces: bool,
    /// FNA bit 2: cryptographic erase as part of a format.
    pub format_crypto: bool,
    /// NWPC (byte 531) bit 0: namespaces can be write-protected, and the feature says whether they are.
    pub write_protection: bool,
}

impl Controller {
    /// Reads Identify Controller (CNS 01h); none if the data end too early.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let oacs = u16::from_le_bytes([*data.get(256)?, *data.get(257)?]);
        let sanicap = *data.get(328)?;
        let fna = *data.get(524)?;
        Some(Self {
            security: oacs & 1 != 0,
            format: oacs & 0b10 != 0,
            manages_namespaces: oacs & 0b1000 != 0,
            separate: SeparateMemories::parse(data)?,
            sanitize_crypto: sanicap & 0b001 != 0,
            sanitize_block: sanicap & 0b010 != 0,
            sanitize_overwrite: sanicap & 0b100 != 0,
            format_covers_all_namespaces: fna & 0b001 != 0,
            erase_covers_all_namespaces: fna & 0b010 != 0,
            format_crypto: fna & 0b100 != 0,
            write_protection: data.get(531)? & 1 != 0,
        })
    }

    /// Whether there is any sanitize operation; only then does the controller have log page 81h.
    #[must_use]
    pub fn sanitizes(&self) -> bool {
        self.sanitize_crypto || self.sanitize_block || self.sanitize_overwrite
    }

    /// Which namespaces to list (CNS of Identify): those allocated on the subsystem where namespaces
    /// are managed, else those active on the controller, which are then all that exist.
    #[must_use]
    pub fn namespace_list(&self) -> u32 {
        if self.manages_namespaces {
            super::admin::CNS_ALLOCATED_NAMESPACES
        } else {
            super::admin::CNS_ACTIVE_NAMESPACES
        }
    }

    /// The same as facts for the inventory, with what counting the namespaces gave and what is known of
    /// boot partitions.
    #[must_use]
    pub fn capabilities(
        &self,
        namespaces: Outcome<u32>,
        boot_partitions: Outcome<SeparateMemory>,
    ) -> NvmeCapabilities {
        NvmeCapabilities {
            format: self.format,
            format_covers_all_namespaces: self.format_covers_all_namespaces,
            erase_covers_all_namespaces: self.erase_covers_all_namespaces,
            crypto_erase: self.format_crypto,
            namespaces,
            replay_protected: self.separate.replay_protected.map_or(Outcome::Absent, Outcome::Value),
            boot_partitions,
        }
    }
}

/// What a namespace says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace {
    /// NLBAF (byte 25): how many LBA formats there are, less one.
    pub formats_less_one: u8,
    /// FLBAS (byte 26): the LBA format in use and where its metadata lie.
    pub format_in_use: u8,
    /// DPS (byte 29): the end-to-end protection in use.
    pub protection: u8,
    /// NSATTR (byte 99) bit 0: it is write-protected now.
    pub write_protected: bool,
}

impl Namespace {
    /// Reads Identify Namespace (CNS 00h); none if the data end too early, or if they describe no
    /// namespace: one that is not active answers with zeros, and has a size (NSZE, bytes 0-7) of none.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let size = data.get(0..8)?;
        if size.iter().all(|byte| *byte == 0) {
            return None;
        }
        Some(Self {
            formats_less_one: *data.get(25)?,
            format_in_use: *data.get(26)?,
            protection: *data.get(29)?,
            write_protected: data.get(99)? & 1 != 0,
        })
    }
}

/// Entries of a namespace list up to the first zero.
#[must_use]
pub fn count_namespaces(data: &[u8]) -> u32 {
    let used = data.chunks_exact(4).take_while(|id| id.iter().any(|&byte| byte != 0)).count();
    u32::try_from(used).unwrap_or(u32::MAX)
}

/// Dword 0 of the answer to Get Features 84h, Namespace Write Protection Config: bits 2:0 are 0 when
/// writes are allowed; every other state, those reserved included, counts as protected.
#[must_use]
pub fn is_write_protected(feature: u32) -> bool {
    feature & 0b111 != 0
}
