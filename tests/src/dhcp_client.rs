//! A DHCP client that says exactly what a test wants, byte for byte (RFC 2131 §2, RFC 2132).

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;

use crate::namespace::GUEST_INTERFACE;

/// Option numbers that tests use.
pub mod option {
    /// DHCP message type.
    pub const MESSAGE_TYPE: u8 = 53;
    /// Server identifier.
    pub const SERVER_ID: u8 = 54;
    /// Vendor class identifier.
    pub const VENDOR_CLASS: u8 = 60;
    /// Boot file name.
    pub const BOOT_FILE: u8 = 67;
    /// User class (iPXE writes it without RFC 3004's lengths).
    pub const USER_CLASS: u8 = 77;
    /// Client system architecture (RFC 4578 §2.1).
    pub const ARCHITECTURE: u8 = 93;
    /// Client network interface identifier (RFC 4578 §2.2).
    pub const INTERFACE_ID: u8 = 94;
    /// Client machine identifier (RFC 4578 §2.3).
    pub const MACHINE_ID: u8 = 97;
}

/// DHCPDISCOVER.
pub const DISCOVER: u8 = 1;
/// DHCPOFFER.
pub const OFFER: u8 = 2;
/// DHCPREQUEST.
pub const REQUEST: u8 = 3;
/// DHCPACK.
pub const ACK: u8 = 5;

const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// What a client sends.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its kind.
    pub kind: u8,
    /// Transaction id.
    pub transaction: u32,
    /// Hardware address.
    pub mac: [u8; 6],
    /// The address it has already.
    pub client_address: Ipv4Addr,
    /// Options besides the kind.
    pub options: Vec<(u8, Vec<u8>)>,
}

impl Message {
    /// The bytes on the wire, with the broadcast flag set.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![1, 1, 6, 0];
        bytes.extend(self.transaction.to_be_bytes());
        bytes.extend([0, 0, 0x80, 0]);
        bytes.extend(self.client_address.octets());
        bytes.extend([0; 12]);
        bytes.extend(self.mac);
        bytes.extend([0; 10 + 64 + 128]);
        bytes.extend(COOKIE);
        bytes.extend([option::MESSAGE_TYPE, 1, self.kind]);
        for (code, value) in &self.options {
            bytes.push(*code);
            bytes.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
            bytes.extend(value.iter().take(usize::from(u8::MAX)));
        }
        bytes.push(255);
        bytes.resize(bytes.len().max(300), 0);
        bytes
    }
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Transaction id.
    pub transaction: u32,
    /// The address given; 0.0.0.0 if none.
    pub your_address: Ipv4Addr,
    /// The next server.
    pub server_address: Ipv4Addr,
    /// The boot file of the fixed field.
    pub file: String,
    /// Options, as they came.
    pub options: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let address = |at: usize| -> Option<Ipv4Addr> {
            let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(octets))
        };
        let file = bytes.get(108..236)?.split(|byte| *byte == 0).next()?;
        let mut options = Vec::new();
        let mut rest = bytes.get(236..)?.strip_prefix(&COOKIE)?;
        while let [code, tail @ ..] = rest {
            match (*code, tail) {
                (255, _) => break,
                (0, _) => rest = tail,
                (code, [length, tail @ ..]) => {
                    options.push((code, tail.get(..usize::from(*length))?.to_vec()));
                    rest = tail.get(usize::from(*length)..)?;
                }
                _ => return None,
            }
        }
        Some(Self {
            transaction: u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?),
            your_address: address(16)?,
            server_address: address(20)?,
            file: String::from_utf8_lossy(file).into_owned(),
            options,
        })
    }

    /// An option's value.
    #[must_use]
    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.iter().find(|(found, _)| *found == code).map(|(_, value)| value.as_slice())
    }

    /// The kind of message; 0 if it does not say.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.option(option::MESSAGE_TYPE).and_then(|value| value.first().copied()).unwrap_or(0)
    }

    /// The boot file, from its option or from the fixed field.
    #[must_use]
    pub fn boot_file(&self) -> String {
        match self.option(option::BOOT_FILE) {
            Some(name) => String::from_utf8_lossy(name).trim_end_matches('\0').to_owned(),
            None => self.file.clone(),
        }
    }
}

/// A client's socket on port 68 (or another one, which PXE uses towards port 4011).
#[derive(Debug)]
pub struct Client(UdpSocket);

impl Client {
    /// Opens it. Call inside the namespace that the client lives in.
    ///
    /// # Errors
    /// If the port cannot be had.
    pub fn open() -> Result<Self> {
        let socket =
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68)).context("could not open the client's port 68")?;
        // Without a route a broadcast needs to be told where it leaves.
        setsockopt(&socket, BindToDevice, &OsString::from(GUEST_INTERFACE))
            .context("could not bind to the interface")?;
        socket.set_broadcast(true).context("could not allow broadcasts")?;
        Ok(Self(socket))
    }

    /// Sends to a server and waits for the answer to this transaction; none if none came in time.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn ask(&self, message: &Message, server: SocketAddrV4, limit: Duration) -> Result<Option<Answer>> {
        self.0.send_to(&message.bytes(), server).with_context(|| format!("could not send to {server}"))?;
        self.0.set_read_timeout(Some(limit)).context("could not set a timeout")?;
        let mut buffer = [0; 2048];
        // Bounded: a wire of our own has nobody who floods it.
        for _ in 0..100 {
            match self.0.recv(&mut buffer) {
                Ok(count) => {
                    let answer = Answer::parse(&buffer[..count]);
                    if let Some(answer) = answer.filter(|answer| answer.transaction == message.transaction) {
                        return Ok(Some(answer));
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(error).context("could not receive"),
            }
        }
        Ok(None)
    }
}
