//! The commands of the NVM command set: what hosts do with the medium.

use std::time::Duration;

use super::Subsystem;
use crate::nvme_tcp::command::{Answer, Command, Status};
use crate::nvme_tcp::wire::DATA_BYTES_MAX;

impl Subsystem {
    /// An I/O command with its data.
    pub fn io(&mut self, now: Duration, command: &Command, data: &[u8]) -> Answer {
        self.pass(now);
        if let Some(refusal) = self.sanitize.refusal() {
            return Answer::failed(refusal);
        }
        match command.opcode() {
            0x00 => Ok(Answer::done(0)),
            0x01 => self.write(command, data),
            0x02 => self.read(command),
            0x08 => self.write_zeroes(command),
            0x09 => self.deallocate(command, data),
            _ => Err(Status::INVALID_OPCODE),
        }
        .into()
    }

    /// Offset and length in bytes of what dwords 10 to 12 name.
    fn span(&mut self, command: &Command) -> Result<(u64, u64), Status> {
        let sector = u64::from(self.profile.sector_bytes);
        let length = (u64::from(command.dword(12) & 0xffff) + 1) * sector;
        let offset = command.quad(10).checked_mul(sector).ok_or(Status::OUT_OF_RANGE)?;
        let medium = self.medium(command.namespace()).ok_or(Status::INVALID_NAMESPACE)?;
        if !medium.has(offset, length) {
            return Err(Status::OUT_OF_RANGE);
        }
        Ok((offset, length))
    }

    fn read(&mut self, command: &Command) -> Result<Answer, Status> {
        let (offset, length) = self.span(command)?;
        if length > u64::from(DATA_BYTES_MAX) {
            return Err(Status::INVALID_FIELD);
        }
        let bad = self.lies.unreadable.as_ref();
        if bad.is_some_and(|bad| bad.start < offset + length && offset < bad.end) {
            return Err(Status::UNREADABLE);
        }
        self.counters.read_bytes += length;
        let length = usize::try_from(length).map_err(|_| Status::INVALID_FIELD)?;
        let medium = self.medium(command.namespace()).ok_or(Status::INVALID_NAMESPACE)?;
        Ok(Answer::data(medium.read(offset, length)))
    }

    fn write(&mut self, command: &Command, data: &[u8]) -> Result<Answer, Status> {
        let (offset, length) = self.span(command)?;
        if length != data.len() as u64 {
            return Err(Status::DATA_TRANSFER);
        }
        self.store(command.namespace(), offset, data)
    }

    fn store(&mut self, namespace: u32, offset: u64, data: &[u8]) -> Result<Answer, Status> {
        if self.lies.write_protected {
            return Err(Status::WRITE_PROTECTED);
        }
        self.counters.written_bytes += data.len() as u64;
        self.written_since = true;
        if !self.lies.drops_writes {
            self.medium(namespace).ok_or(Status::INVALID_NAMESPACE)?.write(offset, data);
        }
        Ok(Answer::done(0))
    }

    fn write_zeroes(&mut self, command: &Command) -> Result<Answer, Status> {
        let (offset, length) = self.span(command)?;
        // At most 65536 sectors, and piece by piece: 4096-byte sectors make that 256 MiB.
        let zeros = vec![0; DATA_BYTES_MAX as usize];
        let mut done = 0;
        while done < length {
            let count = (length - done).min(u64::from(DATA_BYTES_MAX));
            let piece = usize::try_from(count).map_err(|_| Status::INVALID_FIELD)?;
            self.store(command.namespace(), offset + done, &zeros[..piece])?;
            done += count;
        }
        Ok(Answer::done(0))
    }

    /// Dataset Management: what it deallocates reads as zeros here.
    fn deallocate(&mut self, command: &Command, data: &[u8]) -> Result<Answer, Status> {
        let wanted = (command.dword(10) as usize & 0xff) + 1;
        let (ranges, _) = data.as_chunks::<16>();
        if ranges.len() < wanted {
            return Err(Status::DATA_TRANSFER);
        }
        if command.dword(11) & 0b100 == 0 {
            return Ok(Answer::done(0));
        }
        let sector = u64::from(self.profile.sector_bytes);
        for range in &ranges[..wanted] {
            let half = |at: usize| {
                u64::from(u32::from_le_bytes([range[at], range[at + 1], range[at + 2], range[at + 3]]))
            };
            let (first, count) = (half(8) | half(12) << 32, half(4));
            let offset = first.checked_mul(sector).ok_or(Status::OUT_OF_RANGE)?;
            let length = count * sector;
            let medium = self.medium(command.namespace()).ok_or(Status::INVALID_NAMESPACE)?;
            if !medium.has(offset, length) {
                return Err(Status::OUT_OF_RANGE);
            }
            let mut done = 0;
            while done < length {
                let piece = (length - done).min(u64::from(DATA_BYTES_MAX));
                let zeros = vec![0; usize::try_from(piece).map_err(|_| Status::INVALID_FIELD)?];
                self.store(command.namespace(), offset + done, &zeros)?;
                done += piece;
            }
        }
        Ok(Answer::done(0))
    }
}
