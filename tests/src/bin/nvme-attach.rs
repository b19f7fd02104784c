//! The first process of a laboratory machine whose disk is on the wire: loads the drivers, gives the
//! network card a second address, attaches the fake NVMe controller, and becomes the real `/init`.
//!
//! The folder `/laboratory` beside it holds the kernel modules, in the order of their loading, and the
//! line that the kernel's fabrics driver wants. `reprieve_tests::nvme_tcp::attach` puts all of it there.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::libc;
use nix::mount::{MsFlags, mount, umount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use reprieve_tests::nvme_tcp::attach::{FOLDER, MACHINE_ADDRESS};
use reprieve_tests::wait::until;

const LIMIT: Duration = Duration::from_secs(30);
/// What the real init expects not to be there yet.
const MOUNTS: [(&str, &str); 3] = [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")];

mod ioctl {
    //! Requests of `linux/sockios.h`.
    #![allow(missing_docs)] // the macros make functions that carry no documentation
    use nix::libc;
    nix::ioctl_write_ptr_bad!(set_address, libc::SIOCSIFADDR, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
}

fn main() {
    if let Err(error) = attach().and_then(|()| become_init()) {
        let _ = std::fs::write("/dev/console", format!("laboratory: {error:#}\n"));
        let _ = reboot(RebootMode::RB_POWER_OFF);
    }
}

fn attach() -> Result<()> {
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
    set_up(&interface)?;
    let line = std::fs::read(Path::new(FOLDER).join("connect")).context("could not read where to connect")?;
    let mut last = None;
    until("the fake controller", LIMIT, || {
        last = connect(&line).err();
        Ok(last.is_none().then_some(()))
    })
    .with_context(|| format!("{:#}", last.unwrap_or_else(|| anyhow::anyhow!("nothing was tried"))))?;
    until("the namespace", LIMIT, || Ok(Path::new("/sys/block/nvme0n1/size").exists().then_some(())))
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

/// Asks the kernel's fabrics driver for a controller; it answers when the controller is there.
fn connect(line: &[u8]) -> Result<()> {
    let mut fabrics = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/nvme-fabrics")
        .context("could not open /dev/nvme-fabrics")?;
    fabrics.write_all(line).context("the kernel did not connect")?;
    let mut answer = [0; 256];
    let count = fabrics.read(&mut answer).context("the kernel did not say what it connected")?;
    if !answer[..count].starts_with(b"instance=") {
        bail!("the kernel answered {}", String::from_utf8_lossy(&answer[..count]));
    }
    Ok(())
}

fn become_init() -> Result<()> {
    for (_, target) in MOUNTS.iter().rev() {
        umount(*target).with_context(|| format!("could not unmount {target}"))?;
    }
    let arguments = std::env::args().map(CString::new).collect::<Result<Vec<_>, _>>()?;
    nix::unistd::execv(c"/init", &arguments).context("could not start /init")?;
    Ok(())
}
