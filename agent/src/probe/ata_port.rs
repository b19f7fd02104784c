//! ATA commands, sent by ATA PASS-THROUGH (16), and what came back in their registers.
//!
//! Only on a native ATA path: USB bridges and RAID controllers are known to answer such commands for
//! another device, or to fall over.

use std::io;

use erasure::ata::identify::{IDENTIFY_BYTES, Identify};
use erasure::ata::pass_through::{Command, Registers};

use super::scsi_generic::{Answer, Data, READ_TIMEOUT_MILLIS, ScsiPort};

/// SCSI status "check condition": with it come the registers.
const CHECK_CONDITION: u8 = 2;

/// The way to an ATA disk.
pub struct AtaPort<'a> {
    port: &'a dyn ScsiPort,
}

impl<'a> AtaPort<'a> {
    /// The ATA disk that this port leads to. Whoever makes one knows that it does.
    #[must_use]
    pub fn new(port: &'a dyn ScsiPort) -> Self {
        Self { port }
    }

    /// The way to the translator before the disk, for the questions that it answers for it.
    #[must_use]
    pub fn translator(&self) -> &'a dyn ScsiPort {
        self.port
    }

    /// Sends a command without data; the answer is the registers, whatever they say.
    ///
    /// # Errors
    /// When it did not get through, or no registers came back.
    pub fn send(&self, command: &Command, timeout_millis: u32) -> io::Result<Registers> {
        let answer = self.answer(command, Data::None, timeout_millis)?;
        Registers::from_sense(&answer.sense).ok_or_else(|| io::Error::other(refusal(command, &answer)))
    }

    /// Sends a command without data and makes sure that the disk completed it.
    ///
    /// # Errors
    /// As [`AtaPort::send`], and when the registers hold an error.
    pub fn complete(&self, command: &Command, timeout_millis: u32) -> io::Result<Registers> {
        self.send(command, timeout_millis)?.completed(command).map_err(io::Error::other)
    }

    /// Sends a command that reads one sector.
    ///
    /// # Errors
    /// When it did not get through, the disk did not complete it, or less than a sector came.
    pub fn read_sector(&self, command: &Command) -> io::Result<Vec<u8>> {
        let mut data = vec![0; IDENTIFY_BYTES];
        let answer = self.answer(command, Data::In(&mut data), READ_TIMEOUT_MILLIS)?;
        transferred(command, &answer)?;
        if answer.moved_bytes < data.len() {
            let got = answer.moved_bytes;
            return Err(io::Error::other(format!("{} gave {got} of {} bytes", command.name, data.len())));
        }
        Ok(data)
    }

    /// Sends a command that writes one sector. That the transfer went well is all that is known then;
    /// what the disk made of it must be asked for.
    ///
    /// # Errors
    /// When it did not get through, or the disk refused it.
    pub fn write_sector(&self, command: &Command, sector: &[u8], timeout_millis: u32) -> io::Result<()> {
        let answer = self.answer(command, Data::Out(sector), timeout_millis)?;
        transferred(command, &answer)
    }

    /// What the disk says of itself now.
    ///
    /// # Errors
    /// As [`AtaPort::read_sector`], and when the data are not IDENTIFY data.
    pub fn identify(&self) -> io::Result<Identify> {
        Identify::parse(&self.read_sector(&Command::identify())?).map_err(io::Error::other)
    }

    fn answer(&self, command: &Command, data: Data<'_>, timeout_millis: u32) -> io::Result<Answer> {
        let answer = self
            .port
            .send(&command.block(), data, timeout_millis)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", command.name)))?;
        if !matches!(answer.status, 0 | CHECK_CONDITION) {
            let status = answer.status;
            return Err(io::Error::other(format!(
                "{} was answered with SCSI status {status:#x}",
                command.name
            )));
        }
        Ok(answer)
    }
}

/// Whether a transfer went well: a good status and no sense data, or registers that say so.
fn transferred(command: &Command, answer: &Answer) -> io::Result<()> {
    match Registers::from_sense(&answer.sense) {
        None if answer.status == 0 && answer.sense.is_empty() => Ok(()),
        None => Err(io::Error::other(refusal(command, answer))),
        Some(registers) => registers.completed(command).map(drop).map_err(io::Error::other),
    }
}

/// An answer without registers, in words.
fn refusal(command: &Command, answer: &Answer) -> String {
    format!(
        "{} gave no registers back, so nobody knows what the disk did (SCSI status {:#x}, sense {})",
        command.name,
        answer.status,
        hex::encode(&answer.sense)
    )
}
