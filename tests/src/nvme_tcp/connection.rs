//! One TCP connection: a queue of a controller. No sockets and no clock in here.
//!
//! ```text
//!  Fresh ──initialize──► Ready ──Connect──► Queue ──► commands
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use super::command::{Answer, Command, DataPlace, Direction, OPCODE_FABRICS, Status};
use super::identify::{EVENTS_MAX, VERSION};
use super::subsystem::Subsystem;
use super::wire::{self, DATA_BYTES_MAX, Pdu};

/// How many commands may wait for their data.
const WAITING_MAX: usize = 256;
/// Length of the data of Connect, in bytes.
const CONNECT_BYTES: usize = 1024;
/// Any controller (Connect, controller id).
const CONTROLLER_ANY: u16 = 0xffff;
const ASYNC_EVENT_REQUEST: u8 = 0x0c;

const FABRICS_PROPERTY_SET: u8 = 0x00;
const FABRICS_CONNECT: u8 = 0x01;
const FABRICS_PROPERTY_GET: u8 = 0x04;

/// CAP: 128 entries, contiguous queues, ready within 10 s, the NVM command set.
const CAPABILITIES: u64 = 127 | 1 << 16 | 20 << 24 | 1 << 37;

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The host says so.
    #[error("the host ended the connection")]
    ByHost,
    /// The host does what the transport forbids.
    #[error("the host broke the transport's rules: {0}")]
    Protocol(&'static str),
    /// Another controller was made in its place, as after a reset.
    #[error("the controller was made anew over another connection")]
    Replaced,
    /// The device went off the wire.
    #[error("the device went off the wire")]
    Gone,
}

/// A device and its controller. There is one at a time: whoever connects anew has been reset.
#[derive(Debug)]
pub struct Device {
    /// What is behind the wire.
    pub subsystem: Subsystem,
    controller: u16,
    configuration: u32,
    status: u32,
}

impl Device {
    /// A device that nobody has connected to.
    #[must_use]
    pub fn new(subsystem: Subsystem) -> Self {
        Self { subsystem, controller: 0, configuration: 0, status: 0 }
    }

    fn property(&self, offset: u32) -> Result<u64, Status> {
        match offset {
            0x00 => Ok(CAPABILITIES),
            0x08 => Ok(u64::from(VERSION)),
            0x14 => Ok(u64::from(self.configuration)),
            0x1c => Ok(u64::from(self.status)),
            _ => Err(Status::INVALID_FIELD),
        }
    }

    fn set_property(&mut self, offset: u32, value: u64) -> Result<(), Status> {
        const ENABLE: u32 = 1;
        const SHUTDOWN: u32 = 0b11 << 14;
        const SHUTDOWN_DONE: u32 = 0b10 << 2;
        if offset != 0x14 {
            return Err(Status::INVALID_FIELD);
        }
        self.configuration = u32::try_from(value).map_err(|_| Status::INVALID_FIELD)?;
        self.status = self.configuration & ENABLE;
        if self.configuration & SHUTDOWN != 0 {
            self.status |= SHUTDOWN_DONE;
        }
        Ok(())
    }

