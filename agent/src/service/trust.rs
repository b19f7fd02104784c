//! Who is the service? The one whose certificate chain leads to the CA that the boot script, or the
//! node's record, names.
//!
//! Time: a machine without a battery thinks that it is 1970. A clock that is behind the certificates
//! cannot be right, because they exist, so it is taken to be as late as the youngest of them. A clock
//! that is ahead is believed: an expired certificate stays expired.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// The only CA that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// SHA-256 of its DER; the service presents the certificate itself.
    Fingerprint([u8; 32]),
    /// Its DER.
    Certificate(Vec<u8>),
}

impl Pin {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// If there is none.
    pub fn from_pem(pem: &str) -> anyhow::Result<Self> {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
            .map_err(|_| anyhow::anyhow!("the node's record holds no PEM certificate of the service's CA"))?;
        Ok(Self::Certificate(block.contents))
    }

    /// The CA, if it is known or among those presented.
    fn find<'a>(&'a self, presented: &'a [CertificateDer<'a>]) -> Option<CertificateDer<'a>> {
        match self {
            Self::Certificate(der) => Some(CertificateDer::from(der.as_slice())),
            Self::Fingerprint(pin) => presented
                .iter()
                .find(|certificate| digest(&SHA256, certificate).as_ref() == pin)
                .map(|certificate| CertificateDer::from(certificate.as_ref())),
        }
    }
}

/// A TLS configuration that believes nobody but the pinned CA.
///
/// # Errors
/// If the provider knows no protocol version, which would be a build without TLS.
pub fn tls_configuration(pin: Pin) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(PinnedVerifier { pin, provider: provider.clone() });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Verifies as webpki does, with the pinned CA as the only root.
#[derive(Debug)]
struct PinnedVerifier {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ca =
            self.pin.find(intermediates).ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let now = not_before_the_certificates(now, &[&ca, end_entity]);
        let mut roots = RootCertStore::empty();
        roots.add(ca.into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn not_before_the_certificates(now: UnixTime, certificates: &[&CertificateDer<'_>]) -> UnixTime {
    let begins = certificates.iter().filter_map(|certificate| {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        u64::try_from(parsed.validity().not_before.timestamp()).ok()
    });
    let youngest = begins.max().unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().max(youngest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd,
    };
    use std::net::{IpAddr, Ipv4Addr};

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn ca() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2046, 1, 1);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn leaf(ca: &CertifiedIssuer<'static, KeyPair>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress(ADDRESS)];
        params.not_before = date_time_ymd(2026, 6, 1);
        params.not_after = date_time_ymd(2027, 6, 1);
        params.signed_by(&KeyPair::generate().unwrap(), ca).unwrap().der().clone()
    }

    fn verify(
        pin: Pin,
        chain: &[CertificateDer<'_>],
        address: IpAddr,
        now_seconds: u64,
    ) -> Result<(), Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_seconds));
        let name = ServerName::IpAddress(address.into());
        PinnedVerifier { pin, provider }
            .verify_server_cert(&chain[0], &chain[1..], &name, &[], now)
            .map(|_| ())
    }

    fn fingerprint(certificate: &CertificateDer<'_>) -> Pin {
        Pin::Fingerprint(digest(&SHA256, certificate).as_ref().try_into().unwrap())
    }

    /// 2026-09-01.
    const NOW: u64 = 1_788_220_800;

    #[test]
    fn only_the_pinned_ca_is_believed() {
        let (ours, theirs) = (ca(), ca());
        let (our_ca, their_ca) = (ours.der().clone(), theirs.der().clone());
        let good = [leaf(&ours), our_ca.clone()];
        verify(fingerprint(&our_ca), &good, ADDRESS, NOW).unwrap();
        verify(Pin::Certificate(our_ca.to_vec()), &good[..1], ADDRESS, NOW).unwrap();
        // Another CA, another CA that brings ours along, a chain without the CA, another address.
        verify(fingerprint(&our_ca), &[leaf(&theirs), their_ca.clone()], ADDRESS, NOW).unwrap_err();
        verify(fingerprint(&our_ca), &[leaf(&theirs), our_ca.clone()], ADDRESS, NOW).unwrap_err();
        verify(fingerprint(&our_ca), &good[..1], ADDRESS, NOW).unwrap_err();
        verify(fingerprint(&our_ca), &good, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), NOW).unwrap_err();
    }

    #[test]
    fn a_clock_behind_is_forgiven_and_an_expired_certificate_is_not() {
        let ours = ca();
        let chain = [leaf(&ours), ours.der().clone()];
        verify(fingerprint(ours.der()), &chain, ADDRESS, 0).unwrap();
        verify(fingerprint(ours.der()), &chain, ADDRESS, NOW + 2 * 365 * 86_400).unwrap_err();
    }

    #[test]
    fn a_pem_is_read_and_nonsense_is_refused() {
        let ours = ca();
        assert_eq!(Pin::from_pem(&ours.pem()).unwrap(), Pin::Certificate(ours.der().to_vec()));
        assert!(Pin::from_pem("nonsense").is_err());
    }
}
