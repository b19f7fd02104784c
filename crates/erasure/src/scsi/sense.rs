//! Sense data (SPC-5, fixed and descriptor format).

/// Sense keys that an erase meets.
pub const KEY_NO_SENSE: u8 = 0x0;
/// Recovered error.
pub const KEY_RECOVERED: u8 = 0x1;
/// Not ready.
pub const KEY_NOT_READY: u8 = 0x2;
/// Medium error.
pub const KEY_MEDIUM_ERROR: u8 = 0x3;
/// Illegal request.
pub const KEY_ILLEGAL_REQUEST: u8 = 0x5;
/// Unit attention.
pub const KEY_UNIT_ATTENTION: u8 = 0x6;

/// Additional sense: there is no such command.
pub const INVALID_OPERATION_CODE: (u8, u8) = (0x20, 0x00);
/// Additional sense: a field of the command is not known.
pub const INVALID_FIELD: (u8, u8) = (0x24, 0x00);
/// Additional sense: a field of the data that go with the command is not known.
pub const INVALID_PARAMETER: (u8, u8) = (0x26, 0x00);
/// Additional sense: a sanitize is in progress.
pub const SANITIZE_IN_PROGRESS: (u8, u8) = (0x04, 0x1b);
/// Additional sense: a sanitize failed.
pub const SANITIZE_FAILED: (u8, u8) = (0x31, 0x03);

/// What sense data say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sense {
    /// The sense key.
    pub key: u8,
    /// Additional sense code and its qualifier.
    pub additional: (u8, u8),
    /// How far what is in progress is, in parts of 65536; none where it is not said.
    pub progress_65536: Option<u16>,
    /// They are about an earlier command (response codes 71h and 73h).
    pub deferred: bool,
}

impl Sense {
    /// Reads sense data; none where they are too short or of no known format.
    #[must_use]
    pub fn parse(sense: &[u8]) -> Option<Self> {
        let response = sense.first()? & 0x7f;
        let deferred = response & 1 == 1;
        match response {
            0x70 | 0x71 => {
                let key = sense.get(2)? & 0xf;
                // Additional sense and what follows are there only as far as byte 7 says.
                let length = usize::from(*sense.get(7)?) + 8;
                let byte = |at: usize| sense.get(at).copied().filter(|_| at < length);
                let additional = (byte(12).unwrap_or(0), byte(13).unwrap_or(0));
                let progress = [byte(15), byte(16), byte(17)];
                Some(Self { key, additional, progress_65536: specific_progress(key, progress), deferred })
            }
            0x72 | 0x73 => {
                let key = sense.get(1)? & 0xf;
                let additional = (*sense.get(2)?, *sense.get(3)?);
                let length = usize::from(*sense.get(7)?);
                let rest = sense.get(8..)?;
                let descriptors = rest.get(..length.min(rest.len()))?;
                let progress_65536 = descriptor_progress(key, descriptors);
                Some(Self { key, additional, progress_65536, deferred })
            }
            _ => None,
        }
    }

    /// In words for messages and the record.
    #[must_use]
    pub fn in_words(&self) -> String {
        let known = match (self.key, self.additional) {
            (_, SANITIZE_IN_PROGRESS) => "a sanitize is in progress",
            (_, SANITIZE_FAILED) => "a sanitize failed; only another sanitize is accepted now",
            (KEY_ILLEGAL_REQUEST, INVALID_OPERATION_CODE) => "the disk has no such command",
            (KEY_ILLEGAL_REQUEST, INVALID_FIELD) => "the disk refuses a field of the command",
            (KEY_ILLEGAL_REQUEST, INVALID_PARAMETER) => "the disk refuses a parameter of the command",
            (_, (0x27, _)) => "the disk is write-protected",
            (KEY_NOT_READY, _) => "the disk is not ready",
            (KEY_UNIT_ATTENTION, _) => "something happened to the disk since the last command",
            _ => "the disk refused",
        };
        let (code, qualifier) = self.additional;
        format!("{known} (sense key {:#x}, additional sense {code:02x}h/{qualifier:02x}h)", self.key)
    }
}

/// Sense-key specific bytes carry a progress with the keys NO SENSE and NOT READY, where their first
/// bit (SKSV) says that they are valid.
fn specific_progress(key: u8, bytes: [Option<u8>; 3]) -> Option<u16> {
    let [Some(first), Some(high), Some(low)] = bytes else { return None };
    let about_progress = matches!(key, KEY_NO_SENSE | KEY_NOT_READY) && first & 0x80 != 0;
    about_progress.then(|| u16::from_be_bytes([high, low]))
}

/// Descriptors 02h (sense-key specific) and 0Ah (progress indication).
fn descriptor_progress(key: u8, mut rest: &[u8]) -> Option<u16> {
    while let [code, length, ..] = *rest {
        let byte = |at: usize| rest.get(at).copied();
        let progress = match code {
            0x02 if length >= 6 => specific_progress(key, [byte(4), byte(5), byte(6)]),
            0x0a if length >= 6 => byte(6).zip(byte(7)).map(|(high, low)| u16::from_be_bytes([high, low])),
            _ => None,
        };
        if progress.is_some() {
            return progress;
        }
        rest = rest.get(usize::from(length) + 2..)?;
    }
    None
}
