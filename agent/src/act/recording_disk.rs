//! A disk that remembers every write and flush in order, so that a power cut at any moment can be
//! acted out afterwards.
//!
//! The kernel's own ext4 writes to a loop device over a file that this process serves (FUSE protocol,
//! `linux/fuse.h`): one regular file is the whole file system, and nothing of it is cached in between.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// The largest write that the kernel hands over at once, in bytes.
const WRITE_BYTES_MAX: usize = 128 * 1024;

/// What was done to the disk.
#[derive(Debug, Clone)]
pub enum Done {
    /// Bytes were written at this place; they may be lost until the next flush.
    Write(usize, Vec<u8>),
    /// Everything written before is durable.
    Flush,
}

#[derive(Default)]
struct State {
    content: Vec<u8>,
    done: Vec<Done>,
}

/// Such a disk. Dropping it ends it; whatever uses its file must be gone by then.
pub struct RecordingDisk {
    /// The file that is the disk.
    pub file: PathBuf,
    state: Arc<Mutex<State>>,
    server: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl RecordingDisk {
    /// A disk with this content, of which nothing is recorded yet.
    pub fn with(content: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk");
        File::create(&file).unwrap();
        let kernel = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=100000,user_id=0,group_id=0,allow_other", kernel.as_raw_fd());
        mount(Some("disk"), &file, Some("fuse"), MsFlags::empty(), Some(options.as_str()))
            .unwrap_or_else(|error| panic!("mounting a file of our own: {error} (needs root)"));
        let state = Arc::new(Mutex::new(State { content, done: Vec::new() }));
        let served = Arc::clone(&state);
        let server = Some(std::thread::spawn(move || serve(kernel, &served)));
        Self { file, state, server, _folder: folder }
    }

    /// Everything that was done to it so far, in order.
    pub fn done(&self) -> Vec<Done> {
        self.state.lock().unwrap().done.clone()
    }

    /// The path, for those who attach it.
    pub fn path(&self) -> &Path {
        &self.file
    }
}

impl Drop for RecordingDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.file, MntFlags::MNT_DETACH);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// What the kernel asks (`struct fuse_in_header`): number of the operation, of the question, and the
/// bytes behind the header.
fn serve(mut kernel: File, state: &Mutex<State>) {
    let mut buffer = vec![0; WRITE_BYTES_MAX + 4096];
    // The kernel ends the connection when the file system is unmounted.
    while let Ok(length) = kernel.read(&mut buffer) {
        let question = &buffer[..length];
        let (operation, unique) = (u32_at(question, 4), u64_at(question, 8));
        let Some(answer) = answer(operation, &question[40..], &mut state.lock().unwrap()) else { continue };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(error) => (-error, Vec::new()),
        };
        let mut message = ((16 + body.len()) as u32).to_le_bytes().to_vec();
        message.extend(error.to_le_bytes());
        message.extend(unique.to_le_bytes());
        message.extend(body);
        let _ = kernel.write(&message);
    }
}

/// The answer, an error, or nothing for what is not answered.
fn answer(operation: u32, body: &[u8], state: &mut State) -> Option<Result<Vec<u8>, i32>> {
    const GETATTR: u32 = 3;
    const SETATTR: u32 = 4;
    const OPEN: u32 = 14;
    const READ: u32 = 15;
    const WRITE: u32 = 16;
    const RELEASE: u32 = 18;
    const FSYNC: u32 = 20;
    const FLUSH: u32 = 25;
    const INIT: u32 = 26;
    const DESTROY: u32 = 38;
    let place = || (u64_at(body, 8) as usize, u32_at(body, 16) as usize);
    Some(match operation {
        INIT => Ok(initial()),
        GETATTR | SETATTR => Ok(attributes(state.content.len())),
        // A handle, and "no caching of what is read and written".
        OPEN => Ok([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0].to_vec()),
        READ => {
            let (from, length) = place();
            let until = (from + length).min(state.content.len());
            Ok(state.content.get(from..until).unwrap_or_default().to_vec())
        }
        WRITE => {
            let ((at, length), bytes) = (place(), &body[40..]);
            state.content[at..at + length].copy_from_slice(&bytes[..length]);
            state.done.push(Done::Write(at, bytes[..length].to_vec()));
            Ok([(length as u32).to_le_bytes(), [0; 4]].concat())
        }
        FSYNC => {
            state.done.push(Done::Flush);
            Ok(Vec::new())
        }
        FLUSH | RELEASE | DESTROY => Ok(Vec::new()),
        // Forgetting and interrupting want no answer.
        2 | 36 | 42 => return None,
        _ => Err(nix::libc::ENOSYS),
    })
}

/// `struct fuse_init_out`: version 7.31, large writes.
fn initial() -> Vec<u8> {
    let mut body = Vec::new();
    for value in [7_u32, 31, 0, 1 << 5, 0, WRITE_BYTES_MAX as u32, 1] {
        body.extend(value.to_le_bytes());
    }
    body.resize(64, 0);
    body
}

/// `struct fuse_attr_out`: a regular file of this size, the same for ever.
fn attributes(size: usize) -> Vec<u8> {
    let mut body = [1_u64, 0, 1, size as u64, size as u64 / 512, 0, 0, 0].map(u64::to_le_bytes).concat();
    for value in [0_u32, 0, 0, 0o100_600, 1, 0, 0, 0, 4096, 0] {
        body.extend(value.to_le_bytes());
    }
    body
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}
