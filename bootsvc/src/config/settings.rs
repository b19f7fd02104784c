//! Stage three: what the service runs with. Made only from input that does not contradict itself.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use contract::id::MacAddress;

use crate::bmc::configuration::{self as bmc, ControllersSettings};
use crate::config::fragment::{DhcpFragment, ModeFragment};
use crate::config::input::Input;
use crate::config::ipv4::{Ipv4Range, Ipv4Subnet};

/// Why settings cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct SettingsError {
    /// The key in the configuration file.
    pub key: String,
    /// What is wrong with it and what would be right.
    pub problem: String,
}

fn wrong(key: impl Into<String>, problem: impl Into<String>) -> SettingsError {
    SettingsError { key: key.into(), problem: problem.into() }
}

/// What the service runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the database, the keys and the images are kept.
    pub state_directory: PathBuf,
    /// The policy file; the built-in policy if none.
    pub policy: Option<PathBuf>,
    /// The folder with the policies of pools; none for the folder `pools` beside the policy file, if there
    /// is one.
    pub pools_directory: Option<PathBuf>,
    /// The model file; the built-in model if none.
    pub model: Option<PathBuf>,
    /// Plain HTTP; at least one.
    pub http: Vec<SocketAddr>,
    /// The API over TLS; at least one.
    pub api: Vec<SocketAddr>,
    /// What machines boot.
    pub boot: BootSettings,
    /// DHCP; empty if off.
    pub dhcp: Vec<DhcpSettings>,
    /// TFTP.
    pub tftp: TftpSettings,
    /// Going back to the image before.
    pub rollback: RollbackSettings,
    /// The file with the certificates of TPM makers; nobody's are believed if none.
    pub endorsement_roots: Option<PathBuf>,
    /// What belongs to a node is served over plain HTTP, without secrets, to whom its address is lent.
    pub metadata_enabled: bool,
    /// How long a job that has ended is kept, in days.
    pub store_keep_days: u32,
    /// Management controllers that are asked.
    pub bmc: ControllersSettings,
}

/// What machines boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootSettings {
    /// The kernel of the ramdisk.
    pub kernel: PathBuf,
    /// The ramdisk.
    pub ramdisk: PathBuf,
    /// The folder with the iPXE binaries.
    pub loaders: PathBuf,
    /// Added to the kernel's command line.
    pub extra_kernel_arguments: String,
    /// How often a job may hand out the ramdisk before the node is held.
    pub attempts_max: u32,
    /// How often an unknown machine is given the ramdisk before it is held.
    pub discovery_attempts_max: u32,
    /// How long the first report of an installed system may take, in minutes.
    pub first_report_minutes: u32,
}

/// Going back to the image before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollbackSettings {
    /// The service takes a node back by itself when a changed image does not come up.
    pub automatic: bool,
}

/// Whether addresses are given out too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DhcpMode {
    /// Addresses and boot options.
    Authoritative,
    /// Boot options only, beside another DHCP server.
    Proxy,
}

/// DHCP on one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpSettings {
    /// The network interface.
    pub interface: String,
    /// Whether addresses are given out too.
    pub mode: DhcpMode,
    /// The service's address on that interface.
    pub address: Ipv4Addr,
    /// The subnet of the interface.
    pub subnet: Ipv4Subnet,
    /// Addresses that may be lent; empty only in proxy mode or with reservations alone.
    pub pool: Vec<Ipv4Range>,
    /// The default gateway handed out.
    pub router: Option<Ipv4Addr>,
    /// The name servers handed out.
    pub dns: Vec<Ipv4Addr>,
    /// How long an address is lent, in seconds.
    pub lease_seconds: u32,
    /// Fixed addresses.
    pub reservations: Vec<Reservation>,
}

/// One fixed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Whose.
    pub mac: MacAddress,
    /// Which.
    pub address: Ipv4Addr,
}

/// TFTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TftpSettings {
    /// Addresses with ports; empty if off.
    pub listen: Vec<SocketAddr>,
    /// How many transfers may run at once.
    pub transfers_max: usize,
}

impl TryFrom<Input> for Settings {
    type Error = SettingsError;

