//! DHCPv4 (RFC 2131, RFC 2132) as a function: datagram in, reply and lease change out.
//!
//! [`guard`] refuses what the codec must not see, [`request`] reads, [`exchange`] decides,
//! [`lease`] holds who has which address, [`reply`] writes, [`address`] says where the reply goes and
//! [`frame`] wraps it for a client that has no address yet.
//!
//! Where we knowingly differ from a specification:
//! - Leases are keyed by hardware address and not by option 61 (RFC 2131 §4.2): firmware, iPXE and
//!   the installed system of one machine send three different client identifiers, and an address that
//!   changes in the middle of a boot breaks transfers.
//! - A client that we know nothing about gets no DHCPNAK while its address is in the right network:
//!   several PXE ROMs give up at a NAK (metal3 ironic-image#195).

pub mod address;
pub mod exchange;
pub mod frame;
pub mod guard;
pub mod lease;
pub mod option;
pub mod reply;
pub mod request;
pub mod scope;
