//! Several reads of one disk under way at a time, for who looks at what they give in one order.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use erasure::sample::Span;

use super::device::{AlignedBuffer, BlockDevice};

/// So many reads are under way at a time. Each has memory of its own for as long as the disk is open, a MiB
/// at most, and many disks may be erased side by side.
pub const READERS: usize = 8;
/// A reader needs next to no stack.
const STACK_BYTES: usize = 128 << 10;

/// What a reader has read: whether it could, and the memory that it was read into.
struct Answer {
    read: io::Result<()>,
    buffer: AlignedBuffer,
}

/// A thread that reads what it is asked for, one span after the other.
struct Reader {
    asked: Option<SyncSender<(Span, AlignedBuffer)>>,
    answers: Receiver<Answer>,
    /// Its memory while it reads nothing: new memory for each span costs as much as reading it.
    buffer: Option<AlignedBuffer>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn start(device: Arc<dyn BlockDevice>) -> io::Result<Self> {
        let (ask, asked) = sync_channel::<(Span, AlignedBuffer)>(1);
        let (answer, answers) = channel();
        let work = move || {
            for (span, mut buffer) in asked {
                let read = read_span(&*device, span, &mut buffer);
                if answer.send(Answer { read, buffer }).is_err() {
                    return;
                }
            }
        };
        let thread = Builder::new().name("read-ahead".to_owned()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Self { asked: Some(ask), answers, buffer: None, thread: Some(thread) })
    }

    fn ask(&mut self, span: Span) {
        let buffer = self.buffer.take().unwrap_or_else(|| AlignedBuffer::zeroed(0));
        if let Some(ask) = &self.asked {
            // One that has ended gives no answer, and that is what is said of the span then.
            drop(ask.send((span, buffer)));
        }
    }

    fn answer(&self) -> Answer {
        self.answers.recv().unwrap_or_else(|_| Answer {
            read: Err(io::Error::other("the reader ended without a word")),
            buffer: AlignedBuffer::zeroed(0),
        })
    }
}

