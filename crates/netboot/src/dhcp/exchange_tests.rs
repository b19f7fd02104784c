//! Tables of requests and outcomes, the bytes of replies, and the exchange against a reference model.

use std::collections::BTreeMap;

use contract::id::MacAddress;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, option, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::dhcp::address::Destination;
use crate::dhcp::lease::LeaseRecord;
use crate::dhcp::request::tests::datagram;
use crate::dhcp::scope::tests::settings;
use crate::loader::ServedFile;

const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const B: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SERVER: [u8; 4] = [192, 0, 2, 1];
const NOW: UnixMillis = UnixMillis(1_000_000);

fn scope() -> Scope {
    Scope::new(settings()).unwrap()
}

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

/// `ciaddr` and options of a request.
fn message(mac: [u8; 6], ciaddr: Option<Ipv4Addr>, options: &[(u8, &[u8])]) -> DhcpRequest {
    let mut bytes = datagram(mac, options);
    bytes[12..16].copy_from_slice(&ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
    DhcpRequest::parse(&bytes).unwrap()
}

fn discover(mac: [u8; 6]) -> DhcpRequest {
    message(mac, None, &[(53, &[1])])
}

fn select(mac: [u8; 6], address: Ipv4Addr, server: [u8; 4]) -> DhcpRequest {
    message(mac, None, &[(53, &[3]), (50, &address.octets()), (54, &server)])
}

fn reboot(mac: [u8; 6], address: Ipv4Addr) -> DhcpRequest {
    message(mac, None, &[(53, &[3]), (50, &address.octets())])
}

fn renew(mac: [u8; 6], address: Ipv4Addr) -> DhcpRequest {
    message(mac, Some(address), &[(53, &[3])])
}

fn decline(mac: [u8; 6], address: Ipv4Addr) -> DhcpRequest {
    message(mac, None, &[(53, &[4]), (50, &address.octets()), (54, &SERVER)])
}

fn release(mac: [u8; 6], address: Ipv4Addr) -> DhcpRequest {
    message(mac, Some(address), &[(53, &[7]), (54, &SERVER)])
}

/// Responds and makes the change true, as the listener does.
fn step(leases: &mut LeaseTable, request: &DhcpRequest, now: UnixMillis) -> Outcome {
    let outcome = respond(request, &scope(), leases, None, now);
    if let Some(change) = &outcome.lease_change {
        leases.apply(change, now);
    }
    outcome
}

fn given(outcome: &Outcome) -> Option<(ReplyType, Ipv4Addr)> {
    outcome.reply.as_ref().map(|reply| (reply.kind(), reply.address()))
}

/// A table in which A has `address`.
fn bound(address: Ipv4Addr) -> LeaseTable {
    let mut leases = LeaseTable::default();
    assert_eq!(given(&step(&mut leases, &select(A, address, SERVER), NOW)), Some((ReplyType::Ack, address)));
    leases
}

#[test]
fn a_client_gets_what_it_was_offered_and_keeps_it() {
    let mut leases = LeaseTable::default();
    let offer = step(&mut leases, &discover(A), NOW);
    let (kind, address) = given(&offer).unwrap();
    assert_eq!((kind, offer.event), (ReplyType::Offer, Event::Offered));
    assert_eq!(offer.lease_change.unwrap().record(), None, "an offer is not durable");
    let taken = step(&mut leases, &select(A, address, SERVER), NOW);
    assert_eq!(given(&taken), Some((ReplyType::Ack, address)));
    assert!(taken.lease_change.unwrap().record().is_some(), "durable before the reply leaves");
    for again in [renew(A, address), reboot(A, address), select(A, address, SERVER)] {
        assert_eq!(given(&step(&mut leases, &again, NOW.plus_millis(10))), Some((ReplyType::Ack, address)));
    }
    let long_after = NOW.plus_millis(10_000_000_000);
    assert_eq!(given(&step(&mut leases, &renew(A, address), long_after)), Some((ReplyType::Ack, address)));
}

#[test]
fn requests_and_outcomes() {
    let held = host(100);
    let table = [
        ("another client's, taken", select(B, held, SERVER), Event::Refused),
        ("another client's, after restart", reboot(B, held), Event::Refused),
        ("another client's, renewed", renew(B, held), Event::Refused),
        ("wrong network, after restart", reboot(B, Ipv4Addr::new(10, 0, 0, 5)), Event::Refused),
        ("wrong network, renewed", renew(B, Ipv4Addr::new(10, 0, 0, 5)), Event::Refused),
        ("reserved for another", select(B, host(50), SERVER), Event::Refused),
        ("outside the pool", select(B, host(77), SERVER), Event::Refused),
        ("the server's own", select(B, host(1), SERVER), Event::Refused),
        // ironic-image#195: a NAK here would end PXE.
        ("unknown, after restart", reboot(B, host(101)), Event::UnknownLease),
        ("unknown, renewed", renew(B, host(101)), Event::UnknownLease),
        ("free, never offered (we restarted)", select(B, host(101), SERVER), Event::Acknowledged),
        ("reservation, after restart", reboot([2, 0, 0, 0, 0, 9], host(50)), Event::Acknowledged),
        ("another server's offer", select(B, host(101), [192, 0, 2, 2]), Event::OtherServer),
        ("no address at all", message(B, None, &[(53, &[3])]), Event::Senseless),
        ("declined by a stranger", decline(B, held), Event::UnknownLease),
        ("released by a stranger", release(B, held), Event::UnknownLease),
        ("declined without address", message(A, None, &[(53, &[4])]), Event::Senseless),
        ("declined by the holder", decline(A, held), Event::Declined),
        ("released by the holder", release(A, held), Event::Released),
        ("inform", message(B, Some(host(30)), &[(53, &[8])]), Event::Informed),
        ("inform without address", message(B, None, &[(53, &[8])]), Event::Senseless),
        (
            "inform from elsewhere",
            message(B, Some(Ipv4Addr::new(10, 0, 0, 5)), &[(53, &[8])]),
            Event::Senseless,
        ),
    ];
    for (name, request, event) in table {
        let outcome = step(&mut bound(held), &request, NOW);
        assert_eq!(outcome.event, event, "{name}");
        let kind = match event {
            Event::Refused => Some(ReplyType::Nak),
            Event::Acknowledged | Event::Informed => Some(ReplyType::Ack),
            _ => None,
        };
        assert_eq!(outcome.reply.as_ref().map(Reply::kind), kind, "{name}");
    }
}

#[test]
fn inform_gives_no_address() {
    let outcome = step(&mut LeaseTable::default(), &message(B, Some(host(30)), &[(53, &[8])]), NOW);
    let reply = outcome.reply.unwrap();
    assert_eq!(reply.address(), Ipv4Addr::UNSPECIFIED);
    let read = read(&reply.encode().unwrap());
    assert!(!read.contains_key(&51) && read.contains_key(&1));
}

#[test]
fn declined_addresses_are_given_to_nobody_and_pools_run_out() {
    let mut leases = bound(host(100));
    step(&mut leases, &decline(A, host(100)), NOW);
    for client in 1..=3 {
        let mac = [2, 0, 0, 0, 7, client];
        let (_, address) = given(&step(&mut leases, &discover(mac), NOW)).unwrap();
        assert_ne!(address, host(100));
    }
    let outcome = step(&mut leases, &discover(B), NOW);
    assert_eq!((outcome.event, outcome.reply), (Event::PoolExhausted, None));
    assert_eq!(step(&mut leases, &discover(B), NOW.plus_millis(OFFER_MILLIS)).event, Event::Offered);
}

#[test]
fn taking_another_servers_offer_frees_ours() {
    let mut leases = LeaseTable::default();
    let (_, address) = given(&step(&mut leases, &discover(A), NOW)).unwrap();
    step(&mut leases, &select(A, host(200), [192, 0, 2, 2]), NOW);
    assert_eq!(leases.holder(address, NOW), Holder::Nobody);
}

/// Options of a reply by number; checks what every reply must have.
fn read(datagram: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    assert!(datagram.len() >= 300, "too short for relays");
    assert_eq!(&datagram[..3], [2, 1, 6]);
    assert_eq!(&datagram[4..8], [0xde, 0xad, 0xbe, 0xef]);
    let message = dhcproto::v4::borrowed::Message::new(datagram).unwrap();
    let options: Vec<(u8, Vec<u8>)> =
        message.opts().map(|option| (u8::from(option.code()), option.data().to_vec())).collect();
    let by_number: BTreeMap<u8, Vec<u8>> = options.iter().cloned().collect();
    assert_eq!(by_number.len(), options.len(), "an option is there twice: {options:?}");
    by_number
}

const GUID: [u8; 17] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

fn tftp() -> BootAnswer {
    BootAnswer::Tftp { server: Ipv4Addr::from(SERVER), file: ServedFile::UndionlyX86 }
}

fn script() -> BootAnswer {
    BootAnswer::Script { url: "http://192.0.2.1:8080/boot/script.ipxe?mac=02:00:00:00:00:01".to_owned() }
}

fn offered(boot: &BootAnswer) -> Vec<u8> {
    let request = message(A, None, &[(53, &[1]), (97, &GUID), (82, b"\x01\x02ab\x97\x01x")]);
    let outcome = respond(&request, &scope(), &LeaseTable::default(), Some(boot), NOW);
    outcome.reply.unwrap().encode().unwrap()
}

#[test]
fn an_offer_to_pxe_firmware() {
    let bytes = offered(&tftp());
    assert_eq!(bytes[20..24], SERVER, "next server");
    assert!(bytes[108..].starts_with(b"undionly.kpxe\0"));
    let options = read(&bytes);
    let expected: [(u8, &[u8]); 17] = [
        (1, &[255, 255, 255, 0]),
        (3, &[192, 0, 2, 254]),
        (6, &[192, 0, 2, 53]),
        (15, b"example.test"),
        (43, &[6, 1, 8, 255]),
        (51, &[0, 0, 14, 16]),
        (53, &[2]),
        (54, &SERVER),
        (58, &[0, 0, 7, 8]),
        (59, &[0, 0, 12, 78]),
        (60, b"PXEClient"),
        (66, b"192.0.2.1"),
        (67, b"undionly.kpxe\0"),
        (82, b"\x01\x02ab\x97\x01x"),
        (97, &GUID),
        (0, &[]),
        (0, &[]),
    ];
    let expected: BTreeMap<u8, Vec<u8>> = expected
        .into_iter()
        .filter(|(code, _)| *code != 0)
        .map(|(code, data)| (code, data.to_vec()))
        .collect();
    assert_eq!(options, expected);
}

#[test]
fn an_offer_to_ipxe_and_to_http_boot() {
    let bytes = offered(&script());
    let options = read(&bytes);
    assert_eq!(options[&67], b"http://192.0.2.1:8080/boot/script.ipxe?mac=02:00:00:00:00:01");
    assert_eq!(options[&175], [0xb0, 1, 1, 255], "don't wait for a proxy");
    assert!(!options.contains_key(&60) && !options.contains_key(&43));
    let url = "http://192.0.2.1:8080/boot/ipxe.efi";
    let options = read(&offered(&BootAnswer::HttpLoader { url: url.to_owned() }));
    assert_eq!((options[&60].as_slice(), options[&67].as_slice()), (&b"HTTPClient"[..], url.as_bytes()));
    let long = format!("http://192.0.2.1/{}", "a".repeat(200));
    let bytes = offered(&BootAnswer::HttpLoader { url: long.clone() });
    assert_eq!(read(&bytes)[&67], long.as_bytes());
    assert_eq!(bytes[108], 0, "does not fit into the header");
}

#[test]
fn a_nak_carries_nothing_and_is_broadcast() {
    let mut bytes = datagram(B, &[(53, &[3]), (50, &[10, 0, 0, 5]), (82, b"\x01\x01r")]);
    let direct = DhcpRequest::parse(&bytes).unwrap();
    let reply = respond(&direct, &scope(), &LeaseTable::default(), Some(&tftp()), NOW).reply.unwrap();
    assert_eq!(reply.destination(), Destination::Broadcast);
    let written = reply.encode().unwrap();
    assert_eq!(read(&written).into_keys().collect::<Vec<_>>(), [53, 54, 82]);
    assert_eq!(written[10..12], [0, 0]);
    bytes[24..28].copy_from_slice(&[192, 0, 2, 200]);
    let relayed = DhcpRequest::parse(&bytes).unwrap();
    let reply = respond(&relayed, &scope(), &LeaseTable::default(), None, NOW).reply.unwrap();
    assert_eq!(reply.destination(), Destination::Unicast(SocketAddrV4::new(host(200), 67)));
    assert_eq!(reply.encode().unwrap()[10..12], [0x80, 0], "the relay must broadcast it");
}

#[test]
fn the_proxy_gives_no_address() {
    let server = Ipv4Addr::from(SERVER);
    let source = SocketAddrV4::new(host(100), 4011);
    let ask = |options: &[(u8, &[u8])]| message(A, Some(host(100)), options);
    let on_67 = respond_as_proxy(&discover(A), server, ProxyPort::Server, Some(&tftp()));
    assert_eq!((on_67.event, on_67.lease_change), (Event::ProxyOffered, None));
    let reply = on_67.reply.unwrap();
    assert_eq!(reply.destination(), Destination::Broadcast);
    let bytes = reply.encode().unwrap();
    assert_eq!(bytes[16..20], [0; 4]);
    let codes: Vec<u8> = read(&bytes).into_keys().collect();
    assert_eq!(codes, [43, 53, 54, 60, 66, 67], "no mask, router, lease time");
    let ipxe = respond_as_proxy(&discover(A), server, ProxyPort::Server, Some(&script())).reply.unwrap();
    assert_eq!(read(&ipxe.encode().unwrap())[&60], b"PXEClient", "or iPXE does not take it");

    let on_4011 = respond_as_proxy(&ask(&[(53, &[3])]), server, ProxyPort::Proxy(source), Some(&tftp()));
    assert_eq!(on_4011.event, Event::ProxyAcknowledged);
    assert_eq!(on_4011.reply.unwrap().destination(), Destination::Unicast(source));

    let ignored = [
        respond_as_proxy(&discover(A), server, ProxyPort::Server, None),
        respond_as_proxy(&ask(&[(53, &[3])]), server, ProxyPort::Server, Some(&tftp())),
        respond_as_proxy(&ask(&[(53, &[8])]), server, ProxyPort::Server, Some(&tftp())),
        respond_as_proxy(&ask(&[(53, &[7])]), server, ProxyPort::Proxy(source), Some(&tftp())),
    ];
    assert!(ignored.iter().all(|outcome| outcome.event == Event::ProxyIgnored && outcome.reply.is_none()));
    let other = ask(&[(53, &[3]), (54, &[192, 0, 2, 2])]);
    let outcome = respond_as_proxy(&other, server, ProxyPort::Proxy(source), Some(&tftp()));
    assert_eq!(outcome.event, Event::OtherServer);
}

/// What a client may do in the model: five clients, one of them with a reservation, four addresses.
#[derive(Debug, Clone)]
enum Move {
    Send { client: u8, what: What, last: u8 },
    Wait(u64),
    Restart,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Discover,
    Select,
    TakeOther,
    Reboot,
    Renew,
    Decline,
    Release,
}

fn any_move() -> impl Strategy<Value = Move> {
    let what = prop_oneof![
        3 => Just(What::Discover),
        4 => Just(What::Select),
        1 => Just(What::TakeOther),
        2 => Just(What::Reboot),
        2 => Just(What::Renew),
        1 => Just(What::Decline),
        1 => Just(What::Release),
    ];
    let last = prop_oneof![99..105u8, Just(50u8)];
    prop_oneof![
        12 => (5..10u8, what, last).prop_map(|(client, what, last)| Move::Send { client, what, last }),
        1 => prop_oneof![Just(20_000), Just(1_000_000), Just(4_000_000)].prop_map(Move::Wait),
        1 => Just(Move::Restart),
    ]
}

proptest! {
    /// The model knows only what clients were told: an acknowledged address is theirs until its time
    /// is up or they give it back. No reply may give it to anybody else, restarts included.
    #[test]
    fn two_clients_never_hold_the_same_address(moves in collection::vec(any_move(), 1..80)) {
        let lease_millis = u64::from(settings().lease_seconds) * 1000;
        let (mut leases, mut store) = (LeaseTable::default(), BTreeMap::<Ipv4Addr, LeaseRecord>::new());
        let mut told: BTreeMap<Ipv4Addr, (MacAddress, UnixMillis)> = BTreeMap::new();
        let mut now = NOW;
        for one in moves {
            let (client, what, last) = match one {
                Move::Wait(millis) => { now = now.plus_millis(millis); continue; }
                Move::Restart => { leases = LeaseTable::restore(store.values().copied()); continue; }
                Move::Send { client, what, last } => (client, what, last),
            };
            let (mac, address) = ([2, 0, 0, 0, 0, client], host(last));
            let request = match what {
                What::Discover => message(mac, None, &[(53, &[1]), (50, &address.octets())]),
                What::Select => select(mac, address, SERVER),
                What::TakeOther => select(mac, address, [192, 0, 2, 2]),
                What::Reboot => reboot(mac, address),
                What::Renew => renew(mac, address),
                What::Decline => decline(mac, address),
                What::Release => release(mac, address),
            };
            told.retain(|_, (_, until)| *until > now);
            let outcome = step(&mut leases, &request, now);
            if let Some(record) = outcome.lease_change.and_then(|change| change.record()) {
                store.insert(record.address, record);
            }
            let mac = MacAddress(mac);
            if matches!(outcome.event, Event::Released | Event::Declined) {
                prop_assert_eq!(told.remove(&address).map_or(mac, |(holder, _)| holder), mac);
            }
            if let Some((kind, address)) = given(&outcome).filter(|(_, address)| !address.is_unspecified()) {
                let holder = told.get(&address).map(|(holder, _)| *holder);
                prop_assert!(holder.is_none_or(|holder| holder == mac), "{address} is {holder:?}'s, given to {mac}");
                prop_assert!(scope().may_give(address, mac));
                if kind == ReplyType::Ack {
                    told.insert(address, (mac, now.plus_millis(lease_millis)));
                }
            }
        }
    }

    /// From datagram to datagram nothing panics, and what is written can be read.
    #[test]
    fn arbitrary_requests_are_answered_or_not(
        header in collection::vec(any::<u8>(), 24),
        options in collection::vec((1..255u8, collection::vec(any::<u8>(), 0..60)), 0..12),
        message_type in option::of(0..12u8),
    ) {
        let mut borrowed: Vec<(u8, &[u8])> = Vec::new();
        let kind = message_type.map(|kind| [kind]);
        borrowed.extend(kind.as_ref().map(|kind| (53, kind.as_slice())));
        borrowed.extend(options.iter().map(|(code, data)| (*code, data.as_slice())));
        let mut bytes = datagram(A, &borrowed);
        bytes[4..28].copy_from_slice(&header);
        let Ok(request) = DhcpRequest::parse(&bytes) else { return Ok(()) };
        let server = Ipv4Addr::from(SERVER);
        let port = ProxyPort::Proxy(SocketAddrV4::new(host(9), 4011));
        for outcome in [
            respond(&request, &scope(), &LeaseTable::default(), Some(&script()), NOW),
            respond_as_proxy(&request, server, port, Some(&tftp())),
        ] {
            if let Some(reply) = outcome.reply {
                let _ = reply.destination();
                let written = reply.encode().unwrap();
                prop_assert!(written.len() >= 300);
                let message = dhcproto::v4::borrowed::Message::new(&written).unwrap();
                let server = message.opts().find(|option| u8::from(option.code()) == 54);
                prop_assert_eq!(server.map(|option| option.data().to_vec()), Some(SERVER.to_vec()));
            }
        }
    }
}
