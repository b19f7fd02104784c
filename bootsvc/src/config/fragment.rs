//! Stage one: what a configuration file says, word for word. Unknown keys are refused.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use contract::id::MacAddress;
use serde::Deserialize;

use crate::bmc::configuration::{BmcFragment, PollingFragment};

/// A configuration file. Every key is optional; defaults are put in by the next stage.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fragment {
    /// Where the database, the keys and the images are kept.
    pub state_directory: Option<PathBuf>,
    /// The policy file.
    pub policy: Option<PathBuf>,
    /// The folder with the policies of pools.
    pub pools_directory: Option<PathBuf>,
    /// The model file.
    pub model: Option<PathBuf>,
    /// Plain HTTP.
    #[serde(default)]
    pub http: ListenFragment,
    /// The API over TLS.
    #[serde(default)]
    pub api: ListenFragment,
    /// What machines boot.
    #[serde(default)]
    pub boot: BootFragment,
    /// DHCP, one block for each interface.
    #[serde(default)]
    pub dhcp: Vec<DhcpFragment>,
    /// TFTP.
    #[serde(default)]
    pub tftp: TftpFragment,
    /// What belongs to a node, over plain HTTP.
    #[serde(default)]
    pub metadata: MetadataFragment,
    /// Whose TPMs are believed.
    #[serde(default)]
    pub boot_trust: BootTrustFragment,
    /// Going back to the image before.
    #[serde(default)]
    pub rollback: RollbackFragment,
    /// The database.
    #[serde(default)]
    pub store: StoreFragment,
    /// Management controllers.
    #[serde(default)]
    pub bmc: Vec<BmcFragment>,
    /// How they are asked.
    #[serde(default)]
    pub bmc_polling: PollingFragment,
}

/// `[store]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreFragment {
    /// How long a job that has ended is kept, in days.
    pub keep_days: Option<u32>,
}

/// `[metadata]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataFragment {
    /// Serve the files of cloud-init's NoCloud to machines known by their leases.
    pub enabled: Option<bool>,
}

/// `[boot_trust]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootTrustFragment {
    /// The file with the certificates of TPM makers (PEM).
    pub endorsement_roots: Option<PathBuf>,
}

/// `[rollback]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackFragment {
    /// The service takes a node back by itself when a changed image does not come up.
    pub automatic: Option<bool>,
}

/// `[http]` and `[api]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenFragment {
    /// Addresses with ports.
    pub listen: Option<Vec<SocketAddr>>,
}

/// `[boot]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootFragment {
    /// The kernel of the ramdisk.
    pub kernel: Option<PathBuf>,
    /// The ramdisk.
    pub ramdisk: Option<PathBuf>,
    /// The folder with the iPXE binaries.
    pub loaders: Option<PathBuf>,
    /// Added to the kernel's command line.
    pub extra_kernel_arguments: Option<String>,
    /// How often a job may hand out the ramdisk before the node is held.
    pub attempts_max: Option<u32>,
    /// How often an unknown machine is given the ramdisk before it is held.
    pub discovery_attempts_max: Option<u32>,
    /// How long the first report of an installed system may take, in minutes.
    pub first_report_minutes: Option<u32>,
}

/// One `[[dhcp]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhcpFragment {
    /// The network interface.
    pub interface: String,
    /// Whether addresses are given out too.
    pub mode: ModeFragment,
    /// The service's address on that interface.
    pub address: Ipv4Addr,
    /// Such as `192.0.2.0/24`.
    pub subnet: Option<String>,
    /// The subnet lies behind a DHCP relay, so the service's address is not in it.
    #[serde(default)]
    pub relayed: bool,
    /// Such as `["192.0.2.100-192.0.2.200"]`.
    #[serde(default)]
    pub pool: Vec<String>,
    /// The default gateway handed out.
    pub router: Option<Ipv4Addr>,
    /// The name servers handed out.
    #[serde(default)]
    pub dns: Vec<Ipv4Addr>,
    /// How long an address is lent, in seconds.
    pub lease_seconds: Option<u32>,
    /// Fixed addresses.
    #[serde(default)]
    pub reservations: Vec<ReservationFragment>,
}

/// `mode` of `[[dhcp]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ModeFragment {
    /// No DHCP.
    Off,
    /// Addresses and boot options.
    Authoritative,
    /// Boot options only, beside another DHCP server.
    Proxy,
}

/// One fixed address.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationFragment {
    /// Whose.
    pub mac: MacAddress,
    /// Which.
    pub address: Ipv4Addr,
}

/// `[tftp]`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TftpFragment {
    /// Addresses with ports; none turns TFTP off.
    pub listen: Option<Vec<SocketAddr>>,
    /// How many transfers may run at once.
    pub transfers_max: Option<usize>,
}

impl Fragment {
    /// Reads the text of a configuration file.
    ///
    /// # Errors
    /// Names line, column and key of what is not understood.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}
