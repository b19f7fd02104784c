//! Two nodes meet: one listens, for the other one alone and no longer than it takes; the other connects.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use contract::burn_in::{PartnerRole, Partnership};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::proof::{PairSecret, TestKey, prove};
use super::stream::{Broken, Measured, exchange};

/// The two have so long to find each other: the one who listens hears of its partner a little later.
const MEET_MAX: Duration = Duration::from_secs(20);
/// A connection takes no longer.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Between two tries to connect.
const CONNECT_AGAIN: Duration = Duration::from_millis(200);
/// The other end has so long to prove who it is.
const PROOF_MAX: Duration = Duration::from_secs(5);
/// So many connections are looked at until one is the partner's.
const CONNECTIONS_MAX: usize = 16;

/// Meets the partner and measures the network with it, within the time that the service gives the pair.
///
/// # Errors
/// Why nothing was measured, and what was seen until then.
pub async fn meet(partnership: &Partnership, port: u16, send: Duration) -> Result<Measured, Broken> {
    let time = Duration::from_millis(partnership.ends_in_millis);
    let met = timeout(time, meet_at(partnership, port, send, MEET_MAX));
    met.await.unwrap_or_else(|_| Err(broken("the time of the pair was over")))
}

fn broken(why: impl Into<String>) -> Broken {
    Broken { why: why.into(), wrong_bytes: 0 }
}

async fn meet_at(
    partnership: &Partnership,
    port: u16,
    send: Duration,
    meet_max: Duration,
) -> Result<Measured, Broken> {
    let Some(secret) = PairSecret::parse(partnership.secret.reveal()) else {
        return Err(broken("the service named a secret that is none"));
    };
    if !may_be_spoken_to(partnership) {
        let (other, own) = (partnership.address, partnership.own_address);
        return Err(broken(format!(
            "the service sees it at {other} and this node at {own}; these cannot meet"
        )));
    }
    let by = Instant::now() + meet_max;
    let (mut stream, key) = match partnership.role {
        PartnerRole::Listen => listen(partnership, port, &secret, by).await?,
        PartnerRole::Connect => connect(partnership, port, &secret, by).await?,
    };
    exchange(&mut stream, &key, partnership.role, send).await
}

/// A host, and not this one; never many at once.
fn may_be_spoken_to(partnership: &Partnership) -> bool {
    let (other, own) = (partnership.address.to_canonical(), partnership.own_address.to_canonical());
    let many = matches!(other, IpAddr::V4(address) if address.is_broadcast()) || other.is_multicast();
    other != own && !other.is_unspecified() && !many && other.is_ipv4() == own.is_ipv4()
}

/// Listens at the one address until the partner has proven itself; then nothing listens any more.
async fn listen(
    partnership: &Partnership,
    port: u16,
    secret: &PairSecret,
    by: Instant,
) -> Result<(TcpStream, TestKey), Broken> {
    let own = SocketAddr::new(partnership.own_address.to_canonical(), port);
    let listener = TcpListener::bind(own)
        .await
        .map_err(|error| broken(format!("could not listen at {own} for it: {error}")))?;
    let mut why = format!("it did not come to {own}");
    for _ in 0..CONNECTIONS_MAX {
        let Ok(accepted) = timeout_at(by, listener.accept()).await else { break };
        let (mut stream, from) =
            accepted.map_err(|error| broken(format!("could not take a connection at {own}: {error}")))?;
        if from.ip().to_canonical() != partnership.address.to_canonical() {
            tracing::warn!("{} is not the partner of this burn-in; nothing was said to it", from.ip());
            continue;
        }
        match prove_fresh(&mut stream, secret, partnership.role).await {
            Ok(key) => return Ok((stream, key)),
            Err(error) => why = error.why,
        }
    }
    Err(broken(why))
}

/// Connects until the partner is there and has proven itself.
async fn connect(
    partnership: &Partnership,
    port: u16,
    secret: &PairSecret,
    by: Instant,
) -> Result<(TcpStream, TestKey), Broken> {
    let to = SocketAddr::new(partnership.address.to_canonical(), port);
    let mut why;
    loop {
        match timeout(CONNECT_MAX, connect_once(partnership.own_address.to_canonical(), to)).await {
            Ok(Ok(mut stream)) => match prove_fresh(&mut stream, secret, partnership.role).await {
                Ok(key) => return Ok((stream, key)),
                Err(error) => why = error.why,
            },
            Ok(Err(error)) => why = format!("could not connect to {to}: {error}"),
            Err(_) => why = format!("{to} did not answer"),
        }
        if Instant::now() + CONNECT_AGAIN >= by {
            return Err(broken(why));
        }
        tokio::time::sleep(CONNECT_AGAIN).await;
    }
}

/// From the address that the partner expects.
async fn connect_once(own: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if own.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(own, 0))?;
    socket.connect(to).await
}

async fn prove_fresh(
    stream: &mut TcpStream,
    secret: &PairSecret,
    role: PartnerRole,
) -> Result<TestKey, Broken> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce)
        .map_err(|error| broken(format!("the kernel gives no random numbers: {error}")))?;
    prove(stream, secret, role, nonce, PROOF_MAX).await.map_err(|error| broken(error.to_string()))
}

#[cfg(test)]
mod tests;