impl Drop for Reader {
    /// The disk may be closed when this returns.
    fn drop(&mut self) {
        drop(self.asked.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Reads spans of a disk in the order in which they are asked for, and those behind them meanwhile.
pub struct ReadAhead {
    readers: Vec<Reader>,
    /// What is under way, oldest first: each on the reader behind that of the one before.
    under_way: VecDeque<Span>,
    /// The reader of the oldest.
    turn: usize,
}

impl ReadAhead {
    /// Starts the readers. None of them reads anything yet.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(device: &Arc<dyn BlockDevice>) -> io::Result<Self> {
        let readers = (0..READERS).map(|_| Reader::start(Arc::clone(device))).collect::<Result<_, _>>()?;
        Ok(Self { readers, under_way: VecDeque::new(), turn: 0 })
    }

    /// Reads the first of these spans and hands `look` what it gave; those behind it are under way meanwhile,
    /// as many as there are readers. Whatever was under way and is none of them is waited for and dropped.
    ///
    /// Gives nothing where nothing is to be read.
    pub fn read<T>(&mut self, coming: &[Span], look: impl FnOnce(io::Result<&[u8]>) -> T) -> Option<T> {
        let first = coming.first()?;
        if self.under_way.iter().ne(coming.iter().take(self.under_way.len())) {
            self.settle();
        }
        for span in coming.iter().take(self.readers.len()).skip(self.under_way.len()) {
            let place = (self.turn + self.under_way.len()) % self.readers.len();
            self.readers.get_mut(place)?.ask(*span);
            self.under_way.push_back(*span);
        }
        let (at, Answer { read, buffer }) = self.oldest()?;
        let length = usize::try_from(first.bytes).unwrap_or(usize::MAX);
        let bytes = read.and_then(|()| {
            buffer.bytes().get(..length).ok_or_else(|| io::Error::other("a reader gave less than a span"))
        });
        let looked = look(bytes);
        if let Some(reader) = self.readers.get_mut(at) {
            reader.buffer = Some(buffer);
        }
        Some(looked)
    }

    /// Waits for what is under way and drops it: the disk is read by nobody when this returns.
    pub fn settle(&mut self) {
        while self.oldest().is_some() {}
    }

    /// What the oldest read under way gave, and which reader it was.
    fn oldest(&mut self) -> Option<(usize, Answer)> {
        self.under_way.pop_front()?;
        let at = self.turn;
        self.turn = (at + 1) % self.readers.len();
        Some((at, self.readers.get(at)?.answer()))
    }
}

fn read_span(device: &dyn BlockDevice, span: Span, buffer: &mut AlignedBuffer) -> io::Result<()> {
    let length = usize::try_from(span.bytes).map_err(io::Error::other)?;
    if buffer.bytes().len() < length {
        *buffer = AlignedBuffer::zeroed(length);
    }
    let bytes = buffer.bytes_mut().get_mut(..length).unwrap_or_default();
    device.read_at(span.offset, bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    use erasure::command::{CommandProgress, DeviceCommand};

    use super::*;
    use crate::act::fake_device::{FakeDevice, Faults};

    /// A disk that gives nothing until it is asked for several spans at a time.
    struct Patient {
        disk: FakeDevice,
        reading: Mutex<usize>,
        more: Condvar,
        together_max: AtomicUsize,
    }

    impl BlockDevice for Patient {
        fn size_bytes(&self) -> u64 {
            self.disk.size_bytes()
        }

        fn sector_bytes(&self) -> u32 {
            512
        }

        fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
            let mut reading = self.reading.lock().unwrap();
            *reading += 1;
            self.together_max.fetch_max(*reading, Ordering::Relaxed);
            self.more.notify_all();
            let enough = |_: &mut usize| self.together_max.load(Ordering::Relaxed) < READERS;
            let (mut reading, _) =
                self.more.wait_timeout_while(reading, Duration::from_secs(20), enough).unwrap();
            *reading -= 1;
            drop(reading);
            self.disk.read_at(offset_bytes, buffer)
        }

        fn write_at(&self, offset_bytes: u64, bytes: &[u8]) -> io::Result<()> {
            self.disk.write_at(offset_bytes, bytes)
        }

        fn flush(&self) -> io::Result<()> {
            self.disk.flush()
        }

        fn drop_caches(&self) -> io::Result<()> {
            Ok(())
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

    fn content() -> Vec<u8> {
        (0..64 * 4096_u32).map(|at| (at / 512) as u8).collect()
    }

    fn spans() -> Vec<Span> {
        // Blocks, and stretches of other lengths among them.
        let bytes = |at: u64| if at.is_multiple_of(5) { 512 } else { 4096 };
        (0..64).map(|at| Span { offset: at * 4096, bytes: bytes(at) }).collect()
    }

    #[test]
    fn several_are_under_way_and_each_comes_when_it_is_its_turn() {
        let disk = FakeDevice::new(content(), Faults::default());
        let (reading, more) = (Mutex::new(0), Condvar::new());
        let patient = Arc::new(Patient { disk, reading, more, together_max: AtomicUsize::new(0) });
        let device: Arc<dyn BlockDevice> = Arc::clone(&patient) as _;
        let mut ahead = ReadAhead::start(&device).unwrap();
        let (spans, content) = (spans(), content());
        for (at, span) in spans.iter().enumerate() {
            let expected = &content[span.offset as usize..(span.offset + span.bytes) as usize];
            let end = spans.len().min(at + READERS + 3);
            let same = ahead.read(&spans[at..end], |bytes| bytes.unwrap() == expected);
            assert_eq!(same, Some(true), "{span:?}");
        }
        assert_eq!(patient.together_max.load(Ordering::Relaxed), READERS);
        assert_eq!(patient.disk.bytes_read(), spans.iter().map(|span| span.bytes).sum::<u64>(), "once each");
        drop((ahead, device));
        assert_eq!(Arc::strong_count(&patient), 1, "nobody has the disk open any more");
    }

    #[test]
    fn what_cannot_be_read_is_said_of_that_span_alone() {
        let faults = Faults { unreadable: Some(5 * 4096..5 * 4096 + 1), ..Faults::default() };
        let device: Arc<dyn BlockDevice> = Arc::new(FakeDevice::new(content(), faults));
        let mut ahead = ReadAhead::start(&device).unwrap();
        let spans = spans();
        for at in 0..spans.len() {
            assert_eq!(ahead.read(&spans[at..], |bytes| bytes.is_err()), Some(at == 5));
        }
        assert_eq!(ahead.read(&[], |_| ()), None);
    }

    #[test]
    fn another_order_gets_what_it_asks_for() {
        let device: Arc<dyn BlockDevice> = Arc::new(FakeDevice::new(content(), Faults::default()));
        let mut ahead = ReadAhead::start(&device).unwrap();
        let (spans, content) = (spans(), content());
        for at in [0, 1, 40, 41, 7, 63] {
            let start = spans[at].offset as usize;
            let first = ahead.read(&spans[at..], |bytes| bytes.unwrap()[0]);
            assert_eq!(first, Some(content[start]), "{at}");
        }
        ahead.settle();
        assert!(ahead.under_way.is_empty());
    }
}
