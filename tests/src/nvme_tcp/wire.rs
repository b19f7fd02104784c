//! The PDUs of NVMe/TCP (Transport Specification 1.0, section 3.6), without digests.

use super::command::{Answer, Command, ENTRY_BYTES};

/// Length of what every PDU begins with, in bytes.
pub const COMMON_BYTES: usize = 8;
/// The most data that one PDU may carry, in bytes.
pub const DATA_BYTES_MAX: u32 = 1 << 20;
/// The most data that a command's own capsule may carry, in bytes.
pub const CAPSULE_DATA_BYTES_MAX: u32 = 8192;

const INITIALIZE_BYTES: usize = 128;
const COMMAND_HEADER_BYTES: usize = COMMON_BYTES + ENTRY_BYTES;
const DATA_HEADER_BYTES: usize = 24;
const RESPONSE_BYTES: usize = 24;
/// Flag of the last data PDU of a transfer.
const FLAG_LAST: u8 = 0b100;

const TYPE_INITIALIZE_REQUEST: u8 = 0x00;
const TYPE_INITIALIZE_RESPONSE: u8 = 0x01;
const TYPE_HOST_TERMINATES: u8 = 0x02;
const TYPE_COMMAND: u8 = 0x04;
const TYPE_RESPONSE: u8 = 0x05;
const TYPE_DATA_TO_CONTROLLER: u8 = 0x06;
const TYPE_DATA_TO_HOST: u8 = 0x07;
const TYPE_READY: u8 = 0x09;

/// What a host sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pdu {
    /// Its first word.
    Initialize {
        /// Version of the PDU format; 0 is the only one.
        version: u16,
        /// Header and data digests that it asks for; it must do without.
        digests: u8,
    },
    /// A command with the data in its capsule.
    Command {
        /// The command.
        command: Command,
        /// What stands behind it.
        data: Vec<u8>,
    },
    /// Data that were asked for.
    Data {
        /// Whose.
        command: u16,
        /// The tag under which they were asked for.
        tag: u16,
        /// Where in the command's data they belong, in bytes.
        offset: u32,
        /// The data.
        data: Vec<u8>,
    },
    /// It gives the connection up.
    Terminate,
}

/// Bytes that are no PDU a host may send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The PDU type is none of a host's.
    #[error("a host does not send PDUs of type {0:#04x}")]
    Type(u8),
    /// The length is none that such a PDU can have.
    #[error("a PDU of type {kind:#04x} cannot have {bytes} bytes")]
    Length {
        /// The type.
        kind: u8,
        /// The length.
        bytes: u32,
    },
    /// The header's length or the data's place is none that such a PDU can have.
    #[error("a PDU of type {kind:#04x} has a header of {header} bytes and data at {data}")]
    Layout {
        /// The type.
        kind: u8,
        /// The header's length.
        header: u8,
        /// The data's place.
        data: u8,
    },
}

/// How long the PDU is that begins with these bytes, all of it.
///
/// # Errors
/// If no such PDU may come from a host.
pub fn pdu_bytes(common: &[u8; COMMON_BYTES]) -> Result<usize, WireError> {
    let [kind, _, header, data, ..] = *common;
    let bytes = u32::from_le_bytes([common[4], common[5], common[6], common[7]]);
    let header_bytes = match kind {
        TYPE_INITIALIZE_REQUEST => INITIALIZE_BYTES,
        TYPE_HOST_TERMINATES | TYPE_DATA_TO_CONTROLLER => DATA_HEADER_BYTES,
        TYPE_COMMAND => COMMAND_HEADER_BYTES,
        _ => return Err(WireError::Type(kind)),
    };
    if usize::from(header) != header_bytes {
        return Err(WireError::Layout { kind, header, data });
    }
    let data_max = match kind {
        TYPE_INITIALIZE_REQUEST => 0,
        TYPE_DATA_TO_CONTROLLER => DATA_BYTES_MAX,
        TYPE_COMMAND => CAPSULE_DATA_BYTES_MAX,
        // What a host complains about is a header at most.
        _ => 152,
    };
    let total = usize::try_from(bytes).map_err(|_| WireError::Length { kind, bytes })?;
    // Data may stand up to 255 bytes from the beginning, for their alignment.
    let most = usize::from(data).max(header_bytes) + data_max as usize;
    if total < header_bytes || total > most {
        return Err(WireError::Length { kind, bytes });
    }
    if kind != TYPE_HOST_TERMINATES && total > header_bytes && usize::from(data) < header_bytes {
        return Err(WireError::Layout { kind, header, data });
    }
    Ok(total)
}

