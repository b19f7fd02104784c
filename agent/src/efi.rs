//! What UEFI firmware remembers from boot to boot, as far as it matters to us: its boot entries.

pub mod boot_entry;
pub mod load_option;
pub mod variables;
