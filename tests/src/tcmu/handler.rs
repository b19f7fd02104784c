//! Inside the machine: takes commands out of the ring, carries them to the disk outside, and brings the
//! answers back.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

use super::command::is_to_disk;
use super::ring::{Entry, Memory, Ring};
use super::sense::Sense;
use super::target::memory_bytes;
use super::wire::{self, Answer, Request};

/// The ring of a device, and the way to the disk.
pub struct Handler {
    device: File,
    ring: Ring,
    disk: TcpStream,
}

impl Handler {
    /// Opens the ring of `/dev/uioN` and connects to the disk.
    ///
    /// # Errors
    /// What could not be opened.
    pub fn open(device: &Path, disk: SocketAddr) -> Result<Self> {
        let context = || format!("could not open the ring {}", device.display());
        let file = OpenOptions::new().read(true).write(true).open(device).with_context(context)?;
        let length = NonZeroUsize::new(memory_bytes(device)?).with_context(context)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place that the kernel chooses takes no memory from anybody.
        let base =
            unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, &file, 0) }.with_context(context)?;
        // SAFETY: the mapping is never taken away again, is aligned to a page, and nobody else in this
        // program knows of it.
        let memory = unsafe { Memory::new(base.as_ptr().cast(), length.get()) };
        let ring = Ring::new(memory).with_context(context)?;
        let disk = TcpStream::connect(disk).with_context(|| format!("could not reach the disk at {disk}"))?;
        disk.set_nodelay(true).context("could not set up the way to the disk")?;
        Ok(Self { device: file, ring, disk })
    }

    /// Serves the ring for ever.
    ///
    /// # Errors
    /// If the ring makes no sense or the kernel takes it away.
    pub fn serve(&mut self) -> Result<()> {
        loop {
            // The count of interrupts; of interest is only that there was one.
            self.device.read_exact(&mut [0; 4]).context("could not wait for a command")?;
            while let Some(entry) = self.ring.next()? {
                // A disk that is gone is a broken disk to the kernel, not one that is waited for.
                let answer = self.ask(&entry).unwrap_or_else(|_| Sense::BROKEN.refusal());
                self.ring.complete(&entry, &answer)?;
            }
            self.device.write_all(&[0; 4]).context("could not say that commands are done")?;
        }
    }

    fn ask(&self, entry: &Entry) -> Result<Answer> {
        let to_disk = is_to_disk(&entry.command);
        let request = Request {
            command: entry.command.clone(),
            room_bytes: if to_disk { 0 } else { u32::try_from(entry.data_bytes())? },
            data: if to_disk { self.ring.data(entry)? } else { Vec::new() },
        };
        wire::send(&self.disk, &request.bytes())?;
        Ok(Answer::parse(&wire::receive(&self.disk)?)?)
    }
}
