//! What the kernel says about devices that come and go (`NETLINK_KOBJECT_UEVENT`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};

/// The multicast group in which the kernel speaks.
const KERNEL_GROUP: u32 = 1;
/// The kernel's events are not longer (`UEVENT_BUFFER_SIZE` is 2048).
const EVENT_BYTES_MAX: usize = 8192;
/// Room for a burst of events, in bytes, while a slow module is loading.
const QUEUE_BYTES: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uevent {
    text: String,
}

impl Uevent {
    /// `ACTION@PATH`, then `KEY=VALUE`, each ended by a zero byte. Messages of udev begin otherwise.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.split('\0').next().is_some_and(|head| head.contains('@')).then_some(Self { text })
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.text.split('\0').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
    }

    /// A device has come.
    #[must_use]
    pub fn is_addition(&self) -> bool {
        self.value("ACTION") == Some("add")
    }

    /// By what its driver is found.
    #[must_use]
    pub fn modalias(&self) -> Option<&str> {
        self.value("MODALIAS")
    }
}

/// The open socket.
#[derive(Debug)]
pub struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the socket cannot be made or bound.
    pub fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        // Only a hint; the default holds some hundred events.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &QUEUE_BYTES);
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(Self { socket })
    }

    /// The next event; none if nothing came within this long.
    pub fn next_within(&mut self, millis: u64) -> Option<Uevent> {
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        loop {
            let mut wanted = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, timeout) {
                Ok(0) => return None,
                Err(Errno::EINTR) => continue,
                Err(_) => return None,
                Ok(_) => {}
            }
            let mut buffer = [0; EVENT_BYTES_MAX];
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    if let Some(event) = Uevent::parse(&buffer[..length]) {
                        return Some(event);
                    }
                }
                // Some were lost in a burst; what is behind them still comes.
                Err(Errno::ENOBUFS | Errno::EINTR | Errno::EAGAIN) => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_new_device_is_recognized() {
        let bytes =
            b"add@/devices/virtio0\0ACTION=add\0SUBSYSTEM=virtio\0MODALIAS=virtio:d00000001v00001AF4\0";
        let event = Uevent::parse(bytes).unwrap();
        assert!(event.is_addition());
        assert_eq!(event.modalias(), Some("virtio:d00000001v00001AF4"));
        assert_eq!(Uevent::parse(b"libudev\0..."), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(event) = Uevent::parse(&bytes) {
                let _ = event.modalias();
            }
        }
    }
}