/// Reads a whole PDU.
///
/// # Errors
/// If it is none, or not whole.
pub fn parse(bytes: &[u8]) -> Result<Pdu, WireError> {
    let Some(common) = bytes.first_chunk::<COMMON_BYTES>() else {
        return Err(WireError::Length { kind: 0, bytes: short(bytes.len()) });
    };
    let kind = common[0];
    let wrong = WireError::Length { kind, bytes: short(bytes.len()) };
    if pdu_bytes(common)? != bytes.len() {
        return Err(wrong);
    }
    let data = || {
        let place = usize::from(common[3]);
        if place == 0 { Vec::new() } else { bytes.get(place..).unwrap_or_default().to_vec() }
    };
    match kind {
        TYPE_INITIALIZE_REQUEST => {
            Ok(Pdu::Initialize { version: u16::from_le_bytes([bytes[8], bytes[9]]), digests: bytes[11] })
        }
        TYPE_COMMAND => match bytes.get(COMMON_BYTES..).and_then(|rest| rest.first_chunk()) {
            Some(entry) => Ok(Pdu::Command { command: Command::new(*entry), data: data() }),
            None => Err(wrong),
        },
        TYPE_DATA_TO_CONTROLLER => {
            let data = data();
            let said = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
            if usize::try_from(said).ok() != Some(data.len()) {
                return Err(wrong);
            }
            Ok(Pdu::Data {
                command: u16::from_le_bytes([bytes[8], bytes[9]]),
                tag: u16::from_le_bytes([bytes[10], bytes[11]]),
                offset: u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]),
                data,
            })
        }
        _ => Ok(Pdu::Terminate),
    }
}

fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn header(kind: u8, flags: u8, header_bytes: usize, data: &[u8]) -> Vec<u8> {
    // All headers are shorter than 256 bytes.
    let header_length = u8::try_from(header_bytes).unwrap_or(u8::MAX);
    let place = if data.is_empty() { 0 } else { header_length };
    let mut bytes = vec![kind, flags, header_length, place];
    bytes.extend(short(header_bytes + data.len()).to_le_bytes());
    bytes
}

/// Initialize Connection Response: no digests, no alignment.
#[must_use]
pub fn initialized() -> Vec<u8> {
    let mut bytes = header(TYPE_INITIALIZE_RESPONSE, 0, INITIALIZE_BYTES, &[]);
    bytes.extend([0; 4]);
    bytes.extend(DATA_BYTES_MAX.to_le_bytes());
    bytes.resize(INITIALIZE_BYTES, 0);
    bytes
}

/// Response capsule with a completion queue entry.
#[must_use]
pub fn response(queue: u16, queue_head: u16, command: u16, answer: &Answer) -> Vec<u8> {
    let mut bytes = header(TYPE_RESPONSE, 0, RESPONSE_BYTES, &[]);
    bytes.extend(answer.result.to_le_bytes());
    for half in [queue_head, queue, command, answer.status.field()] {
        bytes.extend(half.to_le_bytes());
    }
    bytes
}

/// The data of a command for the host, in as many PDUs as they need.
#[must_use]
pub fn data_to_host(command: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len() + DATA_HEADER_BYTES);
    let mut offset = 0_u32;
    let pieces = data.chunks(DATA_BYTES_MAX as usize);
    let count = pieces.len();
    for (index, piece) in pieces.enumerate() {
        let flags = if index + 1 == count { FLAG_LAST } else { 0 };
        bytes.extend(header(TYPE_DATA_TO_HOST, flags, DATA_HEADER_BYTES, piece));
        bytes.extend(command.to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(offset.to_le_bytes());
        bytes.extend(short(piece.len()).to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(piece);
        offset = offset.saturating_add(short(piece.len()));
    }
    bytes
}

/// Ready to Transfer: asks for a command's data.
#[must_use]
pub fn ready(command: u16, tag: u16, offset: u32, length: u32) -> Vec<u8> {
    let mut bytes = header(TYPE_READY, 0, DATA_HEADER_BYTES, &[]);
    bytes.extend(command.to_le_bytes());
    bytes.extend(tag.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend([0; 4]);
    bytes
}
