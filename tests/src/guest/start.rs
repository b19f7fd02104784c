//! What the laboratory's first processes have in common: kernel file systems, modules, the network card.
//! It runs inside the machine, before the real `/init`.

use std::ffi::CString;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::libc;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::archive::{FOLDER, MACHINE_ADDRESS};
use crate::wait::until;

/// How long whatever must come may take.
pub const LIMIT: Duration = Duration::from_secs(30);
/// What the real init expects not to be there yet.
const MOUNTS: [(&str, &str); 3] = [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")];

mod ioctl {
    //! Requests of `linux/sockios.h`.
    #![allow(missing_docs)] // the macros make functions that carry no documentation
    use nix::libc;
    nix::ioctl_write_ptr_bad!(set_address, libc::SIOCSIFADDR, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
}

/// Says on the console why the laboratory's part failed, and switches the machine off.
pub fn give_up(error: &anyhow::Error) {
    let _ = std::fs::write("/dev/console", format!("laboratory: {error:#}\n"));
    let _ = reboot(RebootMode::RB_POWER_OFF);
}

/// Mounts the kernel's file systems, loads the modules of the second archive, and gives the network card
/// its second address.
///
/// # Errors
/// What could not be done.
pub fn prepare() -> Result<()> {
    for (kind, target) in MOUNTS {
        match mount(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>) {
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(error) => return Err(error).with_context(|| format!("could not mount {target}")),
        }
    }
    let mut modules: Vec<PathBuf> = std::fs::read_dir(Path::new(FOLDER).join("modules"))
        .context("could not list the modules")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .context("could not list the modules")?;
    modules.sort();
    for module in modules {
        load(&module)?;
    }
    let interface = until("a network card", LIMIT, || Ok(network_card()))?;
    set_up(&interface)
}

/// Leaves everything as the real init expects it, and becomes it.
///
/// # Errors
/// What could not be done.
pub fn become_init() -> Result<()> {
    for (_, target) in MOUNTS.iter().rev() {
        umount(*target).with_context(|| format!("could not unmount {target}"))?;
    }
    let arguments = std::env::args().map(CString::new).collect::<Result<Vec<_>, _>>()?;
    nix::unistd::execv(c"/init", &arguments).context("could not start /init")?;
    Ok(())
}

fn load(module: &Path) -> Result<()> {
    let file = File::open(module).with_context(|| format!("could not open {}", module.display()))?;
    match finit_module(&file, c"", ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST | Errno::ENODEV) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("could not load {}", module.display())),
    }
}

fn network_card() -> Option<String> {
    let entries = std::fs::read_dir("/sys/class/net").ok()?;
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).find(|name| name != "lo")
}

/// Switches the card on with an address under a label of its own, which stays when the real init sets
/// the card's.
fn set_up(interface: &str) -> Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .context("could not make a socket")?;
    let mut request = request(interface);
    // Fits: the flags that are set here are the lowest bits.
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the socket is open for the call and the request has the kernel's layout.
    unsafe { ioctl::set_flags(socket.as_raw_fd(), &raw const request) }
        .with_context(|| format!("could not switch {interface} on"))?;
    let mut request = self::request(&format!("{interface}:lab"));
    request.ifr_ifru.ifru_addr = socket_address(MACHINE_ADDRESS);
    // SAFETY: as above.
    unsafe { ioctl::set_address(socket.as_raw_fd(), &raw const request) }
        .with_context(|| format!("could not give {interface} an address"))?;
    Ok(())
}

fn request(interface: &str) -> libc::ifreq {
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

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
