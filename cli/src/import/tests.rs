//! The whole import against a service that keeps what it gets in memory and can be told to fail.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Cursor, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use contract::id::{ChunkDigest, UnixMillis};
use contract::operator_api::{ChunkList, ImageView};
use contract::secret::Secret;
use imaging::chunk::{CHUNK_BYTES, decompress_verified};
use imaging::manifest::{Chunk, EntryKind, Manifest};
use imaging::signed::unpack;

use crate::Ending;
use crate::arguments::{Arguments, Command as Words};
use crate::client::{Client, hint};
use crate::image::ImageCommand;
use crate::settings::Settings;

#[derive(Default)]
struct Stored {
    chunks: BTreeMap<String, Vec<u8>>,
    manifest: Option<Manifest>,
    calls: Vec<String>,
    /// Refuses every chunk after this many.
    chunks_most: Option<usize>,
}

/// A service on loopback; it ends with the process of the test.
struct Service {
    address: String,
    stored: Arc<Mutex<Stored>>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stored = Arc::new(Mutex::new(Stored::default()));
        let shared = Arc::clone(&stored);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(connection.unwrap(), &shared));
            }
        });
        Self { address, stored }
    }

    fn client(&self) -> Client {
        let token = Secret::new("token".to_owned());
        Client::new(&Settings { service: self.address.clone(), ca: None, token }).unwrap()
    }

    fn calls(&self, start: &str) -> usize {
        self.stored.lock().unwrap().calls.iter().filter(|call| call.starts_with(start)).count()
    }
}

fn answer(connection: TcpStream, stored: &Mutex<Stored>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let (mut length, mut authorized) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let lower = header.trim().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        authorized |= lower == "authorization: bearer token";
        if let Some(value) = lower.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let call = line.trim_end_matches(" HTTP/1.1\r\n").to_owned();
    let (status, reply) =
        if authorized { reply(&call, &body, stored) } else { (401, refusal("who are you?")) };
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", reply.len());
    let mut connection = connection;
    connection.write_all(&[head.as_bytes(), &reply].concat()).unwrap();
}

fn refusal(message: &str) -> Vec<u8> {
    format!("{{\"kind\":\"internal\",\"message\":\"{message}\",\"hint\":\"try again\"}}").into_bytes()
}

const IMPORT: &str = "/v1/imports/00000000-0000-0000-0000-000000000001";

fn reply(call: &str, body: &[u8], stored: &Mutex<Stored>) -> (u16, Vec<u8>) {
    let mut stored = stored.lock().unwrap();
    let resumed = !stored.chunks.is_empty();
    stored.calls.push(call.to_owned());
    if call == "POST /v1/imports" {
        let import = IMPORT.rsplit('/').next().unwrap();
        return (200, format!("{{\"import\":\"{import}\",\"resumed\":{resumed}}}").into_bytes());
    }
    if call == format!("POST {IMPORT}/missing") {
        let asked: ChunkList = serde_json::from_slice(body).unwrap();
        let missing = asked
            .chunks
            .into_iter()
            .filter(|chunk| !stored.chunks.contains_key(&chunk.to_string()))
            .collect();
        return (200, serde_json::to_vec(&ChunkList { chunks: missing }).unwrap());
    }
    if let Some(digest) = call.strip_prefix(&format!("PUT {IMPORT}/chunks/")) {
        if stored.chunks_most.is_some_and(|most| stored.chunks.len() >= most) {
            return (500, refusal("the disk is full"));
        }
        stored.chunks.insert(digest.to_owned(), body.to_vec());
        return (200, Vec::new());
    }
    if call == format!("POST {IMPORT}/commit") {
        let manifest = Manifest::from_bytes(&unpack(body).unwrap()).unwrap();
        let view = view(&manifest);
        stored.manifest = Some(manifest);
        return (200, serde_json::to_vec(&view).unwrap());
    }
    assert_eq!(call, format!("DELETE {IMPORT}"));
    stored.chunks.clear();
    (204, Vec::new())
}

fn view(manifest: &Manifest) -> ImageView {
    ImageView {
        id: manifest.id().unwrap(),
        name: manifest.name.clone(),
        imported_at: UnixMillis(0),
        disk_bytes: manifest.disk_bytes,
        chunks: manifest.chunk_count(),
        stored_bytes: 0,
        shared_bytes: 0,
        partitions: Vec::new(),
        immutable_files: 0,
        without_agent: false,
    }
}

