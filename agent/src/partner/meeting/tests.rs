//! Two ends over the loopback, each at an address of its own, and whoever else comes. Each test has addresses of
//! its own, so that they run side by side.

use std::net::Ipv4Addr;

use contract::burn_in::PARTNER_PORT;
use contract::id::NodeId;
use contract::secret::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

use super::*;

const SEND: Duration = Duration::from_millis(30);
const SOON: Duration = Duration::from_millis(600);

fn address(test: u8, last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 71, test, last))
}

/// What the one at `own` is told of the one at `other`.
fn told(role: PartnerRole, own: IpAddr, other: IpAddr, secret: &str) -> Partnership {
    Partnership {
        node: NodeId(Uuid::nil()),
        address: other,
        own_address: own,
        role,
        secret: Secret::new(secret.repeat(32)),
        link_megabits: None,
        ends_in_millis: 60_000,
    }
}

fn pair(test: u8) -> (Partnership, Partnership) {
    let (one, other) = (address(test, 1), address(test, 2));
    (told(PartnerRole::Listen, one, other, "5a"), told(PartnerRole::Connect, other, one, "5a"))
}

async fn nothing_listens(at: IpAddr) -> bool {
    TcpStream::connect((at, PARTNER_PORT)).await.is_err()
}

#[tokio::test]
async fn two_meet_measure_and_leave_nothing_open() {
    let (one, other) = pair(1);
    let (left, right) = tokio::join!(
        meet_at(&one, PARTNER_PORT, SEND, MEET_MAX),
        meet_at(&other, PARTNER_PORT, SEND, MEET_MAX)
    );
    let (left, right) = (left.unwrap(), right.unwrap());
    assert_eq!(left.rates.sent_megabytes, right.rates.received_megabytes);
    assert!(left.rates.sent_megabytes > 0 && left.wrong_bytes == 0);
    assert!(nothing_listens(one.own_address).await);
}

#[tokio::test]
async fn who_does_not_come_is_said_and_not_waited_for() {
    let (one, other) = pair(2);
    let lost = Partnership { address: address(2, 9), ..other };
    let (left, right) =
        tokio::join!(meet_at(&one, PARTNER_PORT, SEND, SOON), meet_at(&lost, PARTNER_PORT, SEND, SOON));
    assert!(left.unwrap_err().why.contains("did not come"));
    assert!(right.unwrap_err().why.contains("could not connect"));
    assert!(nothing_listens(one.own_address).await);
}

#[tokio::test]
async fn who_has_another_secret_gets_no_byte_of_the_test() {
    let (one, other) = pair(3);
    let liar = Partnership { secret: Secret::new("5b".repeat(32)), ..other };
    let (left, right) =
        tokio::join!(meet_at(&one, PARTNER_PORT, SEND, SOON), meet_at(&liar, PARTNER_PORT, SEND, SOON));
    // The one who connects tries again until nobody listens.
    assert!(left.unwrap_err().why.contains("secret"));
    assert!(right.is_err());
}

/// A stranger is not answered, one at the partner's address who knows no secret is left, and the partner gets its
/// test all the same.
#[tokio::test]
async fn strangers_get_nothing_and_do_not_keep_the_partner_out() {
    let (one, other) = pair(4);
    let at = SocketAddr::new(one.own_address, PARTNER_PORT);
    let strangers = async {
        for from in [address(4, 9), other.own_address] {
            let mut stranger = loop {
                match connect_once(from, at).await {
                    Ok(stream) => break stream,
                    // It listens in a moment.
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            let _ = stranger.write_all(&[b'x'; 40]).await;
            let mut heard = Vec::new();
            let _ = stranger.read_to_end(&mut heard).await;
            assert!(heard.len() <= 40, "{from}: {} bytes", heard.len());
        }
        meet_at(&other, PARTNER_PORT, SEND, MEET_MAX).await
    };
    let (left, right) = tokio::join!(meet_at(&one, PARTNER_PORT, SEND, MEET_MAX), strangers);
    assert!(left.is_ok() && right.is_ok(), "{left:?} {right:?}");
}

/// A partner that proves itself and then does nothing is left when the time of the pair is over.
#[tokio::test]
async fn a_partner_that_stalls_is_left_in_time() {
    let (one, other) = pair(5);
    let one = Partnership { ends_in_millis: 800, ..one };
    let staller = async {
        let by = Instant::now() + MEET_MAX;
        let secret = PairSecret::parse(other.secret.reveal()).unwrap();
        connect(&other, PARTNER_PORT, &secret, by).await.unwrap()
    };
    let began = std::time::Instant::now();
    let (left, _kept) = tokio::join!(meet(&one, PARTNER_PORT, SEND), staller);
    assert!(left.unwrap_err().why.contains("time of the pair"));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn nobody_is_spoken_to_that_is_no_other_host() {
    let (_, base) = pair(6);
    for to in
        ["127.71.6.2", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "ff02::1", "::ffff:127.71.6.2"]
    {
        let told = Partnership { address: to.parse().unwrap(), ..base.clone() };
        assert!(!may_be_spoken_to(&told), "{to}");
        assert!(meet_at(&told, PARTNER_PORT, SEND, SOON).await.is_err());
    }
    assert!(may_be_spoken_to(&base));
    for secret in ["", "5", "zz"] {
        let told = Partnership { secret: Secret::new(secret.repeat(32)), ..base.clone() };
        assert!(meet_at(&told, PARTNER_PORT, SEND, SOON).await.unwrap_err().why.contains("secret"));
    }
}
