//! What is refused before the codec sees it.
//!
//! dhcproto 0.15 slices `chaddr` by the `hlen` that the client sent, so one byte over 16 panics it.

/// Bytes before the options: the BOOTP header (RFC 951, 236 bytes) and the magic cookie.
pub const HEADER_BYTES: usize = 240;
/// The longest datagram that is looked at. Ethernet carries 1472; relays may add options.
pub const DATAGRAM_BYTES_MAX: usize = 2048;
/// RFC 1542 §4.1.1: relays drop at 16 hops.
const HOPS_MAX: u8 = 16;
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Why a datagram is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Shorter than a header or longer than anything honest.
    #[error("length {length} is not between {HEADER_BYTES} and {DATAGRAM_BYTES_MAX}")]
    Length {
        /// As received.
        length: usize,
    },
    /// Not a BOOTREQUEST.
    #[error("operation {0} is not a request")]
    NotARequest(u8),
    /// Not an Ethernet client: the hardware type and length are not 1 and 6.
    #[error("hardware type {kind} with {length} address bytes is not Ethernet")]
    NotEthernet {
        /// `htype`.
        kind: u8,
        /// `hlen`.
        length: u8,
    },
    /// Went through too many relays.
    #[error("passed {0} relays")]
    TooManyHops(u8),
    /// BOOTP without DHCP, or something else.
    #[error("no magic cookie")]
    NoMagicCookie,
    /// All zero, or a group address: nobody can be answered there.
    #[error("hardware address is not a single station's")]
    HardwareAddress,
    /// No option 53, or one that clients don't send.
    #[error("no message type that a client sends")]
    MessageType,
}

/// Checks the fixed part.
///
/// # Errors
/// The first thing that is wrong; nothing of such a datagram may be used.
pub fn check(datagram: &[u8]) -> Result<(), Refusal> {
    if !(HEADER_BYTES..=DATAGRAM_BYTES_MAX).contains(&datagram.len()) {
        return Err(Refusal::Length { length: datagram.len() });
    }
    if datagram[0] != 1 {
        return Err(Refusal::NotARequest(datagram[0]));
    }
    if (datagram[1], datagram[2]) != (1, 6) {
        return Err(Refusal::NotEthernet { kind: datagram[1], length: datagram[2] });
    }
    if datagram[3] > HOPS_MAX {
        return Err(Refusal::TooManyHops(datagram[3]));
    }
    if datagram[236..HEADER_BYTES] != MAGIC_COOKIE {
        return Err(Refusal::NoMagicCookie);
    }
    let mac = &datagram[28..34];
    if mac[0] & 1 == 1 || mac.iter().all(|byte| *byte == 0) {
        return Err(Refusal::HardwareAddress);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Vec<u8> {
        let mut datagram = vec![0; HEADER_BYTES];
        datagram[..3].copy_from_slice(&[1, 1, 6]);
        datagram[28..34].copy_from_slice(&[0x52, 0x54, 0, 0, 0, 1]);
        datagram[236..].copy_from_slice(&MAGIC_COOKIE);
        datagram
    }

    fn with(at: usize, value: u8) -> Vec<u8> {
        let mut datagram = sound();
        datagram[at] = value;
        datagram
    }

    #[test]
    fn each_refusal_has_its_reason() {
        assert_eq!(check(&sound()), Ok(()));
        let table = [
            (Vec::new(), Refusal::Length { length: 0 }),
            (sound()[..239].to_vec(), Refusal::Length { length: 239 }),
            (vec![1; DATAGRAM_BYTES_MAX + 1], Refusal::Length { length: DATAGRAM_BYTES_MAX + 1 }),
            (with(0, 2), Refusal::NotARequest(2)),
            (with(1, 32), Refusal::NotEthernet { kind: 32, length: 6 }),
            (with(2, 255), Refusal::NotEthernet { kind: 1, length: 255 }),
            (with(2, 17), Refusal::NotEthernet { kind: 1, length: 17 }),
            (with(2, 0), Refusal::NotEthernet { kind: 1, length: 0 }),
            (with(3, 17), Refusal::TooManyHops(17)),
            (with(236, 0), Refusal::NoMagicCookie),
            (with(28, 0x53), Refusal::HardwareAddress),
        ];
        for (datagram, refusal) in table {
            assert_eq!(check(&datagram), Err(refusal));
        }
        let mut nobody = sound();
        nobody[28..34].fill(0);
        assert_eq!(check(&nobody), Err(Refusal::HardwareAddress));
        let mut everybody = sound();
        everybody[28..34].fill(0xff);
        assert_eq!(check(&everybody), Err(Refusal::HardwareAddress));
    }
}
