//! The addresses that a client is told: those it can reach, because it has just reached them.

use std::net::{IpAddr, SocketAddr};

use crate::config::Settings;

/// The service as one client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Such as `http://192.0.2.1:8080`.
    pub http_url: String,
    /// All HTTP addresses, that one first.
    pub http_urls: Vec<String>,
    /// Such as `https://192.0.2.1:8443`.
    pub api_url: String,
    /// All API addresses, that one first.
    pub api_urls: Vec<String>,
}

impl Endpoints {
    /// For a client that has reached the service at this address of ours.
    #[must_use]
    pub fn seen_at(settings: &Settings, http: &[SocketAddr], api: &[SocketAddr], local: IpAddr) -> Self {
        let http = if http.is_empty() { &settings.http } else { http };
        let api = if api.is_empty() { &settings.api } else { api };
        Self {
            http_url: url("http", http, local),
            http_urls: urls("http", http, local),
            api_url: url("https", api, local),
            api_urls: urls("https", api, local),
        }
    }
}

/// All addresses that name an address, the one that the client has reached first.
fn urls(scheme: &str, listen: &[SocketAddr], local: IpAddr) -> Vec<String> {
    let mut urls = vec![url(scheme, listen, local)];
    for address in listen.iter().filter(|address| !address.ip().is_unspecified()) {
        let other = format!("{scheme}://{address}");
        if !urls.contains(&other) {
            urls.push(other);
        }
    }
    urls
}

/// The listener at the client's address if there is one, or a wildcard, or else the first.
fn url(scheme: &str, listen: &[SocketAddr], local: IpAddr) -> String {
    let same = listen.iter().find(|address| address.ip() == local);
    let wildcard = listen.iter().find(|address| address.ip().is_unspecified());
    let address = match (same, wildcard, listen.first()) {
        (Some(address), _, _) => *address,
        (None, Some(address), _) => SocketAddr::new(local, address.port()),
        (None, None, Some(address)) => *address,
        (None, None, None) => SocketAddr::new(local, 0),
    };
    format!("{scheme}://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_what_it_can_reach() {
        let listen =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let table: [(&[&str], &str, &str); 4] = [
            (&["192.0.2.1:8080", "198.51.100.1:8080"], "198.51.100.1", "http://198.51.100.1:8080"),
            (&["0.0.0.0:8080"], "198.51.100.1", "http://198.51.100.1:8080"),
            (&["192.0.2.1:8080"], "127.0.0.1", "http://192.0.2.1:8080"),
            (&["[2001:db8::1]:80"], "2001:db8::1", "http://[2001:db8::1]:80"),
        ];
        for (addresses, local, expected) in table {
            let (listen, local) = (listen(addresses), local.parse().unwrap());
            assert_eq!(url("http", &listen, local), expected);
            // The others are told too, for when this one is gone.
            let all = urls("http", &listen, local);
            let named = listen.iter().filter(|address| !address.ip().is_unspecified()).count();
            assert_eq!((all[0].as_str(), all.len()), (expected, named.max(1)), "{all:?}");
        }
    }
}
