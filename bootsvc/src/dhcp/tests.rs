//! The real listener on a pair of virtual interfaces in a network namespace of its own, spoken to
//! frame by frame: only so can be seen to which hardware address a reply goes.
//!
//! Needs the rights to make a namespace (root) and `ip`.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contract::id::UnixMillis;
use netboot::answer::BootServices;
use netboot::dhcp::lease::LeaseRecordState;
use netboot::dhcp::scope::{Scope, ScopeSettings};
use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::task::JoinHandle;

use super::socket::station;
use super::{
    BootDirective, BoxFuture, Counters, Decider, InterfaceConfig, LeaseRecord, LeaseStore, Mode, Seen,
    listener, watch,
};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 60);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const NEIGHBOUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x50];
const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 7];
const EVERYBODY: [u8; 6] = [0xff; 6];
const PATIENCE: Duration = Duration::from_secs(10);
/// EtherType of IPv4, as packet sockets want it.
const ETH_P_IP: u16 = 0x0800;

/// Runs a test in a fresh network namespace with `near` (192.0.2.1) and `far` wired together.
fn in_namespace(test: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace; run the tests as root");
        // Everything of this runtime stays on this thread, and so in this namespace.
        ip("link add near type veth peer name far");
        ip("address add 192.0.2.1/24 dev near");
        for name in ["near", "far", "lo"] {
            ip(&format!("link set {name} up"));
        }
        for address in [RELAY, NEIGHBOUR] {
            ip(&format!("neighbour add {address} lladdr 02:00:00:00:00:50 dev near"));
        }
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    thread.join().expect("the test in the namespace failed; see above");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("run ip (package iproute2)");
    assert!(status.success(), "ip {arguments}");
}

/// What the service would do, with faults to choose.
#[derive(Default)]
struct Service {
    records: Mutex<BTreeMap<Ipv4Addr, LeaseRecord>>,
    /// 0: works, 1: can't decide, 2: panics, 3: can't save.
    fault: AtomicU8,
    seen: Mutex<Vec<Seen>>,
}

impl Decider for Service {
    fn boot_directive<'a>(&'a self, seen: &'a Seen) -> BoxFuture<'a, anyhow::Result<BootDirective>> {
        Box::pin(async move {
            self.seen.lock().unwrap().push(seen.clone());
            match self.fault.load(Ordering::SeqCst) {
                1 => anyhow::bail!("the store is closed"),
                2 => panic!("a fault on purpose"),
                _ => Ok(BootDirective::Local { reason: "nothing to do".to_owned() }),
            }
        })
    }
}

impl LeaseStore for Service {
    fn load<'a>(&'a self, _: &'a str) -> BoxFuture<'a, anyhow::Result<Vec<LeaseRecord>>> {
        Box::pin(async move { Ok(self.records.lock().unwrap().values().copied().collect()) })
    }

    fn save<'a>(&'a self, interface: &'a str, record: &'a LeaseRecord) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            assert_eq!(interface, "near");
            anyhow::ensure!(self.fault.load(Ordering::SeqCst) != 3, "the disk is full");
            self.records.lock().unwrap().insert(record.address, *record);
            Ok(())
        })
    }
}

/// A listener and the wire to it.
struct Laboratory {
    service: Arc<Service>,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<()>>,
    wire: Socket,
    near_mac: [u8; 6],
}

fn authoritative() -> Mode {
    let settings = ScopeSettings {
        network: Ipv4Addr::new(192, 0, 2, 0),
        prefix: 24,
        server: SERVER,
        pools: vec![(Ipv4Addr::new(192, 0, 2, 100), Ipv4Addr::new(192, 0, 2, 109))],
        routers: Vec::new(),
        name_servers: Vec::new(),
        domain: None,
        lease_seconds: 3600,
        reservations: BTreeMap::new(),
    };
    Mode::Authoritative { scopes: vec![Scope::new(settings).unwrap()] }
}

