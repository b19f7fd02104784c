//! Networks and ranges of addresses as the configuration writes them.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A subnet, written `192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Subnet {
    /// Its first address.
    pub network: Ipv4Addr,
    /// Bits of the network part, 0 to 32.
    pub prefix_bits: u8,
}

impl Ipv4Subnet {
    /// The mask, such as 255.255.255.0.
    #[must_use]
    pub fn mask(&self) -> Ipv4Addr {
        let host_bits = 32 - u32::from(self.prefix_bits);
        Ipv4Addr::from(u32::MAX.checked_shl(host_bits).unwrap_or(0))
    }

    /// Whether an address lies in the subnet.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & u32::from(self.mask()) == u32::from(self.network)
    }
}

impl fmt::Display for Ipv4Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_bits)
    }
}

impl FromStr for Ipv4Subnet {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("{text:?} is not a subnet; write it like 192.0.2.0/24");
        let (network, bits) = text.split_once('/').ok_or_else(problem)?;
        let network: Ipv4Addr = network.parse().map_err(|_| problem())?;
        let prefix_bits: u8 = bits.parse().ok().filter(|bits| *bits <= 32).ok_or_else(problem)?;
        let subnet = Self { network, prefix_bits };
        if !subnet.contains(network) {
            return Err(format!("{text:?} has bits beyond its prefix; write the subnet's first address"));
        }
        Ok(subnet)
    }
}

/// Addresses from first to last, both included, written `192.0.2.100-192.0.2.200`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Range {
    /// The first.
    pub first: Ipv4Addr,
    /// The last, not before the first.
    pub last: Ipv4Addr,
}

impl fmt::Display for Ipv4Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for Ipv4Range {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("{text:?} is not a range; write it like 192.0.2.100-192.0.2.200");
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first: Ipv4Addr = first.trim().parse().map_err(|_| problem())?;
        let last: Ipv4Addr = last.trim().parse().map_err(|_| problem())?;
        if last < first {
            return Err(format!("{text:?} ends before it begins"));
        }
        Ok(Self { first, last })
    }
}
