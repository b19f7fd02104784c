//! Whom the operator trusts to certify TPMs: a file with their certificates.

use std::path::Path;

use anyhow::Context as _;
use attest::certificate::Roots;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// There are some dozens of makers' authorities.
const ROOTS_MAX: usize = 1000;

/// Reads the certificates of the file (PEM); nobody is trusted without one.
///
/// # Errors
/// Names the file, and the certificate in it that cannot be read. A file without any is one too: it would take
/// back what it was configured for.
pub fn load(file: Option<&Path>) -> anyhow::Result<Roots> {
    let Some(file) = file else { return Ok(Roots::default()) };
    let text = std::fs::read(file)
        .with_context(|| format!("could not read the roots of TPM makers {}", file.display()))?;
    parse(&text).with_context(|| format!("the roots of TPM makers {}", file.display()))
}

fn parse(text: &[u8]) -> anyhow::Result<Roots> {
    let certificates = CertificateDer::pem_slice_iter(text)
        .take(ROOTS_MAX + 1)
        .collect::<Result<Vec<_>, _>>()
        .context("is no PEM; put certificates there as `-----BEGIN CERTIFICATE-----` blocks")?;
    anyhow::ensure!(!certificates.is_empty(), "holds no certificate; leave the key out to trust nobody");
    anyhow::ensure!(certificates.len() <= ROOTS_MAX, "holds more than {ROOTS_MAX} certificates");
    Roots::new(certificates.iter().map(AsRef::as_ref))
        .map_err(|at| anyhow::anyhow!("its certificate {at} cannot be read; take it out or put it right"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_good_certificate_is_refused_and_none_trusts_nobody() {
        assert!(load(None).unwrap().is_empty());
        let missing = format!("{:#}", load(Some(Path::new("/nonexistent/roots.pem"))).unwrap_err());
        assert!(missing.contains("/nonexistent/roots.pem"), "{missing}");
        assert!(parse(b"").unwrap_err().to_string().contains("no certificate"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(parse(broken.as_bytes()).unwrap_err().to_string().contains("certificate 1"));
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(parse(cut.as_bytes()).is_err());
        let key = rcgen::KeyPair::generate().unwrap();
        let good = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
        assert!(!parse(good.as_bytes()).unwrap().is_empty());
        assert!(
            parse(format!("{good}{broken}").as_bytes()).unwrap_err().to_string().contains("certificate 2")
        );
    }
}