/// A folder with what becomes the root.
fn tree(folder: &Path) -> PathBuf {
    let tree = folder.join("tree");
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    fs::write(tree.join("usr/bin/program"), vec![3; 300_000]).unwrap();
    tree
}

/// A disk image of 16 MiB with a boot partition and an ext4 root.
fn disk_image(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    File::create(&root).unwrap().set_len(12 << 20).unwrap();
    let made = Command::new("/sbin/mkfs.ext4").args(["-q", "-F", "-d"]).arg(tree(folder)).arg(&root).status();
    assert!(made.expect("mkfs.ext4 (package e2fsprogs) runs").success());
    disk_with(&fs::read(&root).unwrap(), folder)
}

/// A disk image with a boot partition and this root.
fn disk_with(root: &[u8], folder: &Path) -> PathBuf {
    let mut disk = Cursor::new(vec![0; root.len() + (4 << 20)]);
    let mut table = gptman::GPT::new_from(&mut disk, 512, [5; 16]).unwrap();
    let entry = |type_guid: &str, unique, first: u64, last: u64| gptman::GPTPartitionEntry {
        partition_type_guid: type_guid.parse::<uuid::Uuid>().unwrap().to_bytes_le(),
        unique_partition_guid: [unique; 16],
        starting_lba: first,
        ending_lba: last,
        attribute_bits: 0,
        partition_name: "part".into(),
    };
    let last = 4096 + (root.len() as u64 / 512) - 1;
    table[1] = entry("0fc63daf-8483-4772-8e79-3d69d8477de4", 1, 4096, last);
    table[14] = entry("21686148-6449-6e6f-744e-656564454649", 14, 2048, 4095);
    table.write_into(&mut disk).unwrap();
    let mut bytes = disk.into_inner();
    bytes[1 << 20..2 << 20].fill(0xb0);
    bytes[2 << 20..][..root.len()].copy_from_slice(root);
    let path = folder.join("disk.raw");
    fs::write(&path, bytes).unwrap();
    path
}

async fn import(service: &Service, file: &Path, more: &[&str]) -> anyhow::Result<Ending> {
    let file = file.to_str().unwrap();
    let words = ["reprieve", "--json", "image", "import", file, "--name", "debian"];
    let arguments = Arguments::try_parse_from(words.iter().chain(more)).unwrap();
    let Words::Image { command: ImageCommand::Import(arguments) } = arguments.command else { panic!() };
    super::import(&service.client(), arguments, true).await
}

