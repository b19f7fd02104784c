//! ATA PASS-THROUGH (16): a command on its way to the disk, and the registers on their way back.

/// Operation code of ATA PASS-THROUGH (16) (SAT-5).
const OPERATION_CODE: u8 = 0x85;
/// Additional sense "ATA PASS-THROUGH INFORMATION AVAILABLE".
const INFORMATION_AVAILABLE: [u8; 2] = [0x00, 0x1d];
/// Type of the sense descriptor that carries the registers (SAT-5, ATA Status Return).
const STATUS_RETURN: u8 = 0x09;

/// Bits of the status register.
const STATUS_ERROR: u8 = 0x01;
const STATUS_FAULT: u8 = 0x20;
const STATUS_BUSY: u8 = 0x80;
/// Bit of the error register: the disk aborted the command.
const ERROR_ABORTED: u8 = 0x04;

/// How a command moves its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    /// It has none.
    None,
    /// One sector of 512 bytes from the disk.
    In,
    /// One sector of 512 bytes to the disk.
    Out,
}

/// One ATA command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// Its name in the standard, for messages.
    pub name: &'static str,
    /// The command register.
    pub command: u8,
    /// The feature registers.
    pub feature: u16,
    /// The count registers.
    pub count: u16,
    /// The LBA registers, 48 bits.
    pub lba: u64,
    /// Whether all registers are 16 and 48 bits wide (the EXT commands).
    pub extended: bool,
    /// How its data move.
    pub transfer: Transfer,
}

impl Command {
    /// A command without data and with 48-bit registers.
    #[must_use]
    pub fn extended(name: &'static str, command: u8, feature: u16, count: u16, lba: u64) -> Self {
        Self { name, command, feature, count, lba, extended: true, transfer: Transfer::None }
    }

    /// A command with 28-bit registers.
    #[must_use]
    pub fn short(name: &'static str, command: u8, feature: u16, transfer: Transfer) -> Self {
        let count = u16::from(transfer != Transfer::None);
        Self { name, command, feature, count, lba: 0, extended: false, transfer }
    }

    /// IDENTIFY DEVICE.
    #[must_use]
    pub fn identify() -> Self {
        Self::short("IDENTIFY DEVICE", 0xec, 0, Transfer::In)
    }

    /// The command as a CDB.
    ///
    /// A command without data wants the registers back (CK_COND): without them a refusal cannot be told
    /// from a success everywhere. A command with data does not: with many host adapters the registers
    /// after a transfer are those of its middle ("data request" still set), and the kernel then makes an
    /// error of a success. What it did is asked for afterwards, with IDENTIFY DEVICE.
    #[must_use]
    pub fn block(&self) -> [u8; 16] {
        // Byte 1: protocol in bits 4:1 (3 no data, 4 PIO in, 5 PIO out), EXTEND in bit 0.
        // Byte 2: CK_COND bit 5, T_DIR bit 3 (from the disk), BYT_BLOK bit 2 (counted in blocks),
        // T_LENGTH bits 1:0 (2: the count register).
        let (protocol, flags) = match self.transfer {
            Transfer::None => (3, 0x20),
            Transfer::In => (4, 0x08 | 0x04 | 0x02),
            Transfer::Out => (5, 0x04 | 0x02),
        };
        let [feature_high, feature_low] = self.feature.to_be_bytes();
        let [count_high, count_low] = self.count.to_be_bytes();
        let [lba0, lba1, lba2, lba3, lba4, lba5, ..] = self.lba.to_le_bytes();
        [
            OPERATION_CODE,
            (protocol << 1) | u8::from(self.extended),
            flags,
            feature_high,
            feature_low,
            count_high,
            count_low,
            lba3,
            lba0,
            lba4,
            lba1,
            lba5,
            lba2,
            // Bit 6, "LBA": the addresses are such, where they are any.
            0x40,
            self.command,
            0,
        ]
    }
}

/// The registers as a command left them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// The error register.
    pub error: u8,
    /// The count registers.
    pub count: u16,
    /// The LBA registers, 48 bits.
    pub lba: u64,
    /// The status register.
    pub status: u8,
    /// Whether the upper halves are there too. Fixed format sense has no room for them.
    pub complete: bool,
}

