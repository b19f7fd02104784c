//! A private network: one namespace, one bridge, one tap for each machine.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::process::run;

/// Names begin with this, so that nothing but the laboratory's own is ever swept.
const PREFIX: &str = "reprieve-lab-";
/// Name of the bridge inside the namespace.
pub const BRIDGE: &str = "site";
/// Name of a guest's interface.
pub const GUEST_INTERFACE: &str = "wire0";
/// Address of the bridge: where service and site servers listen.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A network namespace of our own; removed with everything in it when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    taps: AtomicU32,
}

impl Namespace {
    /// Makes the namespace with its bridge up at [`ADDRESS`]`/24`.
    ///
    /// # Errors
    /// If `ip` is missing or refuses (it needs root).
    pub fn new() -> Result<Self> {
        let namespace = Self::bare()?;
        namespace.ip(&["link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0"])?;
        namespace.ip(&["address", "add", &format!("{ADDRESS}/24"), "dev", BRIDGE])?;
        namespace.ip(&["link", "set", BRIDGE, "up"])?;
        Ok(namespace)
    }

    /// A namespace with nothing but its loopback.
    fn bare() -> Result<Self> {
        sweep()?;
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]))
            .context("could not make a network namespace; run as root")?;
        let namespace = Self { name, taps: AtomicU32::new(0) };
        namespace.enter(|| {
            // Firmware that finds IPv6 on the wire waits minutes for its routers.
            std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").context("could not turn IPv6 off")
        })??;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Name of the namespace, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// A second address range on the same wire, for a service beside the site's own DHCP server.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn add_address(&self, address: Ipv4Addr) -> Result<()> {
        self.ip(&["address", "add", &format!("{address}/24"), "dev", BRIDGE])
    }

    /// Another host on the same wire: a namespace of its own with one interface, [`GUEST_INTERFACE`].
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn guest(&self, address: Ipv4Addr) -> Result<Self> {
        let guest = Self::bare()?;
        let peer = format!("guest{}", self.taps.fetch_add(1, Ordering::Relaxed));
        self.ip(&[
            "link",
            "add",
            &peer,
            "type",
            "veth",
            "peer",
            "name",
            GUEST_INTERFACE,
            "netns",
            guest.name(),
        ])?;
        self.ip(&["link", "set", &peer, "master", BRIDGE, "up"])?;
        guest.ip(&["address", "add", &format!("{address}/24"), "dev", GUEST_INTERFACE])?;
        guest.ip(&["link", "set", GUEST_INTERFACE, "up"])?;
        Ok(guest)
    }

    /// A new tap on the bridge.
    ///
    /// # Errors
    /// If `ip` refuses.
    pub fn tap(&self) -> Result<String> {
        let tap = format!("tap{}", self.taps.fetch_add(1, Ordering::Relaxed));
        self.ip(&["tuntap", "add", &tap, "mode", "tap"])?;
        self.ip(&["link", "set", &tap, "master", BRIDGE, "up"])?;
        Ok(tap)
    }

    /// Runs `work` on a thread inside the namespace; the sockets it makes stay inside.
    ///
    /// # Errors
    /// If the namespace cannot be entered or `work` panicked.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let file = File::open(self.path()).context("could not open the network namespace")?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(file.as_fd(), CloneFlags::CLONE_NEWNET)
                    .context("could not enter the network namespace")?;
                Ok(work())
            });
            inside.join().map_err(|_| anyhow!("the work inside the network namespace panicked"))?
        })
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Ends what runs in a namespace of ours and removes it. Best effort: the next run sweeps again.
fn remove(name: &str) {
    if let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() {
        for pid in
            String::from_utf8_lossy(&output.stdout).split_whitespace().filter_map(|pid| pid.parse().ok())
        {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
    let _ = Command::new("ip").args(["netns", "del", name]).status();
}

/// Whether the process that made the thing of this name (`PREFIX` + pid + `-` + number) is gone.
pub(crate) fn maker_is_gone(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let Some((pid, _)) = rest.split_once('-') else { return false };
    pid.parse::<u32>().is_ok_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// Removes the namespaces of runs that were killed.
fn sweep() -> Result<()> {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return Ok(()) };
    for entry in entries {
        let name = entry.context("could not list the network namespaces")?.file_name();
        let name = name.to_string_lossy();
        if maker_is_gone(&name) {
            remove(&name);
        }
    }
    Ok(())
}
