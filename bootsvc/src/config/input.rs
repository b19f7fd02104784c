//! Stage two: file, flags and defaults put together. Flags win over the file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::bmc::configuration::{BmcFragment, PollingFragment};
use crate::config::fragment::{BootFragment, DhcpFragment, Fragment, ModeFragment};

/// Port of plain HTTP when only an address was given.
pub const HTTP_PORT: u16 = 8080;
/// Port of the API when only an address was given.
pub const API_PORT: u16 = 8443;
/// Port of TFTP (RFC 1350).
pub const TFTP_PORT: u16 = 69;

/// Flags of `serve`, for a first try without a file.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct Flags {
    /// Address to listen on: HTTP 8080, API 8443 and, with DHCP, TFTP 69.
    #[arg(long)]
    pub listen_address: Option<IpAddr>,
    /// Interface for DHCP.
    #[arg(long)]
    pub interface: Option<String>,
    /// Folder of the database, keys and images.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// DHCP on --interface.
    #[arg(long, value_enum)]
    pub dhcp: Option<ModeFragment>,
    /// Addresses to lend, such as 192.0.2.100-192.0.2.200.
    #[arg(long)]
    pub pool_range: Vec<String>,
    /// Subnet of --interface, such as 192.0.2.0/24.
    #[arg(long)]
    pub subnet: Option<String>,
    /// Kernel of the ramdisk.
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// The ramdisk.
    #[arg(long, value_name = "FILE")]
    pub ramdisk: Option<PathBuf>,
    /// Folder with the iPXE binaries.
    #[arg(long, value_name = "DIR")]
    pub loaders: Option<PathBuf>,
    /// Policy file.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Everything that was said, with the defaults, not yet checked.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where the database, the keys and the images are kept.
    pub state_directory: PathBuf,
    /// The policy file.
    pub policy: Option<PathBuf>,
    /// The folder with the policies of pools.
    pub pools_directory: Option<PathBuf>,
    /// The model file.
    pub model: Option<PathBuf>,
    /// Plain HTTP.
    pub http: Vec<SocketAddr>,
    /// The API.
    pub api: Vec<SocketAddr>,
    /// What machines boot.
    pub boot: BootFragment,
    /// DHCP.
    pub dhcp: Vec<DhcpFragment>,
    /// TFTP.
    pub tftp: Vec<SocketAddr>,
    /// TFTP transfers at once.
    pub tftp_transfers_max: usize,
    /// The service takes nodes back by itself.
    pub rollback_automatic: bool,
    /// The file with the certificates of TPM makers.
    pub endorsement_roots: Option<PathBuf>,
    /// What belongs to a node is served over plain HTTP.
    pub metadata_enabled: bool,
    /// How long a job that has ended is kept, in days.
    pub store_keep_days: u32,
    /// Management controllers.
    pub bmc: Vec<BmcFragment>,
    /// How they are asked.
    pub bmc_polling: PollingFragment,
}

impl Input {
    /// Puts file and flags together.
    #[must_use]
    pub fn merge(file: Fragment, flags: &Flags) -> Self {
        let address = flags.listen_address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let pick = |listen: Option<Vec<SocketAddr>>, port: u16| match (flags.listen_address, listen) {
            (None, Some(listen)) => listen,
            _ => vec![SocketAddr::new(address, port)],
        };
        let dhcp = flag_dhcp(flags, address).map_or(file.dhcp, |block| vec![block]);
        let tftp = match (flags.listen_address, file.tftp.listen) {
            (None, listen) => listen.unwrap_or_default(),
            (Some(address), _) if !dhcp.is_empty() => vec![SocketAddr::new(address, TFTP_PORT)],
            (Some(_), _) => Vec::new(),
        };
        let boot = BootFragment {
            kernel: flags.kernel.clone().or(file.boot.kernel),
            ramdisk: flags.ramdisk.clone().or(file.boot.ramdisk),
            loaders: flags.loaders.clone().or(file.boot.loaders),
            ..file.boot
        };
        Self {
            state_directory: flags
                .state
                .clone()
                .or(file.state_directory)
                .unwrap_or_else(|| PathBuf::from("/var/lib/reprieve")),
            policy: flags.policy.clone().or(file.policy),
            pools_directory: file.pools_directory,
            model: file.model,
            http: pick(file.http.listen, HTTP_PORT),
            api: pick(file.api.listen, API_PORT),
            boot,
            dhcp,
            tftp,
            tftp_transfers_max: file.tftp.transfers_max.unwrap_or(64),
            rollback_automatic: file.rollback.automatic.unwrap_or(true),
            endorsement_roots: file.boot_trust.endorsement_roots,
            metadata_enabled: file.metadata.enabled.unwrap_or(false),
            store_keep_days: file.store.keep_days.unwrap_or(730),
            bmc: file.bmc,
            bmc_polling: file.bmc_polling,
        }
    }
}

/// The DHCP block that flags alone describe; none if they ask for none.
fn flag_dhcp(flags: &Flags, address: IpAddr) -> Option<DhcpFragment> {
    let mode = flags.dhcp.filter(|mode| *mode != ModeFragment::Off)?;
    let IpAddr::V4(address) = address else { return None };
    let [a, b, c, _] = address.octets();
    Some(DhcpFragment {
        interface: flags.interface.clone().unwrap_or_default(),
        mode,
        address,
        subnet: Some(flags.subnet.clone().unwrap_or_else(|| format!("{a}.{b}.{c}.0/24"))),
        relayed: false,
        pool: flags.pool_range.clone(),
        router: None,
        dns: Vec::new(),
        lease_seconds: None,
        reservations: Vec::new(),
    })
}
