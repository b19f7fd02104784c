//! What a SCSI disk says: sense data, vital product data, supported commands.
#![no_main]

use erasure::scsi::opcodes::is_supported;
use erasure::scsi::sanitize::{progress, state};
use erasure::scsi::sense::Sense;
use erasure::scsi::vpd::{ata_identify, content, is_ata_disk};
use erasure::scsi::write_same::{blocks_at_once, capabilities, ended};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = (is_supported(data), is_ata_disk(data), ata_identify(data));
    let _ = data.first().map(|page| content(*page, data));
    assert!(blocks_at_once(u64::MAX, capabilities(data)) > 0);
    let _ = ended(2, data);
    if let Some(sense) = Sense::parse(data) {
        let _ = (sense.in_words(), state(&sense), progress(&sense));
    }
});
