//! The certificate that a TPM's maker gives its endorsement key (TCG EK Credential Profile, 3.2).
//!
//! - E3: it is for exactly the shown key.
//! - E4: a root that the operator configured issued it, or issued who did; its signatures and times are right, no
//!   extension that must be understood is unknown, it is no authority's, and if it says what it is for, that is
//!   being the certificate of an endorsement key.
//!
//! Its subject may be empty, its names then stand in a critical alternative name; memory of a TPM may be longer
//! than the certificate in it. Only what the operator's file holds is between it and a root: where makers have
//! authorities under their root, these stand in the file as well. Revocation is not asked for: TPM makers'
//! lists are behind the network, and an operator who distrusts an authority takes it out of the file.

use std::time::Duration;

use contract::id::UnixMillis;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use thiserror::Error;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::endorsement::{EndorsementKey, Numbers};

/// `tcg-kp-EKCertificate`, 2.23.133.8.1.
const ENDORSEMENT_USAGE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
/// `tcg-at-tpmManufacturer` and `tcg-at-tpmModel`.
const MANUFACTURER: &str = "2.23.133.2.1";
const MODEL: &str = "2.23.133.2.2";
/// What a key of each kind may be called: `id-ecPublicKey`; `rsaEncryption`, `id-RSAES-OAEP`.
const ELLIPTIC_NAMES: &[&str] = &["1.2.840.10045.2.1"];
const RSA_NAMES: &[&str] = &["1.2.840.113549.1.1.1", "1.2.840.113549.1.1.7"];
/// More of a maker's name is not kept, in characters.
const NAME_MAX: usize = 60;

/// Why a certificate is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("the endorsement key's certificate is not one (X.509 in DER)")]
    Encoding,
    /// E3.
    #[error("the endorsement key's certificate is another key's")]
    OtherKey,
    /// E4: nobody in the file issued it.
    #[error("no configured root issued the endorsement key's certificate; add its issuer if you trust it")]
    UnknownIssuer,
    /// E4: its time, or that of who issued it, is over.
    #[error("the endorsement key's certificate, or its issuer's, has expired")]
    Expired,
    /// E4, anything else.
    #[error("the endorsement key's certificate does not hold: {0}")]
    Refused(String),
}