/// The image as a node would put it together from what the service has.
fn put_together(stored: &Stored) -> Vec<u8> {
    let manifest = stored.manifest.as_ref().unwrap();
    let chunk = |index| match manifest.chunk(index).unwrap() {
        Chunk::Zero => vec![0; manifest.chunk_length(index)],
        Chunk::Stored(digest) => {
            let digest: ChunkDigest = digest;
            decompress_verified(&stored.chunks[&digest.to_string()], digest, manifest.chunk_length(index))
                .unwrap()
        }
    };
    (0..manifest.chunk_count()).flat_map(chunk).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_arrives_whole_and_its_manifest_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (service, file) = (Service::start(), disk_image(folder.path()));
    assert_eq!(import(&service, &file, &[]).await.unwrap(), Ending::Good);
    let stored = service.stored.lock().unwrap();
    let bytes = fs::read(&file).unwrap();
    assert!(put_together(&stored) == bytes);
    let manifest = stored.manifest.as_ref().unwrap();
    let boot = manifest.partition(14).unwrap();
    assert_eq!(boot.immutable, Some(contract::id::Digest::of(&bytes[1 << 20..2 << 20])));
    assert_eq!(manifest.partition(1).unwrap().immutable, None);
    let root = manifest.root.as_ref().unwrap();
    assert!(root.entry("/usr/bin/program").is_some());
    assert!(stored.chunks.len() < bytes.len() / CHUNK_BYTES, "zero chunks are not stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_has_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let (service, file) = (Service::start(), disk_image(folder.path()));
    import(&service, &file, &[]).await.unwrap();
    let first = service.calls("PUT");
    let missing = service.stored.lock().unwrap().chunks.pop_first().unwrap();
    import(&service, &file, &[]).await.unwrap();
    assert_eq!(service.calls("PUT"), first + 1);
    assert!(service.stored.lock().unwrap().chunks.contains_key(&missing.0));
    assert!(put_together(&service.stored.lock().unwrap()) == fs::read(&file).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_import_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (service, file) = (Service::start(), disk_image(folder.path()));
    service.stored.lock().unwrap().chunks_most = Some(1);
    let error = import(&service, &file, &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "the disk is full");
    assert_eq!(hint(&error).unwrap(), "try again");
    assert_eq!(service.calls("DELETE"), 1);
    assert!(service.stored.lock().unwrap().manifest.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_of_an_image_that_is_cut_off_or_not_understood() {
    let folder = tempfile::tempdir().unwrap();
    let (service, file) = (Service::start(), disk_image(folder.path()));
    let whole = fs::read(&file).unwrap();
    let refused = async |bytes: &[u8], more: &[&str]| {
        fs::write(&file, bytes).unwrap();
        format!("{:#}", import(&service, &file, more).await.unwrap_err())
    };
    assert!(refused(&whole[..15 << 20], &[]).await.contains("cut off"));
    assert!(refused(&vec![0; 1 << 20], &[]).await.contains("no GUID partition table"));
    assert!(refused(&whole, &["--root-partition", "7"]).await.contains("no partition 7"));
    assert!(refused(&whole, &["--mutable-partition", "7"]).await.contains("no partition 7"));
    assert!(refused(&whole, &["--immutable-path", "usr"]).await.contains("not an absolute path"));
    let mut no_root = whole.clone();
    no_root[(2 << 20) + 1080] = 0;
    assert!(refused(&no_root, &["--immutable-path", "/usr"]).await.contains("no ext4"));
    assert_eq!(service.calls(""), 0);
    fs::write(&file, &no_root).unwrap();
    import(&service, &file, &[]).await.unwrap();
    assert!(service.stored.lock().unwrap().manifest.as_ref().unwrap().root.is_none());
    // What cannot be listed is imported without its files, unless they were asked for.
    no_root[2 << 20..(2 << 20) + 4].copy_from_slice(b"XFSB");
    assert!(refused(&no_root, &["--immutable-path", "/usr"]).await.contains("version 0 of the format"));
    import(&service, &file, &[]).await.unwrap();
    assert!(service.stored.lock().unwrap().manifest.as_ref().unwrap().root.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_lie_in_a_btrfs_root_as_it_is_read_is_sent_beside_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, root) = (tree(folder.path()), folder.path().join("root"));
    fs::write(tree.join("usr/bin/small"), "stands in the tree").unwrap();
    File::create(&root).unwrap().set_len(64 << 20).unwrap();
    let made = Command::new("mkfs.btrfs")
        .args(["-q", "-f", "-m", "single", "-d", "single", "--rootdir"])
        .arg(&tree)
        .arg(&root)
        .status();
    assert!(made.expect("mkfs.btrfs (package btrfs-progs) runs").success());
    let file = disk_with(&fs::read(&root).unwrap(), folder.path());
    let service = Service::start();
    import(&service, &file, &[]).await.unwrap();
    let stored = service.stored.lock().unwrap();
    assert!(put_together(&stored) == fs::read(&file).unwrap());
    let manifest = stored.manifest.as_ref().unwrap();
    let files = manifest.root.as_ref().unwrap();
    assert_eq!((files.file_system.as_str(), manifest.content.as_slice().len()), ("btrfs", 1));
    let [Chunk::Stored(digest)] = manifest.content.as_slice() else { panic!("{:?}", manifest.content) };
    let content = decompress_verified(&stored.chunks[&digest.to_string()], *digest, 1 << 20).unwrap();
    let extents = |path: &str| match &files.entry(path).unwrap().kind {
        EntryKind::File { extents, .. } => extents.clone(),
        other => panic!("{other:?}"),
    };
    let [small] = extents("/usr/bin/small").try_into().unwrap();
    assert_eq!((small.image_offset, small.length_bytes), (manifest.content_start(), 18));
    assert_eq!(&content[..18], b"stands in the tree");
    assert!(extents("/usr/bin/program").iter().all(|extent| extent.image_offset < manifest.disk_bytes));
}
