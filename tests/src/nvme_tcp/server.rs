//! The fake controller on a TCP port of the laboratory's network.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::connection::{Connection, Device};
use super::identify::Profile;
use super::subsystem::Subsystem;
use super::wire::{self, COMMON_BYTES};
use crate::namespace::Namespace;

/// How many connections may be open at once; a host has two.
const CONNECTIONS_MAX: usize = 32;

/// A fake controller that answers until it is dropped.
#[derive(Debug)]
pub struct FakeNvme {
    shared: Arc<Shared>,
    listener: Arc<TcpListener>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    device: Mutex<Device>,
    begun: Instant,
    /// Open connections, and whether new ones are taken.
    wire: Mutex<Wire>,
}

#[derive(Debug)]
struct Wire {
    powered: bool,
    streams: Vec<Arc<TcpStream>>,
}

impl FakeNvme {
    /// A blank device that listens inside a network.
    ///
    /// # Errors
    /// If it cannot listen there.
    pub fn start(network: &Namespace, address: SocketAddr, profile: Profile) -> Result<Self> {
        let listener = network
            .enter(|| TcpListener::bind(address))?
            .with_context(|| format!("the fake controller could not listen on {address}"))?;
        Ok(Self::serve(listener, profile))
    }

    /// A blank device behind a listener.
    #[must_use]
    pub fn serve(listener: TcpListener, profile: Profile) -> Self {
        let shared = Arc::new(Shared {
            device: Mutex::new(Device::new(Subsystem::new(profile))),
            begun: Instant::now(),
            wire: Mutex::new(Wire { powered: true, streams: Vec::new() }),
        });
        let listener = Arc::new(listener);
        let accepting = std::thread::spawn({
            let (shared, listener) = (Arc::clone(&shared), Arc::clone(&listener));
            move || {
                while let Ok((stream, _)) = listener.accept() {
                    shared.take(stream);
                }
            }
        });
        Self { shared, listener, accepting: Some(accepting) }
    }

    /// Looks at the device, or changes it behind its host's back.
    pub fn with<T>(&self, work: impl FnOnce(&mut Subsystem, Duration) -> T) -> T {
        let now = self.shared.begun.elapsed();
        work(&mut self.shared.device().subsystem, now)
    }

    /// The power of the device goes, and every connection with it, or comes back. What it stores and
    /// how far a sanitize has come stays.
    pub fn power(&self, powered: bool) {
        self.with(|subsystem, now| subsystem.power(now, powered));
        let mut wire = self.shared.wire();
        wire.powered = powered;
        if !powered {
            wire.close_all();
        }
    }
}

impl Drop for FakeNvme {
    fn drop(&mut self) {
        // On a listening socket this ends the `accept` that waits.
        let _ = nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        self.shared.wire().close_all();
    }
}

impl Wire {
    fn close_all(&mut self) {
        for stream in self.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    // A thread that broke off leaves the device as it is; tests look at it all the same.
    fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Serves a connection on a thread of its own, or closes it if there is no power.
    fn take(self: &Arc<Self>, stream: TcpStream) {
        let stream = Arc::new(stream);
        let mut wire = self.wire();
        if !wire.powered {
            return;
        }
        if wire.streams.len() >= CONNECTIONS_MAX {
            // A host that lost its power does not say so; the oldest connections are such ones.
            let _ = wire.streams.remove(0).shutdown(Shutdown::Both);
        }
        wire.streams.push(Arc::clone(&stream));
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            // How a connection ends is the host's affair; tests look at the device.
            let _ = shared.serve(&stream);
            let _ = stream.shutdown(Shutdown::Both);
            shared.wire().streams.retain(|open| !Arc::ptr_eq(open, &stream));
        });
    }

    fn serve(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut connection = Connection::default();
        loop {
            let mut common = [0; COMMON_BYTES];
            stream.read_exact(&mut common)?;
            let total = wire::pdu_bytes(&common).map_err(io::Error::other)?;
            let mut bytes = common.to_vec();
            bytes.resize(total, 0);
            stream.read_exact(&mut bytes[COMMON_BYTES..])?;
            let pdu = wire::parse(&bytes).map_err(io::Error::other)?;
            let sent = connection.receive(self.begun.elapsed(), pdu, &mut self.device());
            stream.write_all(&sent.map_err(io::Error::other)?)?;
        }
    }
}
