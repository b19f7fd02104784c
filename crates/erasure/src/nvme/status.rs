//! Completion status.

/// A completion status as the kernel gives it (status code in bits 7:0, its type in bits 10:8), in
/// words where it is one that an erase meets, and always as a number.
#[must_use]
pub fn in_words(status: u16) -> String {
    let known = match status & 0x7ff {
        0x001 => Some("the controller has no such command"),
        0x002 => Some("the controller refuses a field of the command"),
        0x00b => Some("there is no such namespace"),
        0x01c => Some("a sanitize failed; only another sanitize is accepted now"),
        0x01d => Some("a sanitize is running"),
        0x020 => Some("the namespace is write-protected"),
        0x023 => Some("the persistent memory region is enabled, which forbids a sanitize; disable it"),
        0x084 => Some("a format is running"),
        0x10a => Some("the controller refuses this format"),
        0x10b | 0x110 | 0x111 => Some("a firmware waits for a reset; reset the machine"),
        0x281 => Some("unrecovered read error"),
        _ => None,
    };
    match known {
        Some(words) => format!("{words} (NVMe status {status:#06x})"),
        None => format!("NVMe status {status:#06x}"),
    }
}
