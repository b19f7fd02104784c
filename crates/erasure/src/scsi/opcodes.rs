//! REPORT SUPPORTED OPERATION CODES (SPC-5): which commands a disk has.

/// Length of the answer about one command that we ask for, in bytes.
pub const ANSWER_BYTES: u8 = 64;

/// Asks about one command with a service action (reporting options 010b).
#[must_use]
pub fn report_supported(operation_code: u8, service_action: u16) -> [u8; 12] {
    let [high, low] = service_action.to_be_bytes();
    [0xa3, 0x0c, 0x02, operation_code, high, low, 0, 0, 0, ANSWER_BYTES, 0, 0]
}

/// Asks about one command without service actions (reporting options 001b).
#[must_use]
pub fn report_supported_plain(operation_code: u8) -> [u8; 12] {
    [0xa3, 0x0c, 0x01, operation_code, 0, 0, 0, 0, 0, ANSWER_BYTES, 0, 0]
}

/// Whether the disk has the command that was asked about: SUPPORT, byte 1 bits 2:0, is 3 (as the
/// standard has it). Supported in a way of the vendor's own (5) is not supported: nobody knows what it
/// does.
///
/// # Errors
/// In words, if the answer is too short or says that it is not available now (0).
pub fn is_supported(answer: &[u8]) -> Result<bool, String> {
    // Bytes 2-3 are the length of the command's CDB; an answer without them is none.
    match answer.get(..4).map(|answer| answer[1] & 0b111) {
        Some(3) => Ok(true),
        Some(0) => Err("the disk cannot say now which commands it has".to_owned()),
        Some(_) => Ok(false),
        None => Err(format!("the answer about a command has {} bytes", answer.len())),
    }
}
