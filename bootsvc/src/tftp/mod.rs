//! TFTP (RFC 1350, 2347, 2348, 2349, 7440) for loaders, on async-tftp's handler interface.
//!
//! One server per local address: async-tftp answers from the address that it is bound to, and on a
//! wildcard the kernel would choose. The limits cut what its two known faults cost (it ignores a
//! client's ERROR, and the early ACK of RFC 7440 that reports a gap); counters show how often they bite:
//!
//! | counter | means |
//! |---|---|
//! | `tftp.started`, `tftp.finished`, `tftp.aborted` | transfers; aborted: ended before the last byte was acknowledged |
//! | `tftp.refused-busy`, `tftp.refused-name`, `tftp.refused-write` | requests answered with an error |
//! | `tftp.ghost-transfers` | a client asked anew for a file while its earlier transfer was still open: that one's ERROR was ignored, or a probe left it behind |
//! | `tftp.stalls` | a transfer waited out a whole retransmission timeout: loss, or a gap report that was ignored |
//!
//! An earlier transfer from the very same client port hides the new request altogether (upstream
//! issue 18); it shows as a ghost only when the client retries from another port or after the timeout.

mod handler;
mod loaders;
mod reader;
#[cfg(test)]
mod tests;
mod transfers;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_tftp::server::{TftpServer, TftpServerBuilder};
use netboot::script;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use loaders::Loaders;

use crate::counters::Counters;
use handler::LoaderHandler;
use transfers::Transfers;

/// First and every further wait for an acknowledgement, unless the client asks for another.
const RETRY_TIMEOUT: Duration = Duration::from_millis(250);
/// How often a window is sent again before the transfer is given up.
const SEND_RETRIES_MAX: u32 = 12;
/// Blocks in flight.
const WINDOW_BLOCKS_MAX: u16 = 64;
/// Fits into one Ethernet frame with IP, UDP and TFTP headers; fragments are lost too easily.
const BLOCK_BYTES_MAX: u16 = 1468;

/// What TFTP serves, and where.
#[derive(Debug, Clone)]
pub struct TftpConfig {
    /// One server each.
    pub servers: Vec<TftpAddress>,
    /// The files.
    pub loaders: Arc<Loaders>,
    /// How many transfers may run at once, over all servers.
    pub transfers_max: usize,
}

/// One local address.
#[derive(Debug, Clone)]
pub struct TftpAddress {
    /// Never a wildcard.
    pub listen: SocketAddr,
    /// Where clients of this address find HTTP, such as `http://192.0.2.1:8080`.
    pub http_base_url: String,
}

/// Serves until `shutdown` becomes true. Must run inside tokio. `listening` is called once all servers
/// listen.
///
/// # Errors
/// If an address is a wildcard or can't be bound (port 69 needs CAP_NET_BIND_SERVICE), or a server
/// ends by itself.
pub async fn serve(
    config: TftpConfig,
    counters: Arc<Counters>,
    shutdown: watch::Receiver<bool>,
    listening: impl FnOnce(),
) -> anyhow::Result<()> {
    let transfers = Arc::new(Transfers::new(config.transfers_max));
    let mut servers = JoinSet::new();
    for address in &config.servers {
        let server = start(address, &config.loaders, &transfers, &counters).await?;
        let listen = address.listen;
        tracing::info!(%listen, "TFTP listens");
        let mut stopped = shutdown.clone();
        servers.spawn(async move {
            tokio::select! {
                ended = server.serve() => ended.with_context(|| format!("serve TFTP on {listen}")),
                _ = stopped.wait_for(|stop| *stop) => Ok(()),
            }
        });
    }
    listening();
    while let Some(ended) = servers.join_next().await {
        ended.context("run a TFTP server")??;
    }
    Ok(())
}

async fn start(
    address: &TftpAddress,
    loaders: &Arc<Loaders>,
    transfers: &Arc<Transfers>,
    counters: &Arc<Counters>,
) -> anyhow::Result<TftpServer<LoaderHandler>> {
    let listen = address.listen;
    anyhow::ensure!(
        !listen.ip().is_unspecified(),
        "TFTP address {listen} is a wildcard; name each local address, so that replies come from it"
    );
    let autoexec = script::autoexec(&address.http_base_url).context("write autoexec.ipxe")?;
    let handler = LoaderHandler::new(loaders.clone(), autoexec, transfers.clone(), counters.clone());
    let socket = UdpSocket::bind(listen).with_context(|| {
        format!("open TFTP port {listen}; is another TFTP server running, or a capability missing?")
    })?;
    TftpServerBuilder::with_handler(handler)
        .std_socket(socket)
        .with_context(|| format!("set up TFTP on {listen}"))?
        .timeout(RETRY_TIMEOUT)
        .max_send_retries(SEND_RETRIES_MAX)
        .window_size_limit(WINDOW_BLOCKS_MAX)
        .block_size_limit(BLOCK_BYTES_MAX)
        .build()
        .await
        .with_context(|| format!("set up TFTP on {listen}"))
}