impl Registers {
    /// Finds the registers in sense data, descriptor or fixed format; none where they are not there.
    #[must_use]
    pub fn from_sense(sense: &[u8]) -> Option<Self> {
        match sense.first()? & 0x7f {
            0x72 | 0x73 => Self::from_descriptors(sense.get(8..)?),
            0x70 | 0x71 => Self::from_fixed(sense),
            _ => None,
        }
    }

    fn from_descriptors(mut rest: &[u8]) -> Option<Self> {
        while let [code, length, ..] = *rest {
            let whole = usize::from(length) + 2;
            if code == STATUS_RETURN {
                let one = rest.get(..14).filter(|_| length >= 12)?;
                let extended = one[2] & 1 != 0;
                let high = |byte: u8| if extended { byte } else { 0 };
                let lba = [one[7], one[9], one[11], high(one[6]), high(one[8]), high(one[10]), 0, 0];
                return Some(Self {
                    error: one[3],
                    count: u16::from_be_bytes([high(one[4]), one[5]]),
                    lba: u64::from_le_bytes(lba),
                    status: one[13],
                    complete: extended,
                });
            }
            rest = rest.get(whole..)?;
        }
        None
    }

    /// Fixed format (SAT-5, "fixed format sense data for ATA PASS-THROUGH"): error, status, device and
    /// count in the information field, LBA low, mid and high in the command-specific field. Only with
    /// the additional sense that says so; without it the bytes mean something else, and only a refusal
    /// is read from them.
    fn from_fixed(sense: &[u8]) -> Option<Self> {
        if sense.get(12..14)? != INFORMATION_AVAILABLE {
            return Self::from_fixed_refusal(sense);
        }
        Some(Self {
            error: sense[3],
            count: u16::from(sense[6]),
            lba: u64::from_le_bytes([sense[9], sense[10], sense[11], 0, 0, 0, 0, 0]),
            status: sense[4],
            complete: false,
        })
    }

    /// A command that the disk aborted, in fixed format with other additional sense, as libata makes it:
    /// the registers are where SAT has them, or, in kernels before 6.11, five bytes further on (seen
    /// with 6.1), where LBA mid and high are cut off. Whatever these bytes are, nothing but an error is
    /// ever made of them.
    fn from_fixed_refusal(sense: &[u8]) -> Option<Self> {
        let byte = |at: usize| sense.get(at).copied().unwrap_or(0);
        let (error, status, count, lba) = if byte(4) & STATUS_ERROR != 0 && byte(3) != 0 {
            (byte(3), byte(4), byte(6), [byte(9), byte(10), byte(11)])
        } else if byte(9) & STATUS_ERROR != 0 && byte(8) != 0 {
            (byte(8), byte(9), byte(11), [byte(17), byte(18), byte(19)])
        } else {
            return None;
        };
        let lba = u64::from_le_bytes([lba[0], lba[1], lba[2], 0, 0, 0, 0, 0]);
        Some(Self { error, count: u16::from(count), lba, status, complete: false })
    }

    /// The registers of a command that the disk completed.
    ///
    /// # Errors
    /// In words, if the status register has an error, a fault or "busy" in it.
    pub fn completed(self, command: &Command) -> Result<Self, String> {
        if self.status & (STATUS_ERROR | STATUS_FAULT | STATUS_BUSY) == 0 {
            return Ok(self);
        }
        let aborted = if self.error & ERROR_ABORTED != 0 { "aborted" } else { "failed" };
        Err(format!(
            "the disk {aborted} {} (status {:#04x}, error {:#04x}, LBA {:#x})",
            command.name, self.status, self.error, self.lba
        ))
    }

    /// Whether the disk aborted the command, which is how it says that it does not know it or may not
    /// do it now.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.status & STATUS_ERROR != 0 && self.error & ERROR_ABORTED != 0
    }
}

/// What came back with a command: the registers if the disk completed it.
///
/// # Errors
/// In words, if no registers came back (which proves nothing and so counts as not done) or they hold
/// an error.
pub fn completed(command: &Command, sense: &[u8]) -> Result<Registers, String> {
    match Registers::from_sense(sense) {
        Some(registers) => registers.completed(command),
        None => Err(format!("{} gave no registers back, so nobody knows what the disk did", command.name)),
    }
}
