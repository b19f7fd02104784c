//! SCSI commands as the machine sends them (SPC-5, SBC-4).

/// Blocks that a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// What a disk is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// TEST UNIT READY.
    TestUnitReady,
    /// REQUEST SENSE.
    RequestSense,
    /// INQUIRY, of this page of vital product data if one is asked for.
    Inquiry {
        /// The page.
        page: Option<u8>,
    },
    /// MODE SENSE (6) and (10).
    ModeSense {
        /// The longer one.
        ten: bool,
        /// The page.
        page: u8,
    },
    /// READ CAPACITY (10).
    ReadCapacity10,
    /// READ CAPACITY (16).
    ReadCapacity16,
    /// READ (6), (10), (12) and (16).
    Read(Blocks),
    /// WRITE (6), (10), (12) and (16).
    Write(Blocks),
    /// WRITE SAME (10) and (16).
    WriteSame {
        /// Where.
        blocks: Blocks,
        /// No block comes with it: zeros are meant (NDOB).
        no_data: bool,
    },
    /// SYNCHRONIZE CACHE, START STOP UNIT and ALLOW MEDIUM REMOVAL, which a disk without cache, motor and
    /// door just answers.
    Nothing,
    /// REPORT SUPPORTED OPERATION CODES.
    ReportOpcodes {
        /// Reporting options.
        options: u8,
        /// Which operation code.
        operation: u8,
        /// Which service action.
        action: u16,
    },
    /// SANITIZE.
    Sanitize {
        /// Service action.
        action: u8,
        /// IMMED: answer when it has begun.
        immediate: bool,
        /// AUSE: a failure may be left without another sanitize.
        unrestricted: bool,
        /// Length of the parameter list in bytes.
        list_bytes: u16,
    },
    /// FORMAT UNIT.
    FormatUnit,
    /// ATA PASS-THROUGH (16).
    AtaPassThrough([u8; 16]),
}

/// Operation codes that are met in more than one place.
pub const INQUIRY: u8 = 0x12;
/// SANITIZE.
pub const SANITIZE: u8 = 0x48;
/// ATA PASS-THROUGH (16).
pub const ATA_PASS_THROUGH: u8 = 0x85;
/// WRITE SAME (16).
pub const WRITE_SAME_16: u8 = 0x93;
/// WRITE SAME (10).
pub const WRITE_SAME_10: u8 = 0x41;

/// Reads a command; none if it is cut or unknown.
#[must_use]
pub fn parse(block: &[u8]) -> Option<Command> {
    let byte = |at: usize| block.get(at).copied();
    Some(match byte(0)? {
        0x00 => Command::TestUnitReady,
        0x03 => Command::RequestSense,
        INQUIRY if byte(1)? & 1 == 0 => Command::Inquiry { page: None },
        INQUIRY => Command::Inquiry { page: Some(byte(2)?) },
        0x1a => Command::ModeSense { ten: false, page: byte(2)? & 0x3f },
        0x5a => Command::ModeSense { ten: true, page: byte(2)? & 0x3f },
        0x25 => Command::ReadCapacity10,
        0x9e if byte(1)? & 0x1f == 0x10 => Command::ReadCapacity16,
        0x08 => Command::Read(six(block)?),
        0x28 => Command::Read(ten(block)?),
        0xa8 => Command::Read(twelve(block)?),
        0x88 => Command::Read(sixteen(block)?),
        0x0a => Command::Write(six(block)?),
        0x2a => Command::Write(ten(block)?),
        0xaa => Command::Write(twelve(block)?),
        0x8a => Command::Write(sixteen(block)?),
        WRITE_SAME_10 => Command::WriteSame { blocks: ten(block)?, no_data: false },
        WRITE_SAME_16 => Command::WriteSame { blocks: sixteen(block)?, no_data: byte(1)? & 1 != 0 },
        0x35 | 0x91 | 0x1b | 0x1e => Command::Nothing,
        0xa3 if byte(1)? & 0x1f == 0x0c => Command::ReportOpcodes {
            options: byte(2)? & 0b111,
            operation: byte(3)?,
            action: u16::from_be_bytes([byte(4)?, byte(5)?]),
        },
        SANITIZE => Command::Sanitize {
            action: byte(1)? & 0x1f,
            immediate: byte(1)? & 0x80 != 0,
            unrestricted: byte(1)? & 0x20 != 0,
            list_bytes: u16::from_be_bytes([byte(7)?, byte(8)?]),
        },
        0x04 => Command::FormatUnit,
        ATA_PASS_THROUGH => Command::AtaPassThrough(*block.first_chunk()?),
        _ => return None,
    })
}

/// Whether the data of a command go to the disk. The kernel's ring does not say it.
#[must_use]
pub fn is_to_disk(block: &[u8]) -> bool {
    match block.first().copied() {
        // MODE SELECT, UNMAP, WRITE BUFFER, PERSISTENT RESERVE OUT and the writes.
        Some(
            0x04 | 0x0a | 0x15 | 0x2a | 0x2e | 0x3b | 0x42 | 0x55 | 0x5f | 0x8a | 0x8e | 0xaa | SANITIZE
            | WRITE_SAME_10 | WRITE_SAME_16,
        ) => true,
        // Protocol 5 is "PIO data out" (SAT-5).
        Some(ATA_PASS_THROUGH) => block.get(1).is_some_and(|byte| (byte >> 1) & 0xf == 5),
        _ => false,
    }
}

fn six(block: &[u8]) -> Option<Blocks> {
    let block: [u8; 6] = *block.first_chunk()?;
    let first = u64::from(u32::from_be_bytes([0, block[1] & 0x1f, block[2], block[3]]));
    // Zero means 256 here.
    Some(Blocks { first, count: if block[4] == 0 { 256 } else { block[4].into() } })
}

fn ten(block: &[u8]) -> Option<Blocks> {
    let block: [u8; 10] = *block.first_chunk()?;
    let first = u64::from(u32::from_be_bytes([block[2], block[3], block[4], block[5]]));
    Some(Blocks { first, count: u16::from_be_bytes([block[7], block[8]]).into() })
}

fn twelve(block: &[u8]) -> Option<Blocks> {
    let block: [u8; 12] = *block.first_chunk()?;
    let first = u64::from(u32::from_be_bytes([block[2], block[3], block[4], block[5]]));
    Some(Blocks { first, count: u32::from_be_bytes([block[6], block[7], block[8], block[9]]).into() })
}

fn sixteen(block: &[u8]) -> Option<Blocks> {
    let block: [u8; 16] = *block.first_chunk()?;
    let [_, _, a, b, c, d, e, f, g, h, i, j, k, l, ..] = block;
    let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    Some(Blocks { first, count: u32::from_be_bytes([i, j, k, l]).into() })
}
