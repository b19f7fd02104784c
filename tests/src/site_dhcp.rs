//! The site's own DHCP server, for a service that answers beside it: Debian's `dnsmasq`.

use std::path::Path;

use anyhow::Result;

use crate::lab::Lab;
use crate::namespace::BRIDGE;
use crate::process::Background;

/// Starts a server that gives out addresses and says nothing about booting.
///
/// # Errors
/// If `dnsmasq` is missing.
pub fn start(lab: &Lab) -> Result<Background> {
    let mut command = lab.network().command(Path::new("dnsmasq"));
    command.args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--log-dhcp", "--user=root"]);
    command.arg(format!("--interface={BRIDGE}")).arg("--dhcp-range=10.77.0.160,10.77.0.190,1h");
    // The service answers on the same host and port 67 is shared by address.
    command.arg("--bind-dynamic");
    command.arg(format!("--dhcp-leasefile={}", lab.folder().join("dnsmasq.leases").display()));
    Background::start("dnsmasq", &mut command, &lab.folder().join("dnsmasq.log"))
}
