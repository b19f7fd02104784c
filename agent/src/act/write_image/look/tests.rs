use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use erasure::command::{CommandProgress, DeviceCommand};
use imaging::manifest::PartitionRole;

use super::*;
use crate::act::device::BlockDevice;
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{FakeService, Image, layout_request, noise, of_bytes, partition};

const CHUNKS: usize = 9;
const DISK_BYTES: usize = 56 << 20;

fn image() -> Image {
    let end = (CHUNKS * CHUNK_BYTES) as u64;
    of_bytes(noise(41, end as usize), vec![partition(1, 1 << 20, end, PartitionRole::Other)])
}

fn layout(image: &Image) -> DiskLayout {
    let first = &image.bytes[..CHUNK_BYTES];
    DiskLayout::compute(&image.manifest, first, &layout_request(DISK_BYTES as u64)).unwrap()
}

/// A disk that is the image.
fn installed(image: &Image, layout: &DiskLayout) -> Vec<u8> {
    let mut content = vec![0; DISK_BYTES];
    content[..image.bytes.len()].copy_from_slice(&image.bytes);
    content[..CHUNK_BYTES].copy_from_slice(&layout.first_chunk);
    content[layout.backup_table_offset as usize..].copy_from_slice(&layout.backup_table);
    content
}

/// Whether somebody was told, for those who wait for it.
#[derive(Default)]
struct Told {
    told: Mutex<bool>,
    changed: Condvar,
}

impl Told {
    fn tell(&self) {
        *self.told.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// Nobody waits for ever.
    fn wait(&self) -> io::Result<()> {
        let told = self.told.lock().unwrap();
        let waited = self.changed.wait_timeout_while(told, Duration::from_secs(10), |told| !*told).unwrap();
        if waited.1.timed_out() { Err(io::Error::other("nobody was told")) } else { Ok(()) }
    }
}

/// A disk whose last chunk is given for the sample, and then not before somebody was told.
struct Waits {
    disk: FakeDevice,
    sampled: AtomicBool,
    told: Arc<Told>,
}

impl BlockDevice for Waits {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.disk.sector_bytes()
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let is_last = offset_bytes == ((CHUNKS - 1) * CHUNK_BYTES) as u64;
        if is_last && self.sampled.swap(true, Ordering::Relaxed) {
            self.told.wait()?;
        }
        self.disk.read_at(offset_bytes, buffer)
    }

    fn write_at(&self, _offset_bytes: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(io::Error::other("nothing is written while somebody looks"))
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }

    fn drop_caches(&self) -> io::Result<()> {
        self.disk.drop_caches()
    }

    fn start_erase(&self, command: DeviceCommand) -> io::Result<()> {
        self.disk.start_erase(command)
    }

    fn erase_progress(&self, command: DeviceCommand) -> io::Result<CommandProgress> {
        self.disk.erase_progress(command)
    }

    fn reread_partitions(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What was found, with how much of the start has to be written.
fn looked(content: Vec<u8>, faults: Faults, waits: bool, image: &Image) -> Looked<usize> {
    let told = Arc::new(Told::default());
    if !waits {
        told.tell();
    }
    let disk = FakeDevice::new(content, faults);
    let device = Waits { disk, sampled: AtomicBool::new(false), told: Arc::clone(&told) };
    let work = Work {
        device: Arc::new(device),
        disk: "test".to_owned(),
        service: Arc::new(FakeService::without_images()),
        meter: Arc::default(),
        disks_at_once: 1,
        buffers: Arc::default(),
    };
    let get_ready = |start_bytes| {
        told.tell();
        Ok(start_bytes)
    };
    look(&work, &image.manifest, &layout(image), get_ready).unwrap()
}

#[test]
fn a_difference_is_told_while_the_rest_is_looked_at() {
    let image = image();
    let layout = layout(&image);
    let right = installed(&image, &layout);
    let places = [
        (0, Vec::new(), layout.first_chunk.len()),
        (CHUNK_BYTES - 1, Vec::new(), layout.first_chunk.len()),
        (5 * CHUNK_BYTES, vec![5], layout.tables_bytes()),
        (DISK_BYTES - 1, Vec::new(), layout.tables_bytes()),
    ];
    for (at, differing, start_bytes) in places {
        let mut changed = right.clone();
        changed[at] ^= 1;
        let found = looked(changed, Faults::default(), true, &image);
        assert_eq!((found.differing, found.ready), (differing, Some(start_bytes)), "byte {at}");
    }
}

#[test]
fn what_cannot_be_read_is_told_too_and_what_is_right_is_not() {
    let image = image();
    let right = installed(&image, &layout(&image));
    let bad = 3 << 20..(3 << 20) + 1;
    let unreadable = Faults { unreadable: Some(bad), ..Faults::default() };
    let found = looked(right.clone(), unreadable, false, &image);
    assert_eq!((found.differing, found.ready), (vec![3], Some(layout(&image).tables_bytes())));
    let found = looked(right, Faults::default(), false, &image);
    assert_eq!((found.differing, found.ready), (Vec::new(), None));
}
