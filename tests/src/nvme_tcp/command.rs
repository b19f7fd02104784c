//! Submission and completion queue entries.

/// Length of a submission queue entry, in bytes.
pub const ENTRY_BYTES: usize = 64;

/// A submission queue entry (NVM Express Base Specification, Submission Queue Entry).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    bytes: [u8; ENTRY_BYTES],
}

/// Where a command's data are, and how many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPlace {
    /// In the capsule, at this offset into its data.
    Capsule {
        /// Offset in bytes.
        offset: u64,
        /// Length in bytes.
        length: u32,
    },
    /// At the host, to be asked for or sent.
    Host {
        /// Length in bytes.
        length: u32,
    },
    /// A descriptor that NVMe/TCP does not have.
    Unknown,
}

/// Which way a command's data go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// There are none.
    None,
    /// From host to controller.
    ToController,
    /// From controller to host.
    ToHost,
}

/// Opcode of all fabrics commands.
pub const OPCODE_FABRICS: u8 = 0x7f;

impl Command {
    /// An entry as it came.
    #[must_use]
    pub fn new(bytes: [u8; ENTRY_BYTES]) -> Self {
        Self { bytes }
    }

    /// The opcode.
    #[must_use]
    pub fn opcode(&self) -> u8 {
        self.bytes[0]
    }

    /// The type of a fabrics command.
    #[must_use]
    pub fn fabrics_type(&self) -> u8 {
        self.bytes[4]
    }

    /// The command identifier.
    #[must_use]
    pub fn id(&self) -> u16 {
        u16::from_le_bytes([self.bytes[2], self.bytes[3]])
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> u32 {
        self.dword(1)
    }

    /// One of the sixteen dwords; zero where there is none.
    #[must_use]
    pub fn dword(&self, number: usize) -> u32 {
        self.bytes.as_chunks::<4>().0.get(number).map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// Two dwords as one number, the lower first.
    #[must_use]
    pub fn quad(&self, number: usize) -> u64 {
        u64::from(self.dword(number)) | u64::from(self.dword(number + 1)) << 32
    }

    /// Which way the data go: the lowest two bits of the opcode, or of the fabrics type.
    #[must_use]
    pub fn direction(&self) -> Direction {
        let code = if self.opcode() == OPCODE_FABRICS { self.fabrics_type() } else { self.opcode() };
        match code & 0b11 {
            0b01 => Direction::ToController,
            0b10 => Direction::ToHost,
            _ => Direction::None,
        }
    }

    /// Where the data are: SGL descriptor 1, bytes 24 to 39 (NVMe/TCP knows two kinds).
    #[must_use]
    pub fn data_place(&self) -> DataPlace {
        let length = self.dword(8);
        match self.bytes[39] {
            // Data block, offset.
            0x01 => DataPlace::Capsule { offset: self.quad(6), length },
            // Transport data block, transport-specific.
            0x5a => DataPlace::Host { length },
            // An entry without a descriptor has no data.
            0x00 if length == 0 => DataPlace::Host { length },
            _ => DataPlace::Unknown,
        }
    }
}

/// Status of a completion: type in bits 10:8, code in bits 7:0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u16);

impl Status {
    /// Done.
    pub const SUCCESS: Self = Self(0x000);
    /// No such command.
    pub const INVALID_OPCODE: Self = Self(0x001);
    /// A field has a value that is not supported.
    pub const INVALID_FIELD: Self = Self(0x002);
    /// Data did not come as they should.
    pub const DATA_TRANSFER: Self = Self(0x004);
    /// No such namespace.
    pub const INVALID_NAMESPACE: Self = Self(0x00b);
    /// Not now.
    pub const COMMAND_SEQUENCE: Self = Self(0x00c);
    /// The last sanitize failed and nothing else goes.
    pub const SANITIZE_FAILED: Self = Self(0x01c);
    /// A sanitize is running and nothing else goes.
    pub const SANITIZE_IN_PROGRESS: Self = Self(0x01d);
    /// The namespace is write-protected.
    pub const WRITE_PROTECTED: Self = Self(0x020);
    /// Beyond the end of the namespace.
    pub const OUT_OF_RANGE: Self = Self(0x080);
    /// More asynchronous event requests than are held.
    pub const EVENT_LIMIT: Self = Self(0x105);
    /// No such log page.
    pub const INVALID_LOG_PAGE: Self = Self(0x109);
    /// No such format.
    pub const INVALID_FORMAT: Self = Self(0x10a);
    /// A firmware waits for a reset.
    pub const NEEDS_RESET: Self = Self(0x10b);
    /// Connect asks for what is not there.
    pub const CONNECT_PARAMETERS: Self = Self(0x182);
    /// The medium cannot be read there.
    pub const UNREADABLE: Self = Self(0x281);

    /// The status field of a completion: do-not-retry for every error, phase 0.
    #[must_use]
    pub fn field(self) -> u16 {
        const DO_NOT_RETRY: u16 = 0x4000;
        let retry = if self == Self::SUCCESS { 0 } else { DO_NOT_RETRY };
        (self.0 | retry) << 1
    }
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Completion dwords 0 and 1.
    pub result: u64,
    /// How it ended.
    pub status: Status,
    /// Data for the host.
    pub data: Vec<u8>,
}

impl Answer {
    /// Done, with this in the completion.
    #[must_use]
    pub fn done(result: u64) -> Self {
        Self { result, status: Status::SUCCESS, data: Vec::new() }
    }

    /// Done, with these data.
    #[must_use]
    pub fn data(data: Vec<u8>) -> Self {
        Self { result: 0, status: Status::SUCCESS, data }
    }

    /// Not done.
    #[must_use]
    pub fn failed(status: Status) -> Self {
        Self { result: 0, status, data: Vec::new() }
    }
}

impl From<Result<Answer, Status>> for Answer {
    fn from(result: Result<Answer, Status>) -> Self {
        result.unwrap_or_else(Self::failed)
    }
}
