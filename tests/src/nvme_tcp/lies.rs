//! How a device may be worse than it says.

use std::ops::Range;

/// What a device does wrong. The default is an honest device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lies {
    /// How much an erase that ends well has erased.
    pub erase: EraseLie,
    /// How a sanitize goes.
    pub progress: ProgressLie,
    /// It says "Global Data Erased" and "sanitize done" whatever is stored.
    pub claims_erased: bool,
    /// Every namespace is write-protected.
    pub write_protected: bool,
    /// A firmware waits for a reset to become active, so that a sanitize is refused.
    pub firmware_pending: bool,
    /// The same, and nothing says so before.
    pub firmware_hidden: bool,
    /// It answers writes with success and forgets them.
    pub drops_writes: bool,
    /// Bytes of every namespace that cannot be read.
    pub unreadable: Option<Range<u64>>,
    /// The serial number that it has from the next reset on.
    pub serial_after_reset: Option<String>,
    /// It goes off the wire when it is to erase, until its power was off.
    pub disappears: bool,
}

/// How much an erase that ends well has erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EraseLie {
    /// Everything.
    #[default]
    Honest,
    /// Nothing.
    Nothing,
    /// Only so many bytes from the beginning of each namespace.
    First(u64),
    /// Everything but this namespace.
    AllBut(u32),
}

/// How a sanitize goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProgressLie {
    /// To its end.
    #[default]
    Honest,
    /// To this progress, in parts of 65536, and no further.
    StuckAt(u16),
    /// To this progress, in parts of 65536, and fails there.
    FailsAt(u16),
}