/// Whom the operator trusts to certify TPMs. None: no certificate is believed.
#[derive(Debug, Clone, Default)]
pub struct Roots(Vec<TrustAnchor<'static>>);

impl Roots {
    /// Everything in `certificates` (DER) is trusted as it is, whoever issued it.
    ///
    /// # Errors
    /// Names the first that is no certificate, from 1.
    pub fn new<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, usize> {
        let anchor = |(at, certificate)| {
            let certificate = CertificateDer::from(certificate);
            anchor_from_trusted_cert(&certificate).map(|anchor| anchor.to_owned()).map_err(|_| at)
        };
        (1..).zip(certificates).map(anchor).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The certificate at the beginning of a TPM's memory; none if there is none.
#[must_use]
pub fn in_memory(memory: &[u8]) -> Option<&[u8]> {
    let (head, length) = match memory {
        [0x30, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        [0x30, 0x81, length, ..] => (3, usize::from(*length)),
        _ => return None,
    };
    memory.get(..head + length)
}

/// Checks E3 and E4; the maker as the certificate names it.
///
/// # Errors
/// Says which does not hold.
pub fn check(
    certificate: &[u8],
    key: &EndorsementKey,
    roots: &Roots,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: UnixMillis,
) -> Result<String, CertificateError> {
    let parsed = read(certificate)?;
    let public = &parsed.tbs_certificate.subject_pki;
    let names = match &key.numbers {
        Numbers::Elliptic { .. } => ELLIPTIC_NAMES,
        Numbers::Rsa(_) => RSA_NAMES,
    };
    let named = public.algorithm.algorithm.to_id_string();
    if !names.contains(&named.as_str()) || public.subject_public_key.data.as_ref() != key.subject_public_key()
    {
        return Err(CertificateError::OtherKey);
    }
    let encoded = CertificateDer::from(certificate);
    let refused = |error: webpki::Error| match error {
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        other => CertificateError::Refused(other.to_string().chars().take(200).collect()),
    };
    let leaf = EndEntityCert::try_from(&encoded).map_err(refused)?;
    let usage = KeyUsage::required_if_present(ENDORSEMENT_USAGE);
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
    leaf.verify_for_usage(algorithms, &roots.0, &[], now, usage, None, None).map_err(refused)?;
    Ok(maker(&parsed))
}

fn read(certificate: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(CertificateError::Encoding),
    }
}

/// Manufacturer and model, from the alternative name (EK Credential Profile, 3.1.2).
fn maker(certificate: &X509Certificate<'_>) -> String {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let said = |wanted: &str| {
        names.iter().find_map(|name| {
            let GeneralName::DirectoryName(name) = name else { return None };
            let attribute = name.iter_attributes().find(|one| one.attr_type().to_id_string() == wanted)?;
            attribute.as_str().ok()
        })
    };
    let Some(manufacturer) = said(MANUFACTURER) else { return "a maker that it does not name".to_owned() };
    let words = [vendor(manufacturer), said(MODEL).unwrap_or_default().to_owned()].join(" ");
    words.trim().chars().filter(|c| !c.is_control()).take(NAME_MAX).collect()
}

/// `id:49465800` is four letters, `IFX` and a zero (TCG Vendor ID Registry); anything else is shown as it is.
fn vendor(manufacturer: &str) -> String {
    let number = manufacturer.strip_prefix("id:").and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let letters = number.map(u32::to_be_bytes).map(|bytes| bytes.map(char::from));
    match letters {
        Some(letters) if letters.iter().all(|c| c.is_ascii_graphic() || matches!(c, ' ' | '\0')) => {
            letters.into_iter().collect::<String>().trim_end_matches(['\0', ' ']).to_owned()
        }
        _ => manufacturer.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::enrolment;
    use proptest::prelude::{any, proptest};
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, ExtendedKeyUsagePurpose, IsCa,
        KeyPair,
    };

    /// In 2026.
    const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

    fn checked(certificate: &[u8], key: &EndorsementKey, roots: &Roots) -> Result<String, CertificateError> {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        check(certificate, key, roots, algorithms.all, NOW)
    }

    fn roots(certificates: &[&[u8]]) -> Roots {
        Roots::new(certificates.iter().copied()).unwrap()
    }

    fn recorded_key(name: &str) -> EndorsementKey {
        let made = crate::command::created(&enrolment(name)).unwrap();
        EndorsementKey::parse(&made.public).unwrap()
    }

    #[test]
    fn e3_e4_a_makers_certificate_for_this_key_is_believed() {
        let roots = roots(&[&enrolment("root")]);
        for kind in ["elliptic", "rsa"] {
            let certificate = enrolment(&format!("certificate-{kind}"));
            assert_eq!(checked(&certificate, &recorded_key(kind), &roots).unwrap(), "id:00001014 swtpm");
            let other = recorded_key(if kind == "rsa" { "elliptic" } else { "rsa" });
            assert_eq!(checked(&certificate, &other, &roots), Err(CertificateError::OtherKey));
        }
    }

    #[test]
    fn e4_without_its_root_or_with_a_changed_byte_it_is_not() {
        let (certificate, key) = (enrolment("certificate-elliptic"), recorded_key("elliptic"));
        let unknown = Err(CertificateError::UnknownIssuer);
        assert_eq!(checked(&certificate, &key, &Roots::default()), unknown);
        let stranger = authority("another").as_ref().der().to_vec();
        assert_eq!(checked(&certificate, &key, &roots(&[&stranger])), unknown);
        let roots = roots(&[&stranger, &enrolment("root")]);
        assert!(checked(&certificate, &key, &roots).is_ok());
        for at in 0..certificate.len() {
            let mut changed = certificate.clone();
            changed[at] ^= 1;
            assert!(checked(&changed, &key, &roots).is_err(), "byte {at}");
        }
        for length in 0..certificate.len() {
            assert_eq!(checked(&certificate[..length], &key, &roots), Err(CertificateError::Encoding));
        }
        let longer = [&certificate[..], &[0]].concat();
        assert_eq!(checked(&longer, &key, &roots), Err(CertificateError::Encoding));
    }

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// A certificate for the recorded key with something about it that is not as it should be.
    fn issued(change: impl FnOnce(&mut CertificateParams)) -> Result<String, CertificateError> {
        let (key, issuer) = (recorded_key("elliptic"), authority("maker"));
        let head: &[u8] = &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A,
            0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let public = [head, &key.subject_public_key()].concat();
        let public = rcgen::SubjectPublicKeyInfo::from_der(&public).unwrap();
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        change(&mut params);
        let certificate = params.signed_by(&public, &issuer).unwrap();
        checked(certificate.der(), &key, &roots(&[issuer.as_ref().der()]))
    }

    #[test]
    fn e4_what_it_says_of_itself_is_held_against_it() {
        assert_eq!(issued(|_| ()).unwrap(), "a maker that it does not name");
        let expired = issued(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
        assert_eq!(expired, Err(CertificateError::Expired));
        let refused = |change: fn(&mut CertificateParams)| {
            assert!(matches!(issued(change), Err(CertificateError::Refused(_))), "{:?}", issued(change));
        };
        refused(|params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
        refused(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        refused(|params| params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth));
        refused(|params| {
            let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            unknown.set_criticality(true);
            params.custom_extensions.push(unknown);
        });
        let usage = ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1]);
        assert!(issued(|params| params.extended_key_usages.push(usage)).is_ok());
    }

    #[test]
    fn a_maker_is_named_by_its_letters() {
        for (said, name) in
            [("id:49465800", "IFX"), ("id:494E5443", "INTC"), ("id:1", "id:1"), ("STM", "STM")]
        {
            assert_eq!(vendor(said), name);
        }
    }

    #[test]
    fn memory_is_longer_than_the_certificate_in_it() {
        let certificate = enrolment("certificate-elliptic");
        let padded = [&certificate[..], &[0xFF; 40]].concat();
        assert_eq!(in_memory(&padded), Some(&certificate[..]));
        assert_eq!(in_memory(&certificate[..100]), None);
        assert_eq!(in_memory(&[]), None);
        assert_eq!(in_memory(&[0xFF; 40]), None);
    }

    #[test]
    fn a_root_that_is_none_is_named() {
        let good = enrolment("root");
        assert_eq!(Roots::new([&good[..], &good[..50]]).unwrap_err(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_certificate(at in 0_usize..400, bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut certificate = enrolment("certificate-elliptic");
            let at = at.min(certificate.len());
            certificate.splice(at..(at + bytes.len()).min(certificate.len()), bytes.clone());
            for bytes in [bytes, certificate] {
                let _ = in_memory(&bytes);
                let _ = Roots::new([&bytes[..]]);
                let found = checked(&bytes, &recorded_key("elliptic"), &Roots::default());
                assert!(found.is_err(), "nobody is trusted");
            }
        }
    }
}
