//! The fake disk on a TCP port of the laboratory's network.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::disk::{Disk, Profile};
use super::wire::{self, Request};
use crate::namespace::Namespace;

/// A fake disk that answers until it is dropped.
#[derive(Debug)]
pub struct FakeDisk {
    shared: Arc<Shared>,
    listener: Arc<TcpListener>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    disk: Mutex<Disk>,
    begun: Instant,
    /// The connection of the machine, and whether one is taken.
    wire: Mutex<Wire>,
}

#[derive(Debug)]
struct Wire {
    powered: bool,
    stream: Option<Arc<TcpStream>>,
}

impl FakeDisk {
    /// A blank disk that listens inside a network.
    ///
    /// # Errors
    /// If it cannot listen there.
    pub fn start(network: &Namespace, address: SocketAddr, profile: Profile) -> Result<Self> {
        let listener = network
            .enter(|| TcpListener::bind(address))?
            .with_context(|| format!("the fake disk could not listen on {address}"))?;
        Ok(Self::serve(listener, profile))
    }

    /// A blank disk behind a listener.
    #[must_use]
    pub fn serve(listener: TcpListener, profile: Profile) -> Self {
        let shared = Arc::new(Shared {
            disk: Mutex::new(Disk::new(profile)),
            begun: Instant::now(),
            wire: Mutex::new(Wire { powered: true, stream: None }),
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

    /// Looks at the disk, or changes it behind its host's back.
    pub fn with<T>(&self, work: impl FnOnce(&mut Disk, Duration) -> T) -> T {
        let now = self.shared.begun.elapsed();
        work(&mut self.shared.disk(), now)
    }

    /// The power of the disk goes, and its connection with it, or comes back. What it stores and how far
    /// a sanitize has come stays.
    pub fn power(&self, powered: bool) {
        self.with(|disk, now| disk.power(now, powered));
        let mut wire = self.shared.wire();
        wire.powered = powered;
        if !powered {
            wire.close();
        }
    }
}

impl Drop for FakeDisk {
    fn drop(&mut self) {
        // On a listening socket this ends the `accept` that waits.
        let _ = nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        self.shared.wire().close();
    }
}

impl Wire {
    fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    // A thread that broke off leaves the disk as it is; tests look at it all the same.
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a connection on a thread of its own, or closes it if there is no power. A machine that
    /// starts anew does not say that its last connection is gone.
    fn take(self: &Arc<Self>, stream: TcpStream) {
        let stream = Arc::new(stream);
        let mut wire = self.wire();
        if !wire.powered {
            return;
        }
        wire.close();
        wire.stream = Some(Arc::clone(&stream));
        let shared = Arc::clone(self);
        std::thread::spawn(move || {
            // How a connection ends is the host's affair; tests look at the disk.
            let _ = shared.serve(&stream);
            let _ = stream.shutdown(Shutdown::Both);
        });
    }

    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        self.disk().connect();
        loop {
            let message = wire::receive(stream)?;
            let request = Request::parse(&message).map_err(io::Error::other)?;
            let mut answer = self.disk().execute(self.begun.elapsed(), &request.command, &request.data);
            answer.data.truncate(usize::try_from(request.room_bytes).map_err(io::Error::other)?);
            wire::send(stream, &answer.bytes())?;
        }
    }
}