    fn try_from(input: Input) -> Result<Self, SettingsError> {
        for (key, listen) in [("http.listen", &input.http), ("api.listen", &input.api)] {
            if listen.is_empty() {
                return Err(wrong(key, "name at least one address, such as \"192.0.2.1:8080\""));
            }
        }
        if input.http.iter().any(|http| http.port() != 0 && input.api.contains(http)) {
            return Err(wrong("api.listen", "is also in http.listen; TLS and plain HTTP need two ports"));
        }
        let boot = boot_settings(&input)?;
        let mut dhcp = Vec::new();
        for (at, block) in input.dhcp.iter().enumerate() {
            if block.mode != ModeFragment::Off {
                dhcp.push(dhcp_settings(&format!("dhcp[{at}]"), block)?);
            }
        }
        if !(30..=36_500).contains(&input.store_keep_days) {
            return Err(wrong("store.keep_days", "must be 30 to 36500"));
        }
        if input.tftp_transfers_max == 0 || input.tftp_transfers_max > 4096 {
            return Err(wrong("tftp.transfers_max", "must be 1 to 4096"));
        }
        Ok(Self {
            state_directory: input.state_directory,
            policy: input.policy,
            pools_directory: input.pools_directory,
            model: input.model,
            http: input.http,
            api: input.api,
            boot,
            dhcp,
            tftp: TftpSettings { listen: input.tftp, transfers_max: input.tftp_transfers_max },
            rollback: RollbackSettings { automatic: input.rollback_automatic },
            endorsement_roots: input.endorsement_roots,
            metadata_enabled: input.metadata_enabled,
            store_keep_days: input.store_keep_days,
            bmc: bmc::settings(&input.bmc, input.bmc_polling).map_err(|(key, why)| wrong(key, why))?,
        })
    }
}

fn boot_settings(input: &Input) -> Result<BootSettings, SettingsError> {
    let boot = &input.boot;
    let share = |name: &str| PathBuf::from("/usr/share/reprieve").join(name);
    let attempts = |key: &str, given: Option<u32>| match given.unwrap_or(3) {
        0 | 101.. => Err(wrong(key, "must be 1 to 100")),
        count => Ok(count),
    };
    let first_report_minutes = boot.first_report_minutes.unwrap_or(30);
    if !(5..=1440).contains(&first_report_minutes) {
        return Err(wrong("boot.first_report_minutes", "must be 5 to 1440"));
    }
    let extra = boot.extra_kernel_arguments.clone().unwrap_or_default();
    // The text ends up in a script that firmware runs; a line break would be another command.
    if extra.len() > 1024 || !extra.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err(wrong("boot.extra_kernel_arguments", "use at most 1024 printable ASCII characters"));
    }
    for argument in extra.split_ascii_whitespace() {
        netboot::script::check_kernel_argument(argument)
            .map_err(|error| wrong("boot.extra_kernel_arguments", error.to_string()))?;
    }
    Ok(BootSettings {
        kernel: boot.kernel.clone().unwrap_or_else(|| share("ramdisk/vmlinuz")),
        ramdisk: boot.ramdisk.clone().unwrap_or_else(|| share("ramdisk/initramfs.cpio.zst")),
        loaders: boot.loaders.clone().unwrap_or_else(|| share("ipxe")),
        extra_kernel_arguments: extra,
        attempts_max: attempts("boot.attempts_max", boot.attempts_max)?,
        discovery_attempts_max: attempts("boot.discovery_attempts_max", boot.discovery_attempts_max)?,
        first_report_minutes,
    })
}

fn dhcp_settings(key: &str, block: &DhcpFragment) -> Result<DhcpSettings, SettingsError> {
    let at = |name: &str| format!("{key}.{name}");
    if block.interface.is_empty() || block.interface.len() > 15 {
        return Err(wrong(at("interface"), "name a network interface (--interface)"));
    }
    let mode = match block.mode {
        ModeFragment::Proxy => DhcpMode::Proxy,
        ModeFragment::Authoritative | ModeFragment::Off => DhcpMode::Authoritative,
    };
    let subnet: Ipv4Subnet = match (&block.subnet, mode) {
        (Some(text), _) => text.parse().map_err(|problem: String| wrong(at("subnet"), problem))?,
        (None, DhcpMode::Proxy) => Ipv4Subnet { network: block.address, prefix_bits: 32 },
        (None, DhcpMode::Authoritative) => {
            return Err(wrong(at("subnet"), "is needed to give out addresses"));
        }
    };
    check_place(&at, mode, subnet, block)?;
    let pool = block
        .pool
        .iter()
        .map(|text| text.parse().map_err(|problem: String| wrong(at("pool"), problem)))
        .collect::<Result<Vec<Ipv4Range>, _>>()?;
    for range in &pool {
        if !subnet.contains(range.first) || !subnet.contains(range.last) {
            return Err(wrong(at("pool"), format!("{range} is not in {subnet}")));
        }
        if range.first <= block.address && block.address <= range.last {
            return Err(wrong(at("pool"), format!("{range} holds the service's own address")));
        }
    }
    let reservations = reservations(&at("reservations"), block, subnet)?;
    if mode == DhcpMode::Authoritative && pool.is_empty() && reservations.is_empty() {
        return Err(wrong(
            at("pool"),
            "is empty and nothing is reserved; give --pool-range or mode = \"proxy\"",
        ));
    }
    let lease_seconds = block.lease_seconds.unwrap_or(3600);
    if !(60..=30 * 86_400).contains(&lease_seconds) {
        return Err(wrong(at("lease_seconds"), "must be 60 to 2592000"));
    }
    Ok(DhcpSettings {
        interface: block.interface.clone(),
        mode,
        address: block.address,
        subnet,
        pool,
        router: block.router,
        dns: block.dns.clone(),
        lease_seconds,
        reservations,
    })
}

