//! Bringing the boot interface up with the address that the firmware's loader got.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use contract::id::MacAddress;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// How often the kernel's files are looked at while waiting.
const POLL: Duration = Duration::from_millis(10);

#[allow(missing_docs)]
mod ioctl {
    use nix::libc;
    nix::ioctl_write_ptr_bad!(set_address, libc::SIOCSIFADDR, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_netmask, libc::SIOCSIFNETMASK, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
    nix::ioctl_write_ptr_bad!(add_route, libc::SIOCADDRT, libc::rtentry);
}

/// What went wrong, with the interface named.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Nothing with this address appeared.
    #[error("no network interface has the address {mac}; is its driver in the ramdisk?")]
    NoInterface {
        /// The address that the boot script named.
        mac: MacAddress,
    },
    /// The link did not come up.
    #[error("{interface} has no link after {seconds} s; check the cable and the switch port")]
    NoLink {
        /// Name of the interface.
        interface: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The kernel refused.
    #[error("cannot {what} {interface}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// Name of the interface.
        interface: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Finds the interface with this address now.
#[must_use]
pub fn find_interface(net: &Path, mac: MacAddress) -> Option<String> {
    let entries = std::fs::read_dir(net).ok()?;
    entries.flatten().find_map(|entry| {
        let address = std::fs::read_to_string(entry.path().join("address")).ok()?;
        let name = entry.file_name().into_string().ok()?;
        (address.trim().parse() == Ok(mac)).then_some(name)
    })
}

/// Waits for the interface with this address.
///
/// # Errors
/// [`NetworkError::NoInterface`] if it does not appear in time.
pub fn wait_for_interface(mac: MacAddress, timeout: Duration) -> Result<String, NetworkError> {
    let net = Path::new("/sys/class/net");
    wait_for(timeout, || find_interface(net, mac)).ok_or(NetworkError::NoInterface { mac })
}

/// Waits until the link is up.
///
/// # Errors
/// [`NetworkError::NoLink`] if it does not come up in time.
pub fn wait_for_link(interface: &str, timeout: Duration) -> Result<(), NetworkError> {
    let carrier = Path::new("/sys/class/net").join(interface).join("carrier");
    let up = || std::fs::read_to_string(&carrier).ok().filter(|text| text.trim() == "1").map(|_| ());
    wait_for(timeout, up)
        .ok_or_else(|| NetworkError::NoLink { interface: interface.to_owned(), seconds: timeout.as_secs() })
}

fn wait_for<T>(timeout: Duration, look: impl Fn() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if begun.elapsed() >= timeout {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// An interface that is being set up.
#[derive(Debug)]
pub struct Interface {
    name: String,
    socket: OwnedFd,
}

impl Interface {
    /// Takes an interface by its name.
    ///
    /// # Errors
    /// If no socket can be made.
    pub fn named(name: &str) -> Result<Self, NetworkError> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
        match socket {
            Ok(socket) => Ok(Self { name: name.to_owned(), socket }),
            Err(error) => Err(refused("make a socket for", name, error)),
        }
    }

    /// Switches it on.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn up(&self) -> Result<(), NetworkError> {
        let mut request = self.request();
        // Fits: the flags that are set here are the lowest bits.
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        // SAFETY: the socket is open for the call and the request is initialized and has the kernel's layout.
        let done = unsafe { ioctl::set_flags(self.socket.as_raw_fd(), &raw const request) };
        done.map(|_| ()).map_err(|error| refused("switch on", &self.name, error))
    }

    /// Gives it an address and the network behind it.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn set_address(&self, address: Ipv4Addr, netmask: Ipv4Addr) -> Result<(), NetworkError> {
        let mut request = self.request();
        request.ifr_ifru.ifru_addr = socket_address(address);
        // SAFETY: as in `up`.
        unsafe { ioctl::set_address(self.socket.as_raw_fd(), &raw const request) }
            .map_err(|error| refused("set the address of", &self.name, error))?;
        request.ifr_ifru.ifru_netmask = socket_address(netmask);
        // SAFETY: as in `up`.
        unsafe { ioctl::set_netmask(self.socket.as_raw_fd(), &raw const request) }
            .map_err(|error| refused("set the netmask of", &self.name, error))?;
        Ok(())
    }

    /// Sends everything that is not local through this gateway.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn add_default_route(&self, gateway: Ipv4Addr) -> Result<(), NetworkError> {
        // SAFETY: an all-zero rtentry is a valid one: addresses unset, pointers null.
        let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
        route.rt_dst = socket_address(Ipv4Addr::UNSPECIFIED);
        route.rt_genmask = socket_address(Ipv4Addr::UNSPECIFIED);
        route.rt_gateway = socket_address(gateway);
        route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
        // SAFETY: the socket is open for the call and the route is initialized and has the kernel's layout.
        match unsafe { ioctl::add_route(self.socket.as_raw_fd(), &raw const route) } {
            Ok(_) | Err(nix::errno::Errno::EEXIST) => Ok(()),
            Err(error) => Err(refused("add the default route of", &self.name, error)),
        }
    }

    fn request(&self) -> libc::ifreq {
        // SAFETY: an all-zero ifreq is a valid one.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The last byte stays zero. Names in sysfs are ASCII and shorter than the field.
        let room = request.ifr_name.len() - 1;
        for (to, from) in request.ifr_name[..room].iter_mut().zip(self.name.bytes()) {
            *to = from as libc::c_char;
        }
        request
    }
}

fn refused(what: &'static str, interface: &str, error: nix::errno::Errno) -> NetworkError {
    NetworkError::Refused { what, interface: interface.to_owned(), source: error.into() }
}

/// An address as `struct sockaddr_in`, in the shape of `struct sockaddr`.
fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    // SAFETY: an all-zero sockaddr is a valid one.
    let mut socket_address: libc::sockaddr = unsafe { std::mem::zeroed() };
    socket_address.sa_family = libc::AF_INET as libc::sa_family_t;
    // `sockaddr_in`: two bytes of port, then the address.
    for (to, from) in socket_address.sa_data[2..6].iter_mut().zip(address.octets()) {
        *to = from as libc::c_char;
    }
    socket_address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_found_by_its_address() {
        let root = tempfile::tempdir().unwrap();
        for (name, address) in [("lo", "00:00:00:00:00:00"), ("enp1s0", "52:54:00:12:34:56")] {
            std::fs::create_dir(root.path().join(name)).unwrap();
            std::fs::write(root.path().join(name).join("address"), format!("{address}\n")).unwrap();
        }
        let mac = "52-54-00-12-34-56".parse().unwrap();
        assert_eq!(find_interface(root.path(), mac).as_deref(), Some("enp1s0"));
        assert_eq!(find_interface(root.path(), "52:54:00:12:34:57".parse().unwrap()), None);
    }

    #[test]
    fn addresses_stand_where_the_kernel_reads_them() {
        let address = socket_address(Ipv4Addr::new(192, 0, 2, 9));
        let bytes: Vec<u8> = address.sa_data[..6].iter().map(|&byte| byte as u8).collect();
        assert_eq!(bytes, [0, 0, 192, 0, 2, 9]);
    }
}
