//! A server on loopback and a client of a few lines, so that no tool is needed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use netboot::loader::ServedFile;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::transfers::Transfers;
use super::{Loaders, TftpAddress, start};
use crate::counters::Counters;

const PATIENCE: Duration = Duration::from_secs(10);
/// Not a multiple of any block size in use.
const SNPONLY_BYTES: usize = 100_003;
/// A multiple of 512: the transfer ends with an empty block.
const UNDIONLY_BYTES: usize = 5_120;
/// Over 65,536 blocks of 8 bytes.
const IPXE_BYTES: usize = 600_000;

struct Server {
    address: SocketAddr,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn content(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

impl Server {
    async fn with_places(places: usize) -> Self {
        let counters = Arc::new(Counters::default());
        let loaders: Loaders = [
            (ServedFile::SnponlyX64, content(SNPONLY_BYTES)),
            (ServedFile::UndionlyX86, content(UNDIONLY_BYTES)),
            (ServedFile::IpxeX64, content(IPXE_BYTES)),
        ]
        .into_iter()
        .collect();
        let address = TftpAddress {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            http_base_url: "http://127.0.0.1:8080".to_owned(),
        };
        let transfers = Arc::new(Transfers::new(places));
        let server = start(&address, &Arc::new(loaders), &transfers, &counters).await.unwrap();
        let address = server.listen_addr().unwrap();
        let task = tokio::spawn(async move { server.serve().await.unwrap() });
        Self { address, counters, task }
    }

    async fn new() -> Self {
        Self::with_places(8).await
    }

    /// Waits until a counter has this value.
    async fn counted(&self, name: &str, value: u64) {
        let reached = async {
            while self.counters.get(name) < value {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{name}: {:?}", self.counters.snapshot()));
        assert_eq!(self.counters.get(name), value);
    }
}

/// One client port.
struct Client {
    socket: UdpSocket,
}

#[derive(Debug, PartialEq, Eq)]
enum Packet {
    Data(u16, Vec<u8>),
    Error(u16, String),
    OptionsAccepted(BTreeMap<String, String>),
}

fn request(operation: u8, name: &[u8], options: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = vec![0, operation];
    bytes.extend(name);
    bytes.extend(b"\0octet\0");
    for (option, value) in options {
        bytes.extend([option.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    bytes
}

fn acknowledgement(block: u16) -> Vec<u8> {
    [&[0, 4], block.to_be_bytes().as_slice()].concat()
}

impl Client {
    async fn new() -> Self {
        Self { socket: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap() }
    }

    async fn send(&self, bytes: &[u8], to: SocketAddr) {
        self.socket.send_to(bytes, to).await.unwrap();
    }

    async fn receive(&self) -> (Packet, SocketAddr) {
        let mut bytes = vec![0; 2048];
        let (length, from) = timeout(PATIENCE, self.socket.recv_from(&mut bytes)).await.unwrap().unwrap();
        let number = u16::from_be_bytes([bytes[2], bytes[3]]);
        let packet = match bytes[1] {
            3 => Packet::Data(number, bytes[4..length].to_vec()),
            5 => Packet::Error(number, String::from_utf8(bytes[4..length - 1].to_vec()).unwrap()),
            6 => {
                let texts: Vec<&str> = bytes[2..length - 1]
                    .split(|byte| *byte == 0)
                    .map(|text| std::str::from_utf8(text).unwrap())
                    .collect();
                Packet::OptionsAccepted(
                    texts.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect(),
                )
            }
            other => panic!("operation {other}"),
        };
        (packet, from)
    }

    /// Fetches a file; gives the accepted options and the bytes.
    async fn fetch(
        &self,
        server: SocketAddr,
        name: &str,
        options: &[(&str, &str)],
    ) -> Result<(BTreeMap<String, String>, Vec<u8>), (u16, String)> {
        self.send(&request(1, name.as_bytes(), options), server).await;
        let (mut accepted, mut bytes) = (BTreeMap::new(), Vec::new());
        let (mut block_bytes, mut window, mut expected, mut in_window) = (512, 1, 1_u16, 0);
        loop {
            match self.receive().await {
                (Packet::Error(code, text), _) => return Err((code, text)),
                (Packet::OptionsAccepted(options), from) => {
                    let number = |name: &str, otherwise| {
                        options.get(name).map_or(otherwise, |text| text.parse().unwrap())
                    };
                    (block_bytes, window) = (number("blksize", 512), number("windowsize", 1));
                    accepted = options;
                    self.send(&acknowledgement(0), from).await;
                }
                // Sent again because an acknowledgement was late.
                (Packet::Data(block, _), _) if block != expected => {}
                (Packet::Data(block, data), from) => {
                    bytes.extend(&data);
                    (expected, in_window) = (expected.wrapping_add(1), in_window + 1);
                    let last = data.len() < block_bytes;
                    if last || in_window == window {
                        in_window = 0;
                        self.send(&acknowledgement(block), from).await;
                    }
                    if last {
                        return Ok((accepted, bytes));
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn serves_files_with_and_without_options() {
    let server = Server::new().await;
    let client = Client::new().await;
    let (accepted, bytes) = client.fetch(server.address, "undionly.kpxe", &[]).await.unwrap();
    assert!(accepted.is_empty() && bytes == content(UNDIONLY_BYTES));
    server.counted("tftp.finished", 1).await;
    let options =
        [("tsize", "0"), ("blksize", "1024"), ("timeout", "2"), ("windowsize", "4"), ("other", "1")];
    let (accepted, bytes) =
        Client::new().await.fetch(server.address, "/SNPONLY.EFI", &options).await.unwrap();
    let expected = [("tsize", "100003"), ("blksize", "1024"), ("timeout", "2"), ("windowsize", "4")];
    assert_eq!(accepted, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(bytes, content(SNPONLY_BYTES));
    server.counted("tftp.finished", 2).await;
    assert_eq!(server.counters.get("tftp.aborted"), 0);
    let (_, script) = Client::new().await.fetch(server.address, "autoexec.ipxe", &[]).await.unwrap();
    let script = String::from_utf8(script).unwrap();
    assert!(script.starts_with("#!ipxe\n") && script.contains("http://127.0.0.1:8080/boot/script.ipxe"));
}

#[tokio::test]
async fn limits_hold_and_block_numbers_go_round() {
    let server = Server::new().await;
    let greedy = [("blksize", "65464"), ("windowsize", "65535")];
    let (accepted, bytes) = Client::new().await.fetch(server.address, "snponly.efi", &greedy).await.unwrap();
    assert_eq!((accepted["blksize"].as_str(), accepted["windowsize"].as_str()), ("1468", "64"));
    assert_eq!(bytes, content(SNPONLY_BYTES));
    let tiny = [("blksize", "8"), ("windowsize", "64")];
    let (_, bytes) = Client::new().await.fetch(server.address, "ipxe.efi", &tiny).await.unwrap();
    assert_eq!(bytes, content(IPXE_BYTES), "over 65,536 blocks");
}

#[tokio::test]
async fn nothing_but_the_served_names_can_be_reached() {
    let server = Server::new().await;
    let names = [
        "../../etc/passwd",
        "/etc/passwd",
        "..\\ipxe.efi",
        "./ipxe.efi",
        "",
        "%2e%2e/ipxe.efi",
        "ipxe.efi/",
        "ipxe-arm64.efi",
    ];
    for name in names {
        let (code, _) = Client::new().await.fetch(server.address, name, &[]).await.unwrap_err();
        assert_eq!(code, 1, "{name:?} is not found");
    }
    let long = "a".repeat(2000);
    assert_eq!(Client::new().await.fetch(server.address, &long, &[]).await.unwrap_err().0, 1);
    assert_eq!(server.counters.get("tftp.refused-name"), 9);
    assert_eq!(server.counters.get("tftp.started"), 0);
}

#[tokio::test]
async fn takes_no_files() {
    let server = Server::new().await;
    let client = Client::new().await;
    client.send(&request(2, b"ipxe.efi", &[]), server.address).await;
    assert!(matches!(client.receive().await.0, Packet::Error(2, _)));
    assert_eq!(server.counters.get("tftp.refused-write"), 1);
}

#[tokio::test]
async fn nonsense_is_ignored() {
    let server = Server::new().await;
    let client = Client::new().await;
    let endless = [&[0, 1][..], &[b'a'; 5000]].concat();
    let nonsense: [&[u8]; 9] = [
        &[],
        &[0],
        &[0, 1],
        &[0, 9, 0, 0],
        &[0, 4, 0, 0],
        b"\0\x01ipxe.efi",
        b"\0\x01ipxe.efi\0octet",
        b"\0\x01\xff\xfe\0octet\0",
        &endless,
    ];
    for datagram in nonsense {
        client.send(datagram, server.address).await;
    }
    assert!(
        client.fetch(server.address, "undionly.kpxe", &[("blksize", "x"), ("windowsize", "0")]).await.is_ok()
    );
    assert_eq!(server.counters.get("tftp.started"), 1);
}

#[tokio::test]
async fn transfers_are_bounded() {
    let server = Server::with_places(1).await;
    let first = Client::new().await;
    first.send(&request(1, b"snponly.efi", &[]), server.address).await;
    let (block, from) = first.receive().await;
    assert!(matches!(block, Packet::Data(1, _)));
    let (code, text) = Client::new().await.fetch(server.address, "undionly.kpxe", &[]).await.unwrap_err();
    assert!(code == 0 && text.contains("too many"), "{code} {text}");
    assert_eq!(server.counters.get("tftp.refused-busy"), 1);
    first.send(&acknowledgement(1), from).await;
    assert!(matches!(first.receive().await.0, Packet::Data(2, _)), "the first goes on");
}

#[tokio::test]
async fn a_probe_that_is_given_up_is_a_ghost_until_it_is_aborted() {
    let server = Server::new().await;
    let probe = Client::new().await;
    probe.send(&request(1, b"undionly.kpxe", &[("tsize", "0")]), server.address).await;
    let (accepted, from) = probe.receive().await;
    assert!(matches!(accepted, Packet::OptionsAccepted(_)));
    probe.send(b"\0\x05\0\x08probe ends\0", from).await;
    // As EDK2 does: the same file from another port.
    Client::new().await.fetch(server.address, "undionly.kpxe", &[]).await.unwrap();
    server.counted("tftp.ghost-transfers", 1).await;
    server.counted("tftp.finished", 1).await;
    server.counted("tftp.aborted", 1).await;
}

#[tokio::test]
async fn a_late_acknowledgement_is_a_stall() {
    let server = Server::new().await;
    let client = Client::new().await;
    client.send(&request(1, b"snponly.efi", &[]), server.address).await;
    let (first, from) = client.receive().await;
    // The same block again means that the timeout has passed.
    assert_eq!(client.receive().await.0, first);
    client.send(&acknowledgement(1), from).await;
    server.counted("tftp.stalls", 1).await;
}

#[tokio::test]
async fn a_wildcard_is_refused() {
    let address =
        TftpAddress { listen: SocketAddr::from(([0, 0, 0, 0], 0)), http_base_url: "http://a".to_owned() };
    let (loaders, transfers) = (Arc::new(Loaders::default()), Arc::new(Transfers::new(1)));
    let refused = start(&address, &loaders, &transfers, &Arc::new(Counters::default())).await;
    assert!(refused.err().unwrap().to_string().contains("wildcard"));
}

#[test]
fn loaders_are_read_from_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Loaders::load(folder.path()).unwrap_err().to_string().contains("no loader"));
    std::fs::write(folder.path().join("ipxe-amd64.efi"), b"newer").unwrap();
    std::fs::write(folder.path().join("ipxe.efi"), b"older").unwrap();
    let loaders = Loaders::load(folder.path()).unwrap();
    assert_eq!(loaders.get(ServedFile::IpxeX64).unwrap(), "newer");
    assert_eq!(loaders.get(ServedFile::UndionlyX86), None);
    std::fs::write(folder.path().join("undionly.kpxe"), b"").unwrap();
    assert!(Loaders::load(folder.path()).unwrap_err().to_string().contains("0 bytes"));
}