impl Laboratory {
    async fn start(mode: Mode, service: Arc<Service>) -> Self {
        let counters = Arc::new(Counters::default());
        let config = InterfaceConfig {
            name: "near".to_owned(),
            address: SERVER,
            services: BootServices { tftp_server: SERVER, http_base_url: "http://192.0.2.1:8080".to_owned() },
            mode,
        };
        let listener = listener::Listener::start(config, service.clone(), service.clone(), counters.clone())
            .await
            .unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(listener.run(stopped));
        let protocol = Protocol::from(i32::from(ETH_P_IP.to_be()));
        let wire = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol)).unwrap();
        // At the far end only, or each frame would be seen leaving and arriving.
        wire.bind(&far_end()).unwrap();
        Self { service, counters, stop, task, wire, near_mac: mac_of("near") }
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// Puts a frame on the wire at the far end.
    fn send(&self, message: &Message) {
        let frame = message.frame(self.near_mac);
        self.wire.send_to(&frame, &far_end()).unwrap();
    }

    /// The next reply of the server on the wire.
    async fn receive(&self) -> Reply {
        let next = async {
            loop {
                let mut frame = vec![0; 2048];
                match (&self.wire).read(&mut frame) {
                    Ok(length) => match Reply::read(&frame[..length]) {
                        Some(reply) => return reply,
                        None => continue,
                    },
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let counted = || format!("no reply: {:?}", self.counters.snapshot());
        tokio::time::timeout(PATIENCE, next).await.unwrap_or_else(|_| panic!("{}", counted()))
    }

    async fn ask(&self, message: &Message) -> Reply {
        self.send(message);
        self.receive().await
    }

    async fn counted(&self, name: &str) {
        let reached = async {
            while self.counters.get(name) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, reached).await;
        assert!(waited.is_ok(), "{name} was not counted: {:?}", self.counters.snapshot());
    }
}

fn far_end() -> SockAddr {
    station(nix::net::if_::if_nametoindex("far").unwrap(), EVERYBODY).unwrap()
}

fn mac_of(interface: &str) -> [u8; 6] {
    let output = Command::new("ip").args(["-brief", "link", "show", interface]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mac = text.split_whitespace().find_map(|word| word.parse::<contract::id::MacAddress>().ok());
    mac.unwrap().0
}

/// A client's message and how it is sent.
#[derive(Clone)]
struct Message {
    options: Vec<(u8, Vec<u8>)>,
    flags: u16,
    giaddr: Ipv4Addr,
    /// None: from nobody to everybody, ports 68 and 67.
    unicast: Option<(Ipv4Addr, u16)>,
}

impl Message {
    fn new(kind: u8, options: &[(u8, &[u8])]) -> Self {
        let mut all = vec![(53, vec![kind])];
        all.extend(options.iter().map(|(code, data)| (*code, data.to_vec())));
        Self { options: all, flags: 0, giaddr: Ipv4Addr::UNSPECIFIED, unicast: None }
    }

    /// What a BIOS ROM sends.
    fn of_rom(kind: u8, options: &[(u8, &[u8])]) -> Self {
        let class = [(60, &b"PXEClient:Arch:00000:UNDI:002001"[..]), (93, &[0, 0][..])];
        Self::new(kind, &[&class[..], options].concat())
    }

    fn frame(&self, near_mac: [u8; 6]) -> Vec<u8> {
        let mut dhcp = vec![0; 240];
        dhcp[..3].copy_from_slice(&[1, 1, 6]);
        dhcp[10..12].copy_from_slice(&self.flags.to_be_bytes());
        dhcp[24..28].copy_from_slice(&self.giaddr.octets());
        dhcp[28..34].copy_from_slice(&CLIENT);
        dhcp[236..].copy_from_slice(&[99, 130, 83, 99]);
        for (code, data) in &self.options {
            dhcp.extend([*code, u8::try_from(data.len()).unwrap()]);
            dhcp.extend(data);
        }
        dhcp.push(255);
        let (to_mac, source, target, ports) = match self.unicast {
            None => (EVERYBODY, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, (68, 67)),
            Some((source, port)) => (near_mac, source, SERVER, (port, port)),
        };
        let mut packet = netboot::dhcp::frame::packet(source, target, &dhcp).unwrap();
        let (from, to): (u16, u16) = ports;
        packet[20..22].copy_from_slice(&from.to_be_bytes());
        packet[22..24].copy_from_slice(&to.to_be_bytes());
        // No checksum: it was of other ports.
        packet[26..28].fill(0);
        [&to_mac[..], &CLIENT, &ETH_P_IP.to_be_bytes(), &packet].concat()
    }
}

/// A reply as it was on the wire.
#[derive(Debug)]
struct Reply {
    to_mac: [u8; 6],
    source: Ipv4Addr,
    target: Ipv4Addr,
    port: u16,
    yiaddr: Ipv4Addr,
    file: Vec<u8>,
    options: BTreeMap<u8, Vec<u8>>,
}

impl Reply {
    /// None for whatever else is on the wire.
    fn read(frame: &[u8]) -> Option<Self> {
        let (ethernet, packet) = frame.split_at_checked(14)?;
        let dhcp = packet.get(28..).filter(|dhcp| dhcp.first() == Some(&2) && packet[9] == 17)?;
        let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map(Ipv4Addr::from).unwrap();
        let read = dhcproto::v4::borrowed::Message::new(dhcp).ok()?;
        Some(Self {
            to_mac: ethernet[..6].try_into().unwrap(),
            source: address(&packet[12..16]),
            target: address(&packet[16..20]),
            port: u16::from_be_bytes([packet[22], packet[23]]),
            yiaddr: read.yiaddr(),
            file: read.fname().to_vec(),
            options: read.opts().map(|option| (u8::from(option.code()), option.data().to_vec())).collect(),
        })
    }

    fn kind(&self) -> u8 {
        self.options[&53][0]
    }
}

#[test]
fn a_machine_gets_an_address_and_a_loader() {
    in_namespace(async || {
        let laboratory = Laboratory::start(authoritative(), Arc::default()).await;
        let offer = laboratory.ask(&Message::of_rom(1, &[])).await;
        assert_eq!((offer.kind(), offer.to_mac, offer.source), (2, CLIENT, SERVER));
        assert_eq!((offer.target, offer.port), (offer.yiaddr, 68), "to the address that it will have");
        assert_eq!(offer.file, b"undionly.kpxe");
        let address = offer.yiaddr.octets();
        let ack = laboratory.ask(&Message::of_rom(3, &[(50, &address), (54, &SERVER.octets())])).await;
        assert_eq!((ack.kind(), ack.yiaddr), (5, offer.yiaddr));
        let record = laboratory.service.records.lock().unwrap()[&offer.yiaddr];
        assert!(
            matches!(record.state, LeaseRecordState::Bound { mac, until } if mac.0 == CLIENT && until > UnixMillis(0))
        );
        let seen = laboratory.service.seen.lock().unwrap()[0].clone();
        assert_eq!((seen.mac.0, seen.interface.as_str(), seen.relay), (CLIENT, "near", None));

        let mut by_broadcast = Message::new(1, &[]);
        by_broadcast.flags = 0x8000;
        let offer = laboratory.ask(&by_broadcast).await;
        assert_eq!((offer.to_mac, offer.target, offer.source), (EVERYBODY, Ipv4Addr::BROADCAST, SERVER));
        assert!(!offer.options.contains_key(&67), "does not boot from the network");

        let mut relayed = Message::of_rom(1, &[(82, b"\x01\x01r")]);
        relayed.giaddr = RELAY;
        let offer = laboratory.ask(&relayed).await;
        assert_eq!((offer.target, offer.port, offer.to_mac), (RELAY, 67, NEIGHBOUR_MAC));
        assert_eq!(offer.options[&82], b"\x01\x01r");

        let service = laboratory.service.clone();
        laboratory.end().await;
        let laboratory = Laboratory::start(authoritative(), service).await;
        let ack = laboratory.ask(&Message::new(3, &[(50, &address)])).await;
        assert_eq!(ack.kind(), 5, "remembered over a restart");
        laboratory.end().await;
    });
}

#[test]
fn faults_cost_one_answer_and_not_the_listener() {
    in_namespace(async || {
        let laboratory = Laboratory::start(authoritative(), Arc::default()).await;
        let fault = |fault| laboratory.service.fault.store(fault, Ordering::SeqCst);
        let offer = laboratory.ask(&Message::of_rom(1, &[])).await;
        let take = Message::new(3, &[(50, &offer.yiaddr.octets()), (54, &SERVER.octets())]);

        fault(3);
        laboratory.send(&take);
        laboratory.counted("dhcp.errors").await;
        assert_eq!(laboratory.counters.get("dhcp.acknowledged"), 0, "not durable, so not acknowledged");

        fault(2);
        laboratory.send(&Message::of_rom(1, &[]));
        laboratory.counted("dhcp.panics").await;

        fault(1);
        let offer = laboratory.ask(&Message::of_rom(1, &[])).await;
        assert!(!offer.options.contains_key(&67) && offer.file.is_empty(), "undecided: nothing to boot");
        assert_eq!(laboratory.counters.get("dhcp.undecided"), 1);

        fault(0);
        laboratory.send(&Message::new(2, &[]));
        laboratory.counted("dhcp.malformed").await;
        let ack = laboratory.ask(&take).await;
        assert_eq!(ack.kind(), 5);
        laboratory.end().await;
    });
}

#[test]
fn beside_another_server_it_gives_boot_options_only() {
    in_namespace(async || {
        let laboratory = Laboratory::start(Mode::Proxy, Arc::default()).await;
        let offer = laboratory.ask(&Message::of_rom(1, &[])).await;
        assert_eq!((offer.kind(), offer.to_mac, offer.yiaddr), (2, EVERYBODY, Ipv4Addr::UNSPECIFIED));
        assert_eq!(
            (offer.options[&60].as_slice(), offer.file.as_slice()),
            (&b"PXEClient"[..], &b"undionly.kpxe"[..])
        );
        assert!(!offer.options.contains_key(&51));

        let mut second = Message::of_rom(3, &[(54, &SERVER.octets())]);
        second.unicast = Some((NEIGHBOUR, 4011));
        let ack = laboratory.ask(&second).await;
        assert_eq!((ack.kind(), ack.target, ack.port, ack.to_mac), (5, NEIGHBOUR, 4011, NEIGHBOUR_MAC));
        assert_eq!(ack.source, SERVER);

        laboratory.send(&Message::new(1, &[]));
        laboratory.counted("dhcp.proxy-ignored").await;
        assert!(laboratory.service.records.lock().unwrap().is_empty());
        laboratory.end().await;
    });
}
