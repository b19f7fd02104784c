//! What the program inside the machine and the disk outside say to each other: a SCSI command on its
//! way out, an answer on its way back, over TCP. Numbers are big-endian.
//!
//! ```text
//!  request: length u32 │ room u32 │ command length u8 │ command │ data to the disk
//!  answer:  length u32 │ status u8 │ sense length u8 │ sense │ data from the disk
//! ```
//!
//! The length counts what follows it.

use std::io::{self, Read, Write};

/// More than the kernel ever puts into one command, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// A command is never longer (SPC-5, variable length).
pub const COMMAND_BYTES_MAX: usize = 255;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The command descriptor block.
    pub command: Vec<u8>,
    /// How many bytes may come back.
    pub room_bytes: u32,
    /// What goes to the disk.
    pub data: Vec<u8>,
}

/// What a disk says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// SCSI status.
    pub status: u8,
    /// Sense data.
    pub sense: Vec<u8>,
    /// What comes from the disk.
    pub data: Vec<u8>,
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no message between the machine and its disk")]
pub struct Malformed;

impl Request {
    /// As bytes, without the length.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let command = &self.command[..self.command.len().min(COMMAND_BYTES_MAX)];
        let mut bytes = self.room_bytes.to_be_bytes().to_vec();
        // Fits: it was cut above.
        bytes.push(command.len() as u8);
        bytes.extend(command);
        bytes.extend(&self.data);
        bytes
    }

    /// Reads what [`Request::bytes`] made.
    ///
    /// # Errors
    /// [`Malformed`] if they are too short or hold no command.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (room, rest) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
        let (length, rest) = rest.split_first().ok_or(Malformed)?;
        let (command, data) = rest.split_at_checked(usize::from(*length)).ok_or(Malformed)?;
        if command.is_empty() {
            return Err(Malformed);
        }
        let room_bytes = u32::from_be_bytes(*room);
        Ok(Self { command: command.to_vec(), room_bytes, data: data.to_vec() })
    }
}

impl Answer {
    /// A good status with these data.
    #[must_use]
    pub fn good(data: Vec<u8>) -> Self {
        Self { status: 0, sense: Vec::new(), data }
    }

    /// As bytes, without the length.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let sense = &self.sense[..self.sense.len().min(255)];
        // Fits: it was cut above.
        let mut bytes = vec![self.status, sense.len() as u8];
        bytes.extend(sense);
        bytes.extend(&self.data);
        bytes
    }

    /// Reads what [`Answer::bytes`] made.
    ///
    /// # Errors
    /// [`Malformed`] if they are too short.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let [status, length, rest @ ..] = bytes else { return Err(Malformed) };
        let (sense, data) = rest.split_at_checked(usize::from(*length)).ok_or(Malformed)?;
        Ok(Self { status: *status, sense: sense.to_vec(), data: data.to_vec() })
    }
}

/// Sends one message.
///
/// # Errors
/// If the other side is gone or the message is too long.
pub fn send(mut stream: impl Write, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    let mut whole = length.to_be_bytes().to_vec();
    whole.extend(message);
    stream.write_all(&whole)
}

/// Receives one message.
///
/// # Errors
/// If the other side is gone or names a length that no message has.
pub fn receive(mut stream: impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes")));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn messages_are_bounded() {
        assert!(receive(&[0xff; 8][..]).is_err());
        assert!(receive(&[0, 0, 0, 2, 1][..]).is_err(), "cut");
        let mut wire = Vec::new();
        send(&mut wire, b"ab").unwrap();
        assert_eq!(receive(&wire[..]).unwrap(), b"ab");
    }

    proptest! {
        #[test]
        fn what_is_sent_is_understood(
            command in proptest::collection::vec(any::<u8>(), 1..20),
            data in proptest::collection::vec(any::<u8>(), 0..600),
            room_bytes: u32,
        ) {
            let request = Request { command: command.clone(), room_bytes, data: data.clone() };
            prop_assert_eq!(Request::parse(&request.bytes()), Ok(request));
            let answer = Answer { status: 2, sense: command, data };
            prop_assert_eq!(Answer::parse(&answer.bytes()), Ok(answer));
        }

        #[test]
        fn anything_is_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(request) = Request::parse(&bytes) {
                prop_assert_eq!(request.bytes(), &bytes[..]);
            }
            if let Ok(answer) = Answer::parse(&bytes) {
                prop_assert_eq!(answer.bytes(), &bytes[..]);
            }
        }
    }
}
