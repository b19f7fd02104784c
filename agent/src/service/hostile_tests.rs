//! An image that is written from HTTP servers on the loopback which answer for one chunk as no service
//! should: never a disk that boots, unless another address has the truth.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contract::agent_api::{Finish, FinishResult, Progress, ResidentIdentity};
use contract::id::{ChunkDigest, ImageId, OrderId, UnixMillis};
use imaging::chunk::CHUNK_BYTES;
use imaging::layout::DiskLayout;
use imaging::manifest::{Manifest, PartitionRole};

use super::client::Client;
use crate::act::carry_out::{World, carry_out};
use crate::act::device::BlockDevice as _;
use crate::act::fake_device::{FakeDevice, Faults};
use crate::act::fixture::{
    FakeDisks, FakeService, Image, layout_request, noise, of_bytes, partition, permit, write_step,
};
use crate::act::service::{Answer, Service};

const CHUNKS: usize = 8;
const DISK_BYTES: usize = 64 << 20;
/// How long the client bears silence here.
const STALL: Duration = Duration::from_millis(300);

fn image() -> Image {
    let end = 7 << 20;
    of_bytes(
        noise(21, CHUNKS * CHUNK_BYTES),
        vec![
            partition(1, 1 << 20, 3 << 20, PartitionRole::Esp),
            partition(2, 3 << 20, end, PartitionRole::Other),
        ],
    )
}

/// Chunks from the network, all else from memory.
struct Mixed {
    client: Client,
    fake: FakeService,
}

impl Service for Mixed {
    fn begin(&self, order: OrderId, step: u32) -> Answer<'_, ()> {
        self.fake.begin(order, step)
    }

    fn progress(&self, progress: Progress) -> Answer<'_, ()> {
        self.fake.progress(progress)
    }

    fn credential(&self) -> Answer<'_, ResidentIdentity> {
        self.fake.credential()
    }

    fn manifest(&self, image: ImageId) -> Answer<'_, Manifest> {
        self.fake.manifest(image)
    }

    fn chunk(&self, digest: ChunkDigest) -> Answer<'_, Vec<u8>> {
        self.client.chunk(digest)
    }
}

/// What a server does with a request for a chunk: the chunk's name, what is stored of it, and the line.
type Answering = Arc<dyn Fn(&str, &[u8], &mut TcpStream) -> std::io::Result<()> + Send + Sync>;

struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
}

/// A server that ends after so many requests, as one that loses its power does; it ends with the test.
fn serve(image: &Image, answering: Answering, requests_max: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let stored: Arc<BTreeMap<String, Vec<u8>>> =
        Arc::new(image.stored.iter().map(|(digest, bytes)| (digest.to_string(), bytes.clone())).collect());
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            if counted.fetch_add(1, Ordering::SeqCst) >= requests_max {
                return;
            }
            let (stored, answering) = (Arc::clone(&stored), Arc::clone(&answering));
            std::thread::spawn(move || {
                let mut connection = connection.unwrap();
                let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let name = first.split(' ').nth(1).unwrap().trim_start_matches("/chunks/").to_owned();
                let bytes = stored.get(&name).cloned().unwrap_or_default();
                let _ = answering(&name, &bytes, &mut connection);
            });
        }
    });
    Server { url, asked }
}

fn head(length: u64) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n").into_bytes()
}

fn honest(bytes: &[u8], line: &mut TcpStream) -> std::io::Result<()> {
    line.write_all(&head(bytes.len() as u64))?;
    line.write_all(bytes)
}

/// Honest but for one chunk.
fn but_for(victim: ChunkDigest, lie: fn(&[u8], &mut TcpStream) -> std::io::Result<()>) -> Answering {
    let victim = victim.to_string();
    Arc::new(move |name, bytes, line| if name == victim { lie(bytes, line) } else { honest(bytes, line) })
}

fn written_from(servers: &[&Server], image: &Image, faults: Faults) -> (Finish, Arc<FakeDevice>) {
    let device = Arc::new(FakeDevice::new(vec![0xa5; DISK_BYTES], faults));
    let urls: Vec<String> = servers.iter().map(|server| server.url.clone()).collect();
    let client = Client::for_images(&urls, STALL, 2);
    let world = World {
        service: Arc::new(Mixed { client, fake: FakeService::with(image) }),
        disks: Arc::new(FakeDisks { device: Arc::clone(&device), root_partition: None }),
        clock: Arc::new(|| UnixMillis(1600)),
        firmware: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let permit = permit(&device, vec![write_step(&device, image)]);
    (runtime.block_on(carry_out(permit, &world)), device)
}

fn first_chunk(image: &Image) -> Vec<u8> {
    let first = &image.bytes[..CHUNK_BYTES];
    DiskLayout::compute(&image.manifest, first, &layout_request(DISK_BYTES as u64)).unwrap().first_chunk
}

fn is_complete(disk: &FakeDevice, image: &Image) -> bool {
    let content = disk.content();
    let rest = CHUNK_BYTES..7 * CHUNK_BYTES;
    content[..CHUNK_BYTES] == first_chunk(image)[..] && content[rest.clone()] == image.bytes[rest]
}

fn error(finish: &Finish, what: &str) -> String {
    let FinishResult::Failed { error, .. } = &finish.result else { panic!("{what}: {finish:?}") };
    error.clone()
}

/// Waits until the client has gone, as a server that has nothing to say.
fn wait_for_the_end(line: &TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut line.try_clone()?, &mut std::io::sink()).map(drop)
}

