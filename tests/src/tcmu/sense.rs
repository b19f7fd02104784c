//! Sense data in fixed format (SPC-5).

use super::wire::Answer;

/// Key, additional sense code and qualifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sense {
    /// The sense key.
    pub key: u8,
    /// Additional sense code and its qualifier.
    pub additional: (u8, u8),
    /// How far what is in progress is, in parts of 65536.
    pub progress_65536: Option<u16>,
}

impl Sense {
    /// Nothing to say.
    pub const NONE: Self = Self::new(0, 0, 0);
    /// A sanitize failed.
    pub const SANITIZE_FAILED: Self = Self::new(3, 0x31, 0x03);
    /// An unrecovered read error.
    pub const UNREADABLE: Self = Self::new(3, 0x11, 0x00);
    /// The disk is broken.
    pub const BROKEN: Self = Self::new(4, 0x44, 0x00);
    /// No such command.
    pub const UNKNOWN_COMMAND: Self = Self::new(5, 0x20, 0x00);
    /// Beyond the end.
    pub const OUT_OF_RANGE: Self = Self::new(5, 0x21, 0x00);
    /// A field of the command.
    pub const BAD_FIELD: Self = Self::new(5, 0x24, 0x00);
    /// A parameter that came with the command.
    pub const BAD_PARAMETER: Self = Self::new(5, 0x26, 0x00);
    /// It was switched on.
    pub const POWERED_ON: Self = Self::new(6, 0x29, 0x01);
    /// It is write-protected.
    pub const WRITE_PROTECTED: Self = Self::new(7, 0x27, 0x00);
    /// It is locked with a password.
    pub const LOCKED: Self = Self::new(7, 0x74, 0x71);

    const fn new(key: u8, code: u8, qualifier: u8) -> Self {
        Self { key, additional: (code, qualifier), progress_65536: None }
    }

    /// A sanitize is at work and has come this far.
    #[must_use]
    pub const fn sanitizing(progress_65536: u16) -> Self {
        Self { key: 2, additional: (0x04, 0x1b), progress_65536: Some(progress_65536) }
    }

    /// As bytes.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; 18];
        bytes[0] = 0x70;
        bytes[2] = self.key;
        bytes[7] = 10;
        (bytes[12], bytes[13]) = self.additional;
        if let Some(progress) = self.progress_65536 {
            let [high, low] = progress.to_be_bytes();
            bytes[15..18].copy_from_slice(&[0x80, high, low]);
        }
        bytes
    }

    /// The refusal of a command.
    #[must_use]
    pub fn refusal(self) -> Answer {
        Answer { status: 2, sense: self.bytes(), data: Vec::new() }
    }
}