/// The service's address lies in the interface's own subnet, and never in one behind a relay.
fn check_place(
    at: &dyn Fn(&str) -> String,
    mode: DhcpMode,
    subnet: Ipv4Subnet,
    block: &DhcpFragment,
) -> Result<(), SettingsError> {
    match (block.relayed, subnet.contains(block.address)) {
        (false, false) => Err(wrong(
            at("address"),
            format!(
                "{} is not in {subnet}; for a network behind a DHCP relay say relayed = true",
                block.address
            ),
        )),
        (true, true) => Err(wrong(
            at("relayed"),
            format!("{} is in {subnet}, so that is no relayed network", block.address),
        )),
        (true, false) if mode == DhcpMode::Proxy => Err(wrong(
            at("relayed"),
            "mode = \"proxy\" answers relayed requests of any network; leave it out",
        )),
        (true, false) if block.router.is_none() => {
            Err(wrong(at("router"), "is needed: machines behind a relay reach the service through it"))
        }
        _ => Ok(()),
    }
}

fn reservations(
    key: &str,
    block: &DhcpFragment,
    subnet: Ipv4Subnet,
) -> Result<Vec<Reservation>, SettingsError> {
    let mut seen: Vec<Reservation> = Vec::new();
    for entry in &block.reservations {
        let reservation = Reservation { mac: entry.mac, address: entry.address };
        if !subnet.contains(entry.address) || entry.address == block.address {
            return Err(wrong(key, format!("{} is not free in {subnet}", entry.address)));
        }
        if seen.iter().any(|other| other.mac == entry.mac || other.address == entry.address) {
            return Err(wrong(key, format!("{} or {} is there twice", entry.mac, entry.address)));
        }
        seen.push(reservation);
    }
    Ok(seen)
}

impl fmt::Display for Settings {
    /// How the configuration was understood, for `config check`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |items: &[SocketAddr]| items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        writeln!(f, "state directory   {}", self.state_directory.display())?;
        match &self.policy {
            Some(path) => writeln!(f, "policy            {}", path.display())?,
            None => writeln!(f, "policy            built in")?,
        }
        match (&self.pools_directory, &self.policy) {
            (Some(folder), _) => writeln!(f, "pools' policies   {}", folder.display())?,
            (None, Some(_)) => {
                writeln!(f, "pools' policies   in the folder pools beside it, if there is one")?
            }
            (None, None) => writeln!(f, "pools' policies   none")?,
        }
        match &self.model {
            Some(path) => writeln!(f, "model             {}", path.display())?,
            None => writeln!(f, "model             built in")?,
        }
        writeln!(f, "http              {}", list(&self.http))?;
        writeln!(f, "api (TLS)         {}", list(&self.api))?;
        writeln!(f, "kernel            {}", self.boot.kernel.display())?;
        writeln!(f, "ramdisk           {}", self.boot.ramdisk.display())?;
        writeln!(f, "loaders           {}", self.boot.loaders.display())?;
        writeln!(f, "kernel arguments  {}", self.boot.extra_kernel_arguments)?;
        writeln!(
            f,
            "attempts          {} for a job, {} for discovery",
            self.boot.attempts_max, self.boot.discovery_attempts_max
        )?;
        writeln!(f, "first report      within {} minutes", self.boot.first_report_minutes)?;
        let back = if self.rollback.automatic { "by itself" } else { "only when asked" };
        writeln!(f, "rollback          {back}")?;
        match &self.endorsement_roots {
            Some(path) => writeln!(f, "TPM makers        {}", path.display())?,
            None => writeln!(f, "TPM makers        nobody is believed")?,
        }
        let metadata = if self.metadata_enabled { "served without secrets" } else { "off" };
        writeln!(f, "metadata          {metadata}")?;
        writeln!(f, "ended jobs        kept for {} days", self.store_keep_days)?;
        write!(f, "{}", self.bmc)?;
        for dhcp in &self.dhcp {
            let mode = match dhcp.mode {
                DhcpMode::Authoritative => "authoritative",
                DhcpMode::Proxy => "proxy",
            };
            let pool = dhcp.pool.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            writeln!(
                f,
                "dhcp              {} {mode}, {} in {}, pool {}, {} reserved, {} s",
                dhcp.interface,
                dhcp.address,
                dhcp.subnet,
                if pool.is_empty() { "none" } else { &pool },
                dhcp.reservations.len(),
                dhcp.lease_seconds
            )?;
        }
        match self.tftp.listen.as_slice() {
            [] => writeln!(f, "tftp              off"),
            listen => writeln!(
                f,
                "tftp              {}, at most {} transfers",
                list(listen),
                self.tftp.transfers_max
            ),
        }
    }
}