#[test]
fn chunks_that_come_wrong_never_boot_and_another_address_helps_where_it_can() {
    type Lie = fn(&[u8], &mut TcpStream) -> std::io::Result<()>;
    // What the server does, the words of the failure, and whether another address is asked.
    let table: [(&str, Lie, &str, bool); 12] = [
        (
            "truncated",
            |b, l| l.write_all(&[head(b.len() as u64), b[..b.len() / 2].to_vec()].concat()),
            "hand out a chunk",
            true,
        ),
        ("nothing but a head", |b, l| l.write_all(&head(b.len() as u64)), "hand out a chunk", true),
        (
            "says more than there is",
            |b, l| l.write_all(&[head(u64::MAX / 2), b.to_vec()].concat()),
            "hand out a chunk",
            true,
        ),
        ("no HTTP at all", |_, l| l.write_all(b"220 mail.example ESMTP\r\n"), "hand out a chunk", true),
        (
            "says less than there is",
            |b, l| l.write_all(&[head(b.len() as u64 / 2), b.to_vec()].concat()),
            "came damaged",
            false,
        ),
        ("empty", |_, l| l.write_all(&head(0)), "came damaged", false),
        (
            "corrupted",
            |b, l| {
                let mut bytes = b.to_vec();
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                honest(&bytes, l)
            },
            "came damaged",
            false,
        ),
        (
            "of another order",
            |b, l| {
                let (first, second) = b.split_at(b.len() / 2);
                honest(&[second, first].concat(), l)
            },
            "came damaged",
            false,
        ),
        (
            "endless",
            |_, l| {
                l.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
                loop {
                    l.write_all(&[7; 1 << 16])?;
                }
            },
            "is longer than",
            false,
        ),
        (
            "gone",
            |_, l| l.write_all(b"HTTP/1.1 404 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
            "refused to hand out",
            false,
        ),
        ("stands still before the answer", |_, l| wait_for_the_end(l), "nothing has come", true),
        (
            "stands still in the middle",
            |b, l| {
                l.write_all(&[head(b.len() as u64), b[..b.len() / 2].to_vec()].concat())?;
                wait_for_the_end(l)
            },
            "nothing has come",
            true,
        ),
    ];
    let image = image();
    let victim = *image.stored.keys().nth(3).unwrap();
    let truth = serve(&image, Arc::new(|_, bytes, line| honest(bytes, line)), usize::MAX);
    for (what, lie, words, helped) in table {
        let liar = serve(&image, but_for(victim, lie), usize::MAX);
        let (finish, disk) = written_from(&[&liar], &image, Faults::default());
        let error = error(&finish, what);
        assert!(error.contains(words), "{what}: {error}");
        assert!(disk.content()[..CHUNK_BYTES] != first_chunk(&image)[..], "{what}: it would boot");
        let (finish, disk) = written_from(&[&liar, &truth], &image, Faults::default());
        assert_eq!(finish.result == FinishResult::Done, helped, "{what}: {finish:?}");
        assert_eq!(is_complete(&disk, &image), helped, "{what}");
    }
}

/// Another chunk's bytes under this chunk's name are not this chunk, however sound they are.
#[test]
fn chunks_that_changed_places_are_found_out() {
    let image = image();
    let names: Vec<(String, Vec<u8>)> =
        image.stored.iter().map(|(digest, bytes)| (digest.to_string(), bytes.clone())).collect();
    let swapped = serve(
        &image,
        Arc::new(move |name, bytes, line| {
            let at = names.iter().position(|(one, _)| one == name).filter(|at| *at < 2);
            honest(at.map_or(bytes, |at| &names[1 - at].1), line)
        }),
        usize::MAX,
    );
    let (finish, disk) = written_from(&[&swapped], &image, Faults::default());
    assert!(error(&finish, "swapped").contains("came damaged"));
    assert!(disk.content()[..CHUNK_BYTES] != first_chunk(&image)[..]);
}

/// The address that images come from loses its power in the middle; the other one is found once and kept.
#[test]
fn an_address_that_dies_in_the_middle_is_left_for_another() {
    let image = image();
    let honestly = || -> Answering { Arc::new(|_, bytes, line| honest(bytes, line)) };
    let asked = |server: &Server| server.asked.load(Ordering::SeqCst);
    // While the first address works, the other one is not asked at all.
    let (first, unused) = (serve(&image, honestly(), usize::MAX), serve(&image, honestly(), usize::MAX));
    let (finish, _) = written_from(&[&first, &unused], &image, Faults::default());
    assert_eq!(finish.result, FinishResult::Done);
    let whole = asked(&first);
    assert!(whole >= 7 && asked(&unused) == 0, "{whole}");
    for dies_after in [0, 1, 3, whole - 1] {
        let dying = serve(&image, honestly(), dies_after);
        let other = serve(&image, honestly(), usize::MAX);
        let (finish, disk) = written_from(&[&dying, &other], &image, Faults::default());
        assert_eq!(finish.result, FinishResult::Done, "after {dies_after}");
        assert!(is_complete(&disk, &image), "after {dies_after}");
        assert!(asked(&other) >= whole - dies_after, "after {dies_after}: {}", asked(&other));
    }
}

/// Disks that fail while an honest service hands out the image.
#[test]
fn a_disk_that_fails_at_any_place_never_boots() {
    let image = image();
    let truth = serve(&image, Arc::new(|_, bytes, line| honest(bytes, line)), usize::MAX);
    let at = |mebibytes: u64| Some(mebibytes << 20..(mebibytes << 20) + 1);
    let mut table: Vec<(String, Faults)> = Vec::new();
    for mebibytes in 1..7 {
        table.push((
            format!("unwritable at {mebibytes}"),
            Faults { unwritable: at(mebibytes), ..Faults::default() },
        ));
        table.push((
            format!("unreadable at {mebibytes}"),
            Faults { unreadable: at(mebibytes), ..Faults::default() },
        ));
    }
    table.push(("drops all writes".to_owned(), Faults { write_blocked_from: Some(0), ..Faults::default() }));
    for (what, faults) in table {
        let (finish, disk) = written_from(&[&truth], &image, faults);
        let error = error(&finish, &what);
        assert!(
            !error.is_empty() && disk.content()[..CHUNK_BYTES] != first_chunk(&image)[..],
            "{what}: {error}"
        );
    }
}

/// A disk that is smaller than the image, or another one than ordered, is refused before any write.
#[test]
fn a_disk_that_is_not_the_one_or_too_small_is_not_touched() {
    let image = image();
    let truth = serve(&image, Arc::new(|_, bytes, line| honest(bytes, line)), usize::MAX);
    let world = |device: &Arc<FakeDevice>| World {
        service: Arc::new(Mixed {
            client: Client::for_images(std::slice::from_ref(&truth.url), STALL, 2),
            fake: FakeService::with(&image),
        }),
        disks: Arc::new(FakeDisks { device: Arc::clone(device), root_partition: None }),
        clock: Arc::new(|| UnixMillis(1600)),
        firmware: None,
    };
    let small = Arc::new(FakeDevice::new(vec![0xa5; 6 << 20], Faults::default()));
    let ordered = FakeDevice::new(vec![0xa5; DISK_BYTES], Faults::default());
    let other = Arc::new(FakeDevice::new(vec![0xa5; DISK_BYTES + (1 << 20)], Faults::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (what, found, named) in [("too small", &small, &*small), ("another", &other, &ordered)] {
        let permit = permit(named, vec![write_step(named, &image)]);
        let finish = runtime.block_on(carry_out(permit, &world(found)));
        let error = error(&finish, what);
        assert!(error.contains("nothing was written"), "{what}: {error}");
        assert!(found.writes().is_empty(), "{what}");
    }
    assert_eq!(small.size_bytes(), 6 << 20);
    // The first chunk says how the image is laid out; that is all that is asked for.
    assert!(truth.asked.load(Ordering::SeqCst) <= 1);
}

/// What failed at all addresses fails, with what the last one said; within one call each is asked once.
#[tokio::test]
async fn each_address_is_asked_once_for_each_try() {
    let image = image();
    let asked: Arc<Mutex<Vec<usize>>> = Arc::default();
    let silent = |number: usize| -> Server {
        let asked = Arc::clone(&asked);
        serve(
            &image,
            Arc::new(move |_, _, _| {
                asked.lock().unwrap().push(number);
                Ok(())
            }),
            usize::MAX,
        )
    };
    let urls: Vec<String> = (0..3).map(|number| silent(number).url).collect();
    let client = Client::for_images(&urls, STALL, 2);
    let digest = *image.stored.keys().next().unwrap();
    assert!(client.chunk(digest).await.is_err());
    assert_eq!(*asked.lock().unwrap(), [0, 1, 2, 0, 1, 2]);
}