    /// Connect (NVMe over Fabrics 1.1, section 3.3): the controller's id.
    fn connect(&mut self, queue: u16, data: &[u8]) -> Result<u16, Status> {
        let name = data.get(256..512).ok_or(Status::DATA_TRANSFER)?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name != self.subsystem.profile().name.as_bytes() {
            return Err(Status::CONNECT_PARAMETERS);
        }
        let wanted = u16::from_le_bytes([data[16], data[17]]);
        match (queue, wanted) {
            (0, CONTROLLER_ANY) => {
                self.controller = self.controller.checked_add(1).filter(|id| *id < 0xfff0).unwrap_or(1);
                self.configuration = 0;
                self.status = 0;
                self.subsystem.reset();
                Ok(self.controller)
            }
            (1.., id) if id == self.controller => Ok(id),
            _ => Err(Status::CONNECT_PARAMETERS),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Ready,
    Queue { controller: u16, number: u16, entries: u16 },
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    state: State,
    head: u16,
    events: u8,
    /// Commands that wait for their data, by command id; how many bytes there will be.
    waiting: BTreeMap<u16, (Command, u32, Vec<u8>)>,
}

impl Default for Connection {
    fn default() -> Self {
        Self { state: State::Fresh, head: 0, events: 0, waiting: BTreeMap::new() }
    }
}

impl Connection {
    /// Whether it is the admin queue of a controller.
    #[must_use]
    pub fn controller(&self) -> Option<u16> {
        match self.state {
            State::Queue { controller, .. } => Some(controller),
            State::Fresh | State::Ready => None,
        }
    }

    /// A PDU has come; what is sent back.
    ///
    /// # Errors
    /// Why the connection is to be closed.
    pub fn receive(&mut self, now: Duration, pdu: Pdu, device: &mut Device) -> Result<Vec<u8>, Ended> {
        if device.subsystem.is_gone() {
            return Err(Ended::Gone);
        }
        if self.controller().is_some_and(|id| id != device.controller) {
            return Err(Ended::Replaced);
        }
        let sent = match (self.state, pdu) {
            (_, Pdu::Terminate) => return Err(Ended::ByHost),
            (State::Fresh, Pdu::Initialize { version: 0, digests: 0 }) => {
                self.state = State::Ready;
                wire::initialized()
            }
            (State::Fresh, Pdu::Initialize { .. }) => {
                return Err(Ended::Protocol("a version other than 0, or digests"));
            }
            (State::Fresh, _) => return Err(Ended::Protocol("something came before the first word")),
            (_, Pdu::Initialize { .. }) => return Err(Ended::Protocol("a second first word")),
            (_, Pdu::Command { command, data }) => self.command(now, command, data, device)?,
            (_, Pdu::Data { command, tag, offset, data }) => {
                if tag != command {
                    return Err(Ended::Protocol("data with a tag that was not given out"));
                }
                self.data(now, command, offset, &data, device)?
            }
        };
        // What made the device go does not get an answer.
        if device.subsystem.is_gone() { Err(Ended::Gone) } else { Ok(sent) }
    }

    fn command(
        &mut self,
        now: Duration,
        command: Command,
        capsule: Vec<u8>,
        device: &mut Device,
    ) -> Result<Vec<u8>, Ended> {
        if command.direction() != Direction::ToController {
            return Ok(self.carry_out(now, &command, &[], device));
        }
        match command.data_place() {
            DataPlace::Capsule { offset, length } => {
                let begin = usize::try_from(offset).unwrap_or(usize::MAX);
                let end = begin.saturating_add(length as usize);
                let data = capsule.get(begin..end).ok_or(Ended::Protocol("data beyond their capsule"))?;
                Ok(self.carry_out(now, &command, data, device))
            }
            DataPlace::Host { length: 0 } => Ok(self.carry_out(now, &command, &[], device)),
            DataPlace::Host { length } if length <= DATA_BYTES_MAX && self.waiting.len() < WAITING_MAX => {
                let id = command.id();
                if self.waiting.insert(id, (command, length, Vec::new())).is_some() {
                    return Err(Ended::Protocol("a command id that is in use"));
                }
                Ok(wire::ready(id, id, 0, length))
            }
            DataPlace::Host { .. } | DataPlace::Unknown => {
                Ok(self.respond(&command, &Answer::failed(Status::INVALID_FIELD)))
            }
        }
    }

    fn data(
        &mut self,
        now: Duration,
        id: u16,
        offset: u32,
        piece: &[u8],
        device: &mut Device,
    ) -> Result<Vec<u8>, Ended> {
        let Some((command, length, mut data)) = self.waiting.remove(&id) else {
            return Err(Ended::Protocol("data that nobody asked for"));
        };
        if offset as usize != data.len() || data.len() + piece.len() > length as usize {
            return Err(Ended::Protocol("data that do not follow each other"));
        }
        data.extend(piece);
        if data.len() < length as usize {
            self.waiting.insert(id, (command, length, data));
            return Ok(Vec::new());
        }
        Ok(self.carry_out(now, &command, &data, device))
    }

    fn carry_out(&mut self, now: Duration, command: &Command, data: &[u8], device: &mut Device) -> Vec<u8> {
        let answer = if command.opcode() == OPCODE_FABRICS {
            self.fabrics(command, data, device).into()
        } else {
            match self.state {
                State::Queue { controller, number: 0, .. } => match command.opcode() {
                    // Held until something happens, which nothing does.
                    ASYNC_EVENT_REQUEST if self.events < EVENTS_MAX => {
                        self.events += 1;
                        return Vec::new();
                    }
                    ASYNC_EVENT_REQUEST => Answer::failed(Status::EVENT_LIMIT),
                    _ => device.subsystem.admin(now, controller, command),
                },
                State::Queue { .. } => device.subsystem.io(now, command, data),
                State::Fresh | State::Ready => Answer::failed(Status::COMMAND_SEQUENCE),
            }
        };
        self.respond(command, &answer)
    }

    fn fabrics(&mut self, command: &Command, data: &[u8], device: &mut Device) -> Result<Answer, Status> {
        match (command.fabrics_type(), self.state) {
            (FABRICS_CONNECT, State::Ready) => {
                let number = u16::try_from(command.dword(10) >> 16).unwrap_or(0);
                let size = u16::try_from(command.dword(11) & 0xffff).unwrap_or(0);
                if data.len() < CONNECT_BYTES || size == 0 {
                    return Err(Status::CONNECT_PARAMETERS);
                }
                let controller = device.connect(number, data)?;
                self.state = State::Queue { controller, number, entries: size.saturating_add(1) };
                Ok(Answer::done(u64::from(controller)))
            }
            (FABRICS_PROPERTY_GET, State::Queue { number: 0, .. }) => {
                device.property(command.dword(11)).map(Answer::done)
            }
            (FABRICS_PROPERTY_SET, State::Queue { number: 0, .. }) => {
                device.set_property(command.dword(11), command.quad(12))?;
                Ok(Answer::done(0))
            }
            (FABRICS_CONNECT, _) => Err(Status::COMMAND_SEQUENCE),
            _ => Err(Status::INVALID_FIELD),
        }
    }

    /// Data, if there are any, and the completion.
    fn respond(&mut self, command: &Command, answer: &Answer) -> Vec<u8> {
        let (number, entries) = match self.state {
            State::Queue { number, entries, .. } => (number, entries),
            State::Fresh | State::Ready => (0, 32),
        };
        self.head = (self.head + 1) % entries.max(1);
        let room = match command.data_place() {
            DataPlace::Host { length } => length as usize,
            DataPlace::Capsule { .. } | DataPlace::Unknown => 0,
        };
        let data = &answer.data[..answer.data.len().min(room)];
        let mut sent = wire::data_to_host(command.id(), data);
        sent.extend(wire::response(number, self.head, command.id(), answer));
        sent
    }
}
