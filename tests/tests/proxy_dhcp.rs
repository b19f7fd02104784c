//! `ProxyDHCP` with a scripted client: PXE 2.1 §2.2, beside a site's server that is not even there.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reprieve_tests::artefacts::Artefacts;
use reprieve_tests::dhcp_client::{ACK, Client, DISCOVER, Message, OFFER, REQUEST, option};
use reprieve_tests::lab::Lab;
use reprieve_tests::namespace::ADDRESS;
use reprieve_tests::service::{Configuration, Dhcp, Service};

const EVERYBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 200);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Long enough for an answer that must not come: real ones take milliseconds.
const SILENCE: Duration = Duration::from_millis(500);

fn request(kind: u8, transaction: u32, options: Vec<(u8, Vec<u8>)>) -> Message {
    let client_address = if kind == REQUEST { OWN } else { Ipv4Addr::UNSPECIFIED };
    Message { kind, transaction, mac: [0x52, 0x54, 0, 0x99, 0, 1], client_address, options }
}

/// What a PXE ROM of this architecture says of itself (RFC 4578).
fn rom(architecture: u16) -> Vec<(u8, Vec<u8>)> {
    let class = format!("PXEClient:Arch:{architecture:05}:UNDI:003001");
    vec![
        (option::VENDOR_CLASS, class.into_bytes()),
        (option::ARCHITECTURE, architecture.to_be_bytes().to_vec()),
        (option::INTERFACE_ID, vec![1, 3, 1]),
        (option::MACHINE_ID, [vec![0], vec![0x77; 16]].concat()),
    ]
}

#[test]
fn a_proxy_gives_boot_files_but_no_addresses_and_is_silent_to_others() -> Result<()> {
    let artefacts = Artefacts::find()?;
    let lab = Lab::new()?;
    let configuration = Configuration { dhcp: Dhcp::Proxy, ..Configuration::default() };
    let _service = Service::start(&lab, &artefacts, &configuration)?;
    let guest = lab.network().guest(OWN)?;
    guest.enter(|| {
        let client = Client::open()?;
        let plain = request(DISCOVER, 1, vec![(option::VENDOR_CLASS, b"dhcpcd-9".to_vec())]);
        ensure!(
            client.ask(&plain, EVERYBODY, SILENCE)?.is_none(),
            "a machine that does not boot got an answer"
        );
        for (transaction, architecture, file) in
            [(2, 0, "undionly.kpxe"), (3, 7, "ipxe.efi"), (4, 11, "ipxe-arm64.efi")]
        {
            let offer = client
                .ask(&request(DISCOVER, transaction, rom(architecture)), EVERYBODY, ANSWER_LIMIT)?
                .with_context(|| format!("no offer for architecture {architecture}"))?;
            ensure!(offer.kind() == OFFER, "not an offer: {offer:?}");
            ensure!(offer.your_address.is_unspecified(), "a proxy gave out an address: {offer:?}");
            ensure!(
                offer.option(option::VENDOR_CLASS) == Some(b"PXEClient"),
                "the offer is not PXE's: {offer:?}"
            );
            let proxy = SocketAddrV4::new(ADDRESS, 4011);
            let acknowledged = client
                .ask(&request(REQUEST, transaction + 10, rom(architecture)), proxy, ANSWER_LIMIT)?
                .with_context(|| format!("no answer on port 4011 for architecture {architecture}"))?;
            ensure!(acknowledged.kind() == ACK, "not an acknowledgement: {acknowledged:?}");
            ensure!(acknowledged.boot_file() == file, "wrong file for {architecture}: {acknowledged:?}");
            ensure!(acknowledged.server_address == ADDRESS, "wrong server: {acknowledged:?}");
        }
        let mut ipxe = rom(0);
        ipxe.push((option::USER_CLASS, b"iPXE".to_vec()));
        let offer = client
            .ask(&request(DISCOVER, 30, ipxe), EVERYBODY, ANSWER_LIMIT)?
            .context("no offer for iPXE")?;
        ensure!(offer.boot_file().contains("/boot/script.ipxe"), "iPXE is not sent to its script: {offer:?}");
        Ok(())
    })?
}
