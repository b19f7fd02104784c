//! The server certificate. It is made anew at every start and lives in memory only, so it always fits
//! the addresses listened on and never runs out; what clients pin is the CA.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use contract::id::UnixMillis;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::ca::Authority;

/// The DER bytes of the one certificate in a PEM text.
///
/// # Errors
/// If there is none.
pub fn certificate_from_pem(pem: &str) -> anyhow::Result<Vec<u8>> {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).context("no certificate in it")?;
    Ok(certificate.as_ref().to_vec())
}

/// The addresses that a server certificate must name: those listened on and, for a wildcard, all that
/// the machine has.
#[must_use]
pub fn addresses(listen: &[SocketAddr]) -> BTreeSet<IpAddr> {
    let mut addresses: BTreeSet<IpAddr> =
        listen.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect();
    addresses.insert(IpAddr::V4(Ipv4Addr::LOCALHOST));
    if listen.iter().any(|address| address.ip().is_unspecified()) {
        for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
            let Some(address) = interface.address else { continue };
            addresses.extend(address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip())));
            addresses.extend(address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())));
        }
    }
    addresses
}

/// The TLS side of the API: TLS 1.2 and 1.3, server certificate and CA certificate in the chain.
///
/// # Errors
/// If the certificate cannot be made.
pub fn server_config(
    authority: &Authority,
    listen: &[SocketAddr],
    now: UnixMillis,
) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()])?;
    parameters.subject_alt_names.extend(addresses(listen).into_iter().map(SanType::IpAddress));
    parameters.distinguished_name.push(DnType::CommonName, "reprieve-bootsvc");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.use_authority_key_identifier_extension = true;
    // As with the CA: the clock of a machine that boots may be behind.
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(year_of(now).saturating_add(5), 1, 1);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate =
        parameters.signed_by(&key, &authority.issuer).context("could not sign the server certificate")?;
    let chain = vec![certificate.der().clone(), CertificateDer::from(authority.ca_der.clone())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The year, near enough for an expiry date.
fn year_of(now: UnixMillis) -> i32 {
    const MILLIS_PER_YEAR: u64 = 31_556_952_000;
    i32::try_from(1970 + now.0 / MILLIS_PER_YEAR).unwrap_or(9000)
}
