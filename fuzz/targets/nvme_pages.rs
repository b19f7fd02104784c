//! What an NVMe controller says: Identify, firmware slots (log 03h), sanitize status (log 81h).
#![no_main]

use erasure::nvme::firmware_log::activation_pending;
use erasure::nvme::identify::{Controller, Namespace, count_namespaces, is_write_protected};
use erasure::nvme::sanitize_log::SanitizeLog;
use erasure::nvme::status::in_words;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = (Controller::parse(data), Namespace::parse(data), SanitizeLog::parse(data));
    let _ = (activation_pending(data), count_namespaces(data));
    if let [low, high, ..] = data {
        let word = u16::from_le_bytes([*low, *high]);
        let _ = (in_words(word), is_write_protected(u32::from(word)));
    }
});
