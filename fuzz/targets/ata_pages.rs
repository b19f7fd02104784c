//! What an ATA disk says: IDENTIFY DEVICE, the registers that come back in sense data, hidden areas.
#![no_main]

use erasure::ata::hidden::{configuration_sectors, native_sectors};
use erasure::ata::identify::Identify;
use erasure::ata::pass_through::Registers;
use erasure::ata::sanitize::SanitizeStatus;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = (Identify::parse(data), configuration_sectors(data));
    if let Some(registers) = Registers::from_sense(data) {
        let _ = (native_sectors(registers), SanitizeStatus::parse(registers));
    }
});
