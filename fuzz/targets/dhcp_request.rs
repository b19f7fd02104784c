//! Datagrams that arrive at the DHCP port (RFC 2131). What every request begins with is put right, so
//! that what follows is reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netboot::client::classify;
use netboot::dhcp::guard::HEADER_BYTES;
use netboot::dhcp::request::DhcpRequest;

fuzz_target!(|data: &[u8]| {
    let mut datagram = data.to_vec();
    if datagram.len() >= HEADER_BYTES {
        datagram[..3].copy_from_slice(&[1, 1, 6]);
        datagram[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&[99, 130, 83, 99]);
    }
    if let Ok(request) = DhcpRequest::parse(&datagram) {
        let _ = (classify(&request), request.relay(), request.machine_uuid());
    }
});
